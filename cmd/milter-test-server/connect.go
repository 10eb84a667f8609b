package main

import (
	"fmt"
	"net"
	"time"

	"github.com/milter-go/milter/protocol"
)

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
