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
)

// A dialer connects the sessions to the milter.
type dialer struct {
	spec    client.Spec
	text    string // of the spec, as it was given
	timeout time.Duration
	reached atomic.Bool // one session has been connected
}

// dial connects to the milter. It tries again when a milter that is there cannot
// take the connection just now.
func (d *dialer) dial(ctx stdcontext.Context) (net.Conn, error) {
	cancel := stdcontext.CancelFunc(func() {})
	limited := ctx
	if d.timeout > 0 {
		limited, cancel = stdcontext.WithTimeout(ctx, d.timeout)
	}
	defer cancel()
	var netDialer net.Dialer
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		conn, err := netDialer.DialContext(limited, d.spec.Network, d.spec.Address)
		if err == nil {
			d.reached.Store(true)
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, errAbandoned
		}
		if limited.Err() != nil || !d.canPass(err) {
			return nil, d.failure(err)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)): // not all sessions at once
		case <-limited.Done():
			if ctx.Err() != nil {
				return nil, errAbandoned
			}
			return nil, d.failure(err)
		}
	}
}

// canPass reports whether connecting may work later. The backlog of a unix socket
// is full: Linux says EAGAIN (connect(2)); BSD says ECONNREFUSED, as of a socket
// that nobody listens on, so another session must have been connected before.
func (d *dialer) canPass(err error) bool {
	switch {
	case errors.Is(err, syscall.EAGAIN):
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
