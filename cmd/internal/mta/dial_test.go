package mta_test

import (
	stdcontext "context"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/cmd/internal/cmdtest"
	"github.com/milter-go/milter/cmd/internal/mta"
)

func dialer(t *testing.T, spec string) *mta.Dialer {
	t.Helper()
	target, err := mta.ParseTarget(spec)
	cmdtest.Must(t, err)
	return &mta.Dialer{Target: target}
}

func TestDial(t *testing.T) {
	for _, network := range []string{"tcp4", "unix"} {
		t.Run(network, func(t *testing.T) {
			conn, err := dialer(t, new(cmdtest.Milter).Listen(t, network)).Dial(t.Context())
			cmdtest.Must(t, err)
			conn.Close()
		})
	}
	for _, tt := range cmdtest.Nowheres(t) {
		t.Run(tt.Name, func(t *testing.T) {
			d := dialer(t, tt.Spec)
			d.Timeout = time.Hour // it is found out at once
			if _, err := d.Dial(t.Context()); err == nil || err.Error() != tt.Want {
				t.Errorf("error %v, want %q", err, tt.Want)
			}
		})
	}
}

// A session that waits for a place in the backlog gives up after its timeout, or
// when it is told to.
func TestDialWaits(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere a full backlog cannot be told from a dead socket at first")
	}
	c := client.New()
	c.ListenBacklog = 1
	spec := "unix:" + filepath.Join(t.TempDir(), "m")
	cmdtest.Must(t, c.SetConnectionSpec(spec))
	cmdtest.Must(t, c.Listen())
	defer c.Close()
	for range 100 { // more than fit
		conn, err := net.Dial("unix", spec[len("unix:"):])
		if errors.Is(err, syscall.EAGAIN) {
			break
		}
		cmdtest.Must(t, err)
		defer conn.Close()
	}

	d := dialer(t, spec)
	d.Timeout = 50 * time.Millisecond
	start := time.Now()
	_, err := d.Dial(t.Context())
	if took := time.Since(start); !errors.Is(err, syscall.EAGAIN) || took < d.Timeout {
		t.Errorf("error %v after %v, want that of a full backlog after %v", err, took, d.Timeout)
	}

	d.Timeout = 0
	over := errors.New("over")
	ctx, cancel := stdcontext.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(over) })
	if _, err := d.Dial(ctx); err != over {
		t.Errorf("error %v, want %v", err, over)
	}
	d.Timeout = time.Hour
	if _, err := d.Dial(ctx); err != over {
		t.Errorf("error %v of a context that has ended, want %v", err, over)
	}

	ended := make(chan error, 1)
	go func() { ended <- c.Run() }()
	conn, err := d.Dial(t.Context()) // there is room again
	cmdtest.Must(t, err)
	conn.Close()
	c.Close()
	cmdtest.Must(t, <-ended)
}
