//go:build interop

package interop_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/protocol"
)

// A proxy stands between an MTA and a milter and keeps what they say. A packet is
// noted before it is passed on, so that an answer never comes before what it
// answers.
type proxy struct {
	listener net.Listener

	mu          sync.Mutex
	target      string // spec of the milter
	last        byte   // letter of the last command that the milter gets; 0 for all
	connections []*proxied
	open        int
}

// A proxied is one connection of the MTA.
type proxied struct {
	mu      sync.Mutex
	packets []flowPacket
	fault   error

	last byte
}

// proxied puts a proxy in the place of p's milter, until the end of the case, and
// returns it with a port whose milter is a new one behind it: what that one says is
// seen, and its connections are plain sockets, as a milter's are. (A wire wraps
// them, and the library does not serve a wrapped one in the same way.) The place
// must be a unix socket.
func (p *port) proxied(t *testing.T) (*port, *proxy) {
	t.Helper()
	p.milter.idle(t)
	p.milter.kill()
	t.Cleanup(func() { p.milter.start(t) })
	spec, err := client.ParseSpec(p.milter.spec)
	if err != nil {
		t.Fatal(err)
	}
	between := newProxy(t, spec.Network, spec.Address)
	if err := os.Chmod(spec.Address, 0o666); err != nil {
		t.Fatal(err)
	}
	behind := *p
	behind.milter = newMilter(t, "inet:0@127.0.0.1")
	between.use(behind.milter.spec)
	return &behind, between
}

// newProxy starts a proxy at network and address, see net.Listen.
func newProxy(t *testing.T, network, address string) *proxy {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l}
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			c := &proxied{last: p.last}
			p.connections = append(p.connections, c)
			p.open++
			target := p.target
			p.mu.Unlock()
			go func() {
				c.serve(conn, target)
				p.mu.Lock()
				p.open--
				p.mu.Unlock()
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-accepted
	})
	return p
}

// serve passes on packets between the MTA and the milter at target, until both
// have closed their ends.
func (c *proxied) serve(mta net.Conn, target string) {
	defer mta.Close()
	spec, err := client.ParseSpec(target)
	if err != nil {
		c.fail(err)
		return
	}
	milter, err := net.Dial(spec.Network, spec.Address)
	if err != nil {
		c.fail(err)
		return
	}
	defer milter.Close()
	var both sync.WaitGroup
	both.Go(func() { c.pass(true, mta, milter) })
	both.Go(func() { c.pass(false, milter, mta) })
	both.Wait()
}

// pass passes on what comes from one side to the other, and that it has ended.
func (c *proxied) pass(toMilter bool, from, to net.Conn) {
	defer func() {
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // the other side may have closed it
		}
	}()
	var b protocol.Buffer
	for {
		p, err := b.ReadPacket(from)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.fail(err)
			}
			return
		}
		packet := flowPacket{toMilter, p.Letter, append([]byte(nil), p.Payload...)}
		c.mu.Lock()
		c.packets = append(c.packets, packet)
		c.mu.Unlock()
		last := toMilter && p.Letter == c.last
		if last {
			cork(to)
		}
		if _, err := to.Write(packet.wire()); err != nil {
			c.fail(err)
			return
		}
		if last {
			return
		}
	}
}

func (c *proxied) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault == nil {
		c.fault = err
	}
}

// cork lets what is written to a TCP connection leave when that is closed: the last
// bytes and the end are in one segment, and come at the same moment.
func cork(conn net.Conn) {
	const tcpCork = 3 // of Linux, tcp(7)
	if raw, err := conn.(*net.TCPConn).SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpCork, 1) })
	}
}

// endAfter ends the MTA's stream to the milter, in the connections from now on,
// together with a command. The way back stays open until the milter closes it.
func (p *proxy) endAfter(c protocol.Command) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = byte(c)
}

// use sends the connections from now on to the milter at spec, and forgets those
// before.
func (p *proxy) use(spec string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target, p.connections = spec, nil
}

// recorded waits for the end of all connections, and returns those with a mail;
// one at least is expected.
func (p *proxy) recorded(t *testing.T) (connections [][]flowPacket) {
	t.Helper()
	eventually(t, "the end of the connections to the milter", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.open > 0 {
			return false
		}
		connections = nil
		for _, c := range p.connections {
			if c.hasMail() {
				connections = append(connections, c.packets)
			}
		}
		return len(connections) > 0
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.connections {
		if c.hasMail() && c.fault != nil {
			t.Errorf("between the MTA and the milter: %v", c.fault)
		}
	}
	return connections
}

// hasMail reports whether a mail was begun. (Postfix opens a connection already
// for a client that only looks whether it listens.)
func (c *proxied) hasMail() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.packets {
		if p.toMilter && p.letter == byte(protocol.CommandEnvelopeFrom) || p.letter == byte(protocol.CommandEndOfMessage) {
			return true
		}
	}
	return false
}
