package client

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/milter-go/milter/internal/socket"
)

// A listener is a socket that the client listens on. Close does its work once.
type listener struct {
	net.Listener
	addr net.Addr
	path string      // the unix socket to remove, absolute; "" for none
	file os.FileInfo // which one that is
	once sync.Once
}

// Addr returns where an MTA connects. That of a unix socket is not the path that
// it was bound at.
func (l *listener) Addr() net.Addr { return l.addr }

// Close removes the unix socket, if it is still ours, and closes it. In this
// order: as long as it is open no other file can get its number (libmilter
// compares device and inode as well).
func (l *listener) Close() (err error) {
	l.once.Do(func() {
		if l.path != "" {
			if err = removeSocket(l.path, l.file); err != nil {
				err = fmt.Errorf("client: cannot remove unix socket %q: %w", l.path, shorten(err))
			}
		}
		if closeErr := l.Listener.Close(); closeErr != nil && !errors.Is(closeErr, net.ErrClosed) {
			err = errors.Join(err, fmt.Errorf("client: close listener %q: %w", SpecOf(l.addr), shorten(closeErr)))
		}
	})
	return err
}

// wrap returns what was accepted. A listener of package net hands it to us alone.
func (l *listener) wrap(conn net.Conn) *socket.Conn {
	switch l.Listener.(type) {
	case *net.TCPListener, *net.UnixListener:
		return socket.Own(conn)
	}
	return socket.Of(conn)
}

// Listen binds the sockets of all connection specs, so that MTAs can connect; they
// are served when Run is called. It can be called before privileges are dropped.
// Run calls it if it was not called before.
//
// Either all sockets are bound, or none and an error says which one failed and
// why. A unix socket or port that another server listens on gives an error that
// wraps syscall.EADDRINUSE. What is bound is logged at level info, an address that
// other machines may reach at level warn, see AllowRemote. After Shutdown or Close
// the error is ErrClosed. Listen on a client that listens does nothing.
func (c *Client) Listen() error {
	started, err := c.bindOnce()
	if err != nil {
		return err
	}
	c.mu.Lock()
	handlers := c.started
	c.mu.Unlock()
	for _, l := range started {
		c.announce(l.Addr())
		for _, h := range handlers {
			if err := protect(func() { h(l.Addr()) }); err != nil {
				c.report(fmt.Errorf("client: OnListenStarted: %w", err))
			}
		}
	}
	return nil
}

// announce logs where the client listens, and what to know about it.
func (c *Client) announce(addr net.Addr) {
	on := SpecOf(addr)
	c.logger().Info("milter: listening", "on", on)
	switch a := addr.(type) {
	case *net.TCPAddr:
		if !a.IP.IsLoopback() && !c.AllowRemote {
			c.logger().Warn("milter: ANYBODY WHO CAN REACH THIS ADDRESS CAN PLAY MTA: the protocol has no authentication;"+
				" listen on a loopback address or a unix socket, or set AllowRemote", "on", on)
		}
	case *net.UnixAddr:
		if !filepath.IsAbs(a.Name) {
			return // somebody else's way to name it
		}
		for _, hint := range []string{passHint(a.Name), postfixHint(a.Name, postfixQueue)} {
			if hint != "" {
				c.logger().Info("milter: "+hint, "on", on)
			}
		}
	}
}

// bindOnce returns the listeners that are new.
func (c *Client) bindOnce() ([]*listener, error) {
	c.binding.Lock()
	defer c.binding.Unlock()

	c.mu.Lock()
	specs, given, listening, closed := c.specs, c.given, c.listeners != nil, c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case listening:
		return nil, nil
	}
	if len(specs)+len(given) == 0 {
		s, err := ParseSpec(DefaultConnectionSpec)
		if err != nil {
			return nil, err
		}
		specs = []namedSpec{{DefaultConnectionSpec, s}}
	}
	bound, err := c.bind(specs)
	if err != nil {
		return nil, err
	}

	c.reserve.take()

	c.mu.Lock()
	if !c.closed {
		c.listeners = slices.Concat(bound, given)
		defer c.mu.Unlock()
		return c.listeners, nil
	}
	c.mu.Unlock()
	c.closeAll(bound)
	return nil, ErrClosed
}

func (c *Client) bind(specs []namedSpec) ([]*listener, error) {
	var bound []*listener
	for _, s := range specs {
		l, err := c.listen(s.Spec)
		if err == nil {
			bound = append(bound, l)
			continue
		}
		c.closeAll(bound)
		if c.stop.Err() != nil {
			return nil, ErrClosed
		}
		return nil, fmt.Errorf("client: cannot listen on %q: %w", s.text, err)
	}
	return bound, nil
}

func (c *Client) listen(s Spec) (*listener, error) {
	if s.Network == "unix" {
		return c.listenUnix(s.Address)
	}
	// package net sets SO_REUSEADDR, close-on-exec, keep-alive and, on what is
	// accepted, TCP_NODELAY; and a "tcp6" socket is IPV6_V6ONLY.
	var config net.ListenConfig
	config.SetMultipathTCP(false) // an MTA is one hop away
	l, err := config.Listen(c.stop, s.Network, s.Address)
	if err != nil {
		if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
			return nil, fmt.Errorf("invalid host address: %q: %w", dns.Name, dns)
		}
		return nil, shorten(err)
	}
	if err := c.setBacklog(l); err != nil {
		l.Close()
		return nil, err
	}
	return &listener{Listener: l, addr: l.Addr()}, nil
}

// setBacklog applies ListenBacklog, which package net has no way to set.
func (c *Client) setBacklog(l net.Listener) error {
	if c.ListenBacklog <= 0 {
		return nil
	}
	raw, err := l.(syscall.Conn).SyscallConn()
	if err == nil {
		err = setBacklog(raw, c.ListenBacklog)
	}
	if err != nil {
		return fmt.Errorf("cannot set a backlog of %d: %w", c.ListenBacklog, err)
	}
	return nil
}

// closeAll closes listeners and reports what goes wrong.
func (c *Client) closeAll(listeners []*listener) {
	for _, l := range listeners {
		if err := l.Close(); err != nil {
			c.report(err)
		}
	}
}
