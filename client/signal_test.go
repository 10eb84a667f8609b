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
	aborted := make(chan struct{})
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		ctx.OnEnvelopeFrom(proceed)
		ctx.OnEnvelopeRecipient(proceed)
		ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status {
			close(aborted)
			return protocol.StatusContinue
		})
	})
	wait := run(t, c)
	addr := c.Addrs()[0]
	m := dial(t, addr)
	m.negotiate(t)
	m.mail(t)
	raise(t)
	for { // the first signal closes the listener
		again, err := net.Dial(addr.Network(), addr.String())
		if err != nil {
			break
		}
		again.Close()
	}
	for range 100 { // an end by force would come in between
		if r, err := m.send(protocol.EnvelopeRecipient{Path: "<b@example.com>"}); r != protocol.ReplyContinue || err != nil {
			t.Fatalf("the first signal ended the mail that was under way: reply to envelope-recipient %v, %v", r, err)
		}
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
