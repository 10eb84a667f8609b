package client

import (
	"net"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// withQuickAck returns conn with its acknowledgements sent at once where the MTA
// waits for one. Sendmail writes macros and the command after them one by one; to
// macros there is no reply, so that Linux delays the acknowledgement by 40 ms, and
// Nagle's algorithm on the other side keeps the command back until it comes.
func withQuickAck(conn net.Conn) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	return &quickAckConn{TCPConn: tcp, raw: raw}
}

// A quickAckConn asks for an acknowledgement when it is read twice without a write
// in between. The option lasts only until the next write, so it has to be set each
// time. Reads and writes may run at the same time; at worst an acknowledgement is
// asked for that a write has carried already.
type quickAckConn struct {
	*net.TCPConn
	raw  syscall.RawConn
	read atomic.Bool // the last call was a read
}

func (c *quickAckConn) Read(b []byte) (int, error) {
	if c.read.Load() {
		_ = c.raw.Control(setQuickAck) // only speed depends on it
	}
	n, err := c.TCPConn.Read(b)
	c.read.Store(true)
	return n, err
}

func (c *quickAckConn) Write(b []byte) (int, error) {
	c.read.Store(false)
	return c.TCPConn.Write(b)
}

func setQuickAck(fd uintptr) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
}
