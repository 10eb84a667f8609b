package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	smallBuffer = 4 << 10
	largestLen  = 16 << 20 // of a packet; MTAs take any, but nobody means more
)

var (
	errTimeout   = errors.New("timeout")
	errAbandoned = errors.New("the run is over")
	errLength    = errors.New("bad packet length")
)

// A wire writes and reads packets. It costs no allocation and no system call
// besides one write and the reads.
type wire struct {
	conn    net.Conn
	timeout time.Duration // of one reply; 0 for none
	over    *atomic.Bool  // the run is over: deadlines are not moved any more

	base    time.Time     // of the clock
	waiting time.Duration // since when, on the clock

	buf        []byte
	start, end int // the unread bytes are buf[start:end]

	sent, received uint64 // bytes

	raw      syscall.RawConn
	readNow  func(fd uintptr)
	readNowN int
	readErr  error
}

// attach makes the wire use conn.
func (w *wire) attach(conn net.Conn) {
	w.conn, w.base = conn, time.Now()
	w.start, w.end = 0, 0
	w.raw = nil
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			w.raw = raw
		}
	}
	if w.readNow == nil {
		w.readNow = func(fd uintptr) { w.readNowN, w.readErr = readWithoutWaiting(fd, w.buf[w.end:]) }
	}
	w.waiting = 0
	w.again(os.ErrDeadlineExceeded)
}

func (w *wire) clock() time.Duration { return time.Since(w.base) }

// write writes p. From now on the timeout runs.
func (w *wire) write(p []byte) error {
	w.waiting = w.clock()
	for {
		n, err := w.conn.Write(p)
		w.sent += uint64(n)
		if err == nil {
			return nil
		}
		p = p[n:]
		if err := w.again(err); err != nil {
			return err
		}
	}
}

// packet returns the next packet with its length, valid until the next call.
func (w *wire) packet() ([]byte, error) {
	for {
		need := 4
		if have := w.unread(); len(have) >= 4 {
			n := uint64(binary.BigEndian.Uint32(have))
			if n < 1 || n > largestLen {
				return nil, errLength
			}
			need = 4 + int(n)
			if len(have) >= need {
				w.start += need
				w.received += uint64(need)
				return have[:need], nil
			}
		}
		if err := w.fill(need); err != nil {
			return nil, err
		}
	}
}

func (w *wire) unread() []byte { return w.buf[w.start:w.end] }

// release gives the buffer back, which must be empty.
func (w *wire) release() { w.buf, w.start, w.end = nil, 0, 0 }

func (w *wire) needBuffer() {
	if w.buf == nil {
		w.buf = make([]byte, smallBuffer)
	}
}

// fill reads once. The buffer grows with what has come, never by a length alone.
func (w *wire) fill(need int) error {
	w.needBuffer()
	if w.start == w.end {
		w.start, w.end = 0, 0
	} else if w.start > 0 && w.start+need > len(w.buf) {
		w.end = copy(w.buf, w.unread())
		w.start = 0
	}
	if w.end == len(w.buf) {
		grown := make([]byte, 2*len(w.buf))
		copy(grown, w.buf)
		w.buf = grown
	}
	for {
		n, err := w.conn.Read(w.buf[w.end:])
		w.end += n
		switch {
		case n > 0:
			return nil
		case err == nil:
			return io.ErrNoProgress
		}
		if err := w.again(err); err != nil {
			return err
		}
	}
}

// again decides on the error of a read or write. The deadline of the socket is
// rarely moved, so it may come early: then it is moved to where it belongs, and nil
// says that all may go on.
func (w *wire) again(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if w.over.Load() {
		return errAbandoned
	}
	due := time.Time{}
	if w.timeout > 0 {
		left := w.waiting + w.timeout - w.clock()
		if left <= 0 {
			return errTimeout
		}
		due = time.Now().Add(left)
	}
	if err := w.conn.SetDeadline(due); err != nil {
		return err
	}
	if w.over.Load() { // and the deadline that says so may just have been replaced
		return errAbandoned
	}
	return nil
}

// look reads what has come without being awaited, if anything, and does not wait.
func (w *wire) look() error {
	w.needBuffer()
	if w.start == w.end {
		w.start, w.end = 0, 0
	}
	if w.raw == nil || w.end == len(w.buf) {
		return nil
	}
	w.readNowN, w.readErr = 0, nil
	if err := w.raw.Control(w.readNow); err != nil {
		return err
	}
	w.end += max(w.readNowN, 0)
	return w.readErr
}

// untilEnd reads until the milter closes the connection; what comes is unread.
func (w *wire) untilEnd() error {
	for {
		err := w.fill(1)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			return nil
		case err != nil:
			return err
		case len(w.unread()) > 0:
			return nil
		}
	}
}

// isClosed reports whether err says that the milter has closed the connection.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
