//go:build unix

package client_test

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// TestShutdownOnSignal sends this process SIGUSR1, which nothing else uses: the
// first one lets the mail go on, the second one ends it.
func TestShutdownOnSignal(t *testing.T) {
	c := newClient(t)
	stop := c.ShutdownOnSignal(syscall.SIGUSR1)
	defer stop()
	inMail, aborted := make(chan struct{}), make(chan struct{})
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		ctx.OnEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) protocol.Status {
			close(inMail)
			return protocol.StatusContinue
		})
		ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status {
			close(aborted)
			return protocol.StatusContinue
		})
	})
	wait := run(t, c)
	addr := c.Addrs()[0]
	dial(t, addr).say(offer, from("<a@example.com>"))
	<-inMail
	raise(t)
	for { // the first signal closes the listener
		again, err := net.Dial(addr.Network(), addr.String())
		if err != nil {
			break
		}
		again.Close()
	}
	select {
	case <-aborted:
		t.Fatal("the first signal ended the mail that was under way")
	default:
	}
	raise(t)
	<-aborted
	if err := wait(); err != nil {
		t.Errorf("Run returned %v after two signals; want nil", err)
	}
}

func raise(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
}
