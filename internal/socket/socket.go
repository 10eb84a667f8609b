// Package socket reads and writes the connection of a session with as few system
// calls as can be, and holds no buffer while it waits.
package socket

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/milter-go/milter/protocol"
)

// ErrRest is what Serve of a session returns when an owned connection has been
// idle for a while and nothing is under way: the stack of a goroutine that has run
// handlers does not shrink below what they needed, so its caller starts a new one
// to wait in, which calls Serve again.
var ErrRest = errors.New("socket: idle; to be served by a new goroutine")

// A Session is what a connection is read for.
type Session interface {
	// Wait is told that nothing has come and a wait begins. It gives memory back
	// and sets the read deadline. If it returns false there is something else to
	// do: Received is called with nothing.
	//
	// unsure says that nobody has looked whether something is there: the MTA
	// speaks only after it has got the reply that was just written, or is still
	// due. That is so for all but an end of the stream that came together with the
	// last packet; so the wait should not be long.
	Wait(unsure bool) (wait bool)
	// Received is told that n bytes were added to the buffer, or why not, as Read
	// would tell.
	Received(n int, err error) Next
}

// Next is what a session wants next.
type Next int

const (
	Stop  Next = iota // nothing more
	Read              // what the MTA sends
	Await             // the same; but it awaits a reply that will be given later
)

// A Conn is the connection of a session. A plain TCP or unix socket is read and
// written past package net's Read and Write; any other (TLS, net.Pipe, a
// connection that somebody has wrapped) by them.
type Conn struct {
	net.Conn
	raw syscall.RawConn // nil: not a plain socket
	fd  uintptr         // if direct

	in      *protocol.Buffer
	session Session
	n       int // what the last read has brought
	err     error
	ready   func(fd uintptr) bool

	owned  bool
	direct bool        // replies are written to fd
	sure   bool        // somebody has to look before the next wait
	heard  bool        // read at least once
	spoke  atomic.Bool // written since the last read
}

// Own is [Of] for a connection that nobody knows but the session and who owns that,
// and that is closed only when the session has ended and writes no more.
//
// So its descriptor may be used without the locks of package net. And the session's
// handlers run in the middle of a read, which makes Close wait for them: a handler
// that closed it would wait for itself.
func Own(conn net.Conn) *Conn {
	c := Of(conn)
	c.owned = true
	if c.raw != nil {
		c.direct = c.raw.Control(func(fd uintptr) { c.fd = fd }) == nil
	}
	return c
}

// Of returns conn as a Conn, which it may be already.
func Of(conn net.Conn) *Conn {
	if c, ok := conn.(*Conn); ok {
		return c
	}
	c := &Conn{Conn: conn}
	if !canReadRaw {
		return c
	}
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		if raw, err := conn.(syscall.Conn).SyscallConn(); err == nil {
			c.raw = raw
			c.ready = c.read
		}
	}
	return c
}

// HangUp ends the connection for the MTA at once, also where Close would wait for a
// handler.
func (c *Conn) HangUp() {
	if conn, ok := c.Conn.(interface {
		CloseRead() error
		CloseWrite() error
	}); ok {
		_ = conn.CloseRead()
		_ = conn.CloseWrite()
	}
}

// Owned reports whether the connection was made by [Own].
func (c *Conn) Owned() bool { return c.owned }

// Serve reads into in for a session until Received returns Stop.
func (c *Conn) Serve(in *protocol.Buffer, session Session) {
	c.in, c.session = in, session
	if c.raw == nil {
		for next := Read; next != Stop; {
			n, err := 0, error(nil)
			if session.Wait(false) {
				n, err = in.ReadFrom1(c.Conn)
			}
			next = session.Received(n, err)
		}
		return
	}
	for next := Read; next != Stop; {
		// What came before this is not announced any more.
		c.n, c.err, c.sure = 0, nil, true
		err := c.raw.Read(c.ready)
		switch {
		case err != nil: // a deadline, or closed
			next = session.Received(0, err)
		case c.owned:
			return
		default:
			next = session.Received(c.n, c.err)
		}
	}
}

// read is called when there may be something to read, and before that. It returns
// false to wait. Of an owned connection it serves the session until that ends: as
// long as we stay in here the runtime remembers that something has come, so that
// there is no need to look before a wait.
func (c *Conn) read(fd uintptr) (done bool) {
	for {
		if !c.sure {
			c.sure = true
			if c.wait(fd, true) {
				return false
			}
			c.n, c.err = 0, nil
		} else {
			room := c.in.Room()
			n, err := readRaw(fd, room)
			switch {
			case err == syscall.EAGAIN:
				if c.wait(fd, false) {
					return false
				}
				c.n, c.err = 0, nil
			default:
				c.in.Added(n)
				c.n, c.err = n, err
				c.heard = true
				c.spoke.Store(false)
				if !c.owned {
					return true
				}
				next := c.session.Received(n, err)
				if next == Stop {
					return true
				}
				// A full read may have left something behind, and so may one that
				// the MTA did not have to await our answer for.
				c.sure = n == len(room) || next == Read && !c.spoke.Load()
				continue
			}
		}
		if !c.owned {
			return true
		}
		if c.session.Received(0, nil) == Stop {
			return true
		}
	}
}

// wait prepares a wait.
func (c *Conn) wait(fd uintptr, unsure bool) bool {
	if c.heard && !c.spoke.Load() {
		setQuickAck(fd, c.Conn)
	}
	return c.session.Wait(unsure)
}

// WriteAll writes p. A wait for the MTA to read ends after timeout, unless that is
// zero. It is not called twice at a time.
func (c *Conn) WriteAll(p []byte, timeout time.Duration) error {
	c.spoke.Store(true)
	if c.raw == nil {
		if timeout > 0 {
			_ = c.Conn.SetWriteDeadline(time.Now().Add(timeout))
		}
		_, err := c.Conn.Write(p)
		return err
	}
	if c.direct {
		n, err := writeRaw(c.fd, p)
		if n == len(p) {
			return nil
		}
		if err != nil && err != syscall.EAGAIN {
			return os.NewSyscallError("write", err)
		}
		p = p[n:]
	}
	return c.writeWaiting(p, timeout)
}

func (c *Conn) writeWaiting(p []byte, timeout time.Duration) error {
	w := waitingWrite{conn: c.Conn, rest: p, timeout: timeout}
	err := c.raw.Write(w.write)
	if w.limited {
		_ = c.Conn.SetWriteDeadline(time.Time{})
	}
	if err == nil {
		err = w.err
	}
	return err
}

// A waitingWrite is a write that the other side has to make room for.
type waitingWrite struct {
	conn    net.Conn
	rest    []byte
	timeout time.Duration // of a wait; 0: none
	limited bool          // the deadline is set
	err     error
}

// write is called when there may be room for what is to be written, and before
// that.
func (w *waitingWrite) write(fd uintptr) (done bool) {
	for len(w.rest) > 0 {
		n, err := writeRaw(fd, w.rest)
		switch {
		case err == syscall.EAGAIN:
			if w.timeout > 0 && !w.limited {
				w.limited = true
				_ = w.conn.SetWriteDeadline(time.Now().Add(w.timeout))
			}
			return false
		case err != nil:
			w.err = os.NewSyscallError("write", err)
			return true
		}
		w.rest = w.rest[n:]
	}
	return true
}
