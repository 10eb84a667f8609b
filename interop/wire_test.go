//go:build interop

package interop_test

import (
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/milter-go/milter/client"
)

// A wire is a record of what went over the connections of a milter, as letters of
// packets: below what the library shows, so that what it hides is seen.
type wire struct {
	mu       sync.Mutex
	from, to []byte // the bytes from and to the MTA, of all connections
}

// wired starts the milter anew behind a record of its connections, until the end
// of the case.
func (m *milter) wired(t *testing.T, tune func(c *client.Client)) *wire {
	t.Helper()
	w := new(wire)
	m.with(t, func(c *client.Client) {
		if tune != nil {
			tune(c)
		}
		m.listen = func(l net.Listener) net.Listener { return &wireListener{l, w} }
	})
	t.Cleanup(func() { m.listen = nil })
	return w
}

type wireListener struct {
	net.Listener
	w *wire
}

func (l *wireListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &wireConn{conn, l.w}, nil
}

type wireConn struct {
	net.Conn
	w *wire
}

func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.from = append(c.w.from, p[:n]...)
	return n, err
}

func (c *wireConn) Write(p []byte) (int, error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.to = append(c.w.to, p...)
	return c.Conn.Write(p)
}

// letters returns the letters of the packets from the MTA, without those of
// macros, and of the packets to it.
func (w *wire) letters(t *testing.T) (from, to string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.ReplaceAll(letters(t, w.from), "D", ""), letters(t, w.to)
}

func letters(t *testing.T, packets []byte) string {
	t.Helper()
	var out strings.Builder
	for len(packets) > 4 {
		n := int(binary.BigEndian.Uint32(packets))
		out.WriteByte(packets[4])
		packets = packets[4+min(n, len(packets)-4):]
	}
	if len(packets) > 0 {
		t.Errorf("a piece of a packet is left: %q", packets)
	}
	return out.String()
}
