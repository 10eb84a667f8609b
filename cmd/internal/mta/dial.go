package mta

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
)

// A Dialer connects sessions to a milter, many at once if need be. Its fields may
// not be changed once it is in use.
type Dialer struct {
	Target Target
	// Timeout is how long one connection may take in all; 0 means for ever.
	Timeout time.Duration
	// WaitForFiles lets a session without a descriptor wait for one, instead of
	// failing: for tools whose other sessions end and give theirs back.
	WaitForFiles bool

	reached atomic.Bool // one session has been connected
}

// Dial connects to the milter. It tries again when a milter that is there cannot
// take the connection just now, or this system cannot make it. When ctx ends it
// returns the cause of that, as it is.
func (d *Dialer) Dial(ctx stdcontext.Context) (net.Conn, error) {
	limited, cancel := ctx, stdcontext.CancelFunc(func() {})
	if d.Timeout > 0 {
		limited, cancel = stdcontext.WithTimeout(ctx, d.Timeout)
	}
	defer cancel()
	var dialer net.Dialer
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		conn, err := dialer.DialContext(limited, d.Target.Spec.Network, d.Target.Spec.Address)
		if err == nil {
			d.reached.Store(true)
			return conn, nil
		}
		if limited.Err() == nil && d.canPass(err) {
			select {
			case <-time.After(pause/2 + rand.N(pause)): // not all sessions at once
				continue
			case <-limited.Done():
			}
		}
		if ctx.Err() != nil {
			return nil, stdcontext.Cause(ctx)
		}
		return nil, d.failure(err)
	}
}

// canPass reports whether connecting may work later. The backlog of a unix socket
// is full: Linux says EAGAIN (connect(2)); BSD says ECONNREFUSED, as of a socket
// that nobody listens on, so another session must have been connected before.
func (d *Dialer) canPass(err error) bool {
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return true
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return d.WaitForFiles
	case errors.Is(err, syscall.ECONNREFUSED):
		return d.Target.Spec.Network == "unix" && d.reached.Load()
	case errors.Is(err, syscall.EADDRNOTAVAIL): // all local ports are in use
		return d.reached.Load()
	}
	return false
}

// failure returns err in words that are the same for every session.
func (d *Dialer) failure(err error) error {
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case errors.As(err, &errno):
		err = errno
	case errors.As(err, &timeout) && timeout.Timeout():
		err = fmt.Errorf("no answer within %v: %w", d.Timeout, os.ErrDeadlineExceeded)
	}
	return fmt.Errorf("failed to connect to %s: %w", d.Target.Text, err)
}
