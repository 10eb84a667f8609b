//go:build unix

package client_test

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// TestShutdownOnSignal sends this process SIGUSR1, which nothing else uses: the
// first one lets the mail go on, the second one ends it.
func TestShutdownOnSignal(t *testing.T) {
	c := client.New()
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
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.SetListener(l)
	ended := make(chan error)
	go func() { ended <- c.Run() }()

	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	packets := protocol.Negotiate{Option: option.All()}.Append(nil)
	packets = protocol.EnvelopeFrom{Path: "<a@example.com>"}.Append(packets)
	if _, err := conn.Write(packets); err != nil {
		t.Fatal(err)
	}
	<-inMail
	raise(t)
	for { // the first signal closes the listener
		again, err := net.Dial("tcp4", l.Addr().String())
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
	if err := <-ended; err != nil {
		t.Errorf("Run returned %v after two signals; want nil", err)
	}
}

func raise(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
}
