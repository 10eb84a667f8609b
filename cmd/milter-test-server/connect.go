package main

import (
	stdcontext "context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/protocol"
)

// A dialer connects the sessions to the milter.
type dialer struct {
	spec    client.Spec
	text    string // of the spec, as it was given
	timeout time.Duration
	reached atomic.Bool // one session has been connected
}

// dial connects to the milter. It tries again when a milter that is there cannot
// take the connection just now, or this system cannot make it.
func (d *dialer) dial() (net.Conn, error) {
	ctx, cancel := stdcontext.Background(), stdcontext.CancelFunc(func() {})
	if d.timeout > 0 {
		ctx, cancel = stdcontext.WithTimeout(ctx, d.timeout)
	}
	defer cancel()
	var netDialer net.Dialer
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		conn, err := netDialer.DialContext(ctx, d.spec.Network, d.spec.Address)
		if err == nil {
			d.reached.Store(true)
			return conn, nil
		}
		if ctx.Err() != nil || !d.canPass(err) {
			return nil, d.failure(err)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)): // not all sessions at once
		case <-ctx.Done():
			return nil, d.failure(err)
		}
	}
}

// canPass reports whether connecting may work later. The backlog of a unix socket
// is full: Linux says EAGAIN (connect(2)); BSD says ECONNREFUSED, as of a socket
// that nobody listens on, so another session must have been connected before.
func (d *dialer) canPass(err error) bool {
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return true
	case errors.Is(err, syscall.ECONNREFUSED):
		return d.spec.Network == "unix" && d.reached.Load()
	case errors.Is(err, syscall.EADDRNOTAVAIL): // all local ports are in use
		return d.reached.Load()
	}
	return false
}

func (d *dialer) failure(err error) error {
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case errors.As(err, &errno):
		err = errno
	case errors.As(err, &timeout) && timeout.Timeout():
		err = fmt.Errorf("no answer within %v: %w", d.timeout, os.ErrDeadlineExceeded)
	}
	return fmt.Errorf("failed to connect to %s: %w", d.text, err)
}

// A limitedConn is a connection with a timeout of its own for writing: the
// session has one for both directions.
type limitedConn struct {
	net.Conn
	writing time.Duration
}

func (c limitedConn) SetWriteDeadline(time.Time) error {
	if c.writing <= 0 {
		return c.Conn.SetWriteDeadline(time.Time{})
	}
	return c.Conn.SetWriteDeadline(time.Now().Add(c.writing))
}

// A tracedConn is a connection whose packets are printed.
type tracedConn struct {
	net.Conn
	print func(line string)
	read  protocol.Buffer
}

func (c *tracedConn) Write(p []byte) (int, error) {
	var written protocol.Buffer
	if _, err := written.Write(p); err == nil {
		trace(&written, c.print, func(letter byte) string { return "-> " + protocol.Command(letter).String() })
	}
	return c.Conn.Write(p)
}

func (c *tracedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if _, err := c.read.Write(p[:n]); err == nil {
		trace(&c.read, c.print, func(letter byte) string { return "<- " + protocol.Reply(letter).String() })
	}
	return n, err
}

// trace prints the complete packets in b.
func trace(b *protocol.Buffer, print func(line string), name func(letter byte) string) {
	const show = 200
	for {
		packet, ok, err := b.Next()
		if err != nil || !ok {
			return
		}
		line := name(packet.Letter)
		switch n := len(packet.Payload); {
		case n > show:
			line += fmt.Sprintf(" %q... (%d bytes)", packet.Payload[:show], n)
		case n > 0:
			line += fmt.Sprintf(" %q", packet.Payload)
		}
		print(line + "\n")
	}
}
