package client_test

import (
	stdcontext "context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// A mail that is under way is finished, and its session ends after it; sessions
// without one end at once.
func TestShutdownWaitsForMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := newFake(t, "/run/s")
		c.OnConnectionEstablished(takeMail)
		done := goRun(c)
		idle, busy := l[0].connect(), l[0].connect()
		idle.negotiate(t)
		busy.negotiate(t)
		busy.mail(t)
		result := make(chan error, 1)
		go func() { result <- c.Shutdown(t.Context()) }()
		synctest.Wait()
		select {
		case <-l[0].closed:
		default:
			t.Error("the listener is open")
		}
		idle.hungUp(t)
		time.Sleep(time.Hour)
		select {
		case err := <-result:
			t.Errorf("Shutdown has returned within a mail: %v", err)
		case err := <-done:
			t.Errorf("Run has returned within a mail: %v", err)
		default:
		}
		if n := c.NumberOfProcessingSessions(); n != 1 {
			t.Errorf("%d sessions, want 1", n)
		}
		busy.endOfMessage(t)
		busy.hungUp(t)
		if err := errors.Join(<-result, <-done); err != nil {
			t.Error(err)
		}
	})
}

// At its end Shutdown's context cuts off what is left.
func TestShutdownTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := newFake(t, "/run/s")
		var aborted, finished bool
		c.OnConnectionEstablished(func(ctx *context.ClientContext) {
			takeMail(ctx)
			ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status {
				aborted = true
				return protocol.StatusContinue
			})
			ctx.OnFinished(func(ctx *context.ClientContext) {
				finished = true
				if cause := stdcontext.Cause(ctx); !errors.Is(cause, context.ErrClosed) {
					t.Errorf("cause is %v, want ErrClosed", cause)
				}
			})
		})
		done := goRun(c)
		m := l[0].connect()
		m.negotiate(t)
		m.mail(t)
		start := time.Now()
		ctx, cancel := stdcontext.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := c.Shutdown(ctx); !errors.Is(err, stdcontext.DeadlineExceeded) {
			t.Errorf("Shutdown: %v, want DeadlineExceeded", err)
		}
		if d := time.Since(start); d != 30*time.Second {
			t.Errorf("Shutdown took %v, want 30s", d)
		}
		m.hungUp(t)
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if !aborted || !finished {
			t.Errorf("OnAbort ran: %v, OnFinished ran: %v; want both before Run returns", aborted, finished)
		}
		// Everything has ended: now a context that is done is no matter.
		if err := c.Shutdown(ctx); err != nil {
			t.Errorf("a second Shutdown: %v", err)
		}
	})
}

// A handler that does not return does not keep Run from returning for more than
// a second after Close. Its connection is closed at once.
func TestCloseWithStuckHandler(t *testing.T) {
	for _, handler := range []string{"OnConnectionEstablished", "OnEnvelopeFrom"} {
		t.Run(handler, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, l := newFake(t, "/run/s")
				c.MaxConnections = 1 // so accept waits, too
				release := make(chan bool)
				c.OnConnectionEstablished(func(ctx *context.ClientContext) {
					if handler == "OnConnectionEstablished" {
						<-release
					}
					ctx.OnEnvelopeFrom(func(ctx *context.ClientContext, _ string, _ protocol.Parameters) protocol.Status {
						<-ctx.Done() // it is told ...
						<-release    // ... and does not care
						return protocol.StatusContinue
					})
				})
				done := goRun(c)
				m := l[0].connect()
				if handler == "OnEnvelopeFrom" {
					m.negotiate(t)
					if _, err := m.Write(protocol.EnvelopeFrom{Path: "<>"}.Append(nil)); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				start := time.Now()
				c.Close()
				m.hungUp(t)
				if d := time.Since(start); d != 0 {
					t.Errorf("the connection was closed after %v, want at once", d)
				}
				if err := <-done; err != nil {
					t.Errorf("Run: %v", err)
				}
				if d := time.Since(start); d != time.Second {
					t.Errorf("Run has returned after %v, want 1s", d)
				}
				if n := c.NumberOfProcessingSessions(); n != 1 {
					t.Errorf("%d sessions; the one that is stuck should count", n)
				}
				close(release)
				synctest.Wait()
				if n := c.NumberOfProcessingSessions(); n != 0 {
					t.Errorf("%d sessions are left", n)
				}
			})
		})
	}
}

// A session that would follow another one on its connection does not begin.
func TestShutdownBeforeNextSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := newFake(t, "/run/s")
		established := 0
		c.OnConnectionEstablished(func(ctx *context.ClientContext) {
			established++
			takeMail(ctx)
			ctx.OnFinished(func(ctx *context.ClientContext) {
				if ctx.Next() == nil {
					t.Error("the session was not ended by quit-new-connection")
				}
				go c.Shutdown(t.Context())
				synctest.Wait()
			})
		})
		done := goRun(c)
		m := l[0].connect()
		m.negotiate(t)
		if _, err := m.send(protocol.Bare(protocol.CommandQuitNewConnection)); err != nil {
			t.Fatal(err)
		}
		m.hungUp(t)
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if established != 1 {
			t.Errorf("%d sessions, want 1", established)
		}
	})
}

// No session is left behind, and none is cut off within a mail, when a client
// with many of them is shut down.
func TestShutdownManySessions(t *testing.T) {
	c := newClient(t)
	c.OnConnectionEstablished(takeMail)
	wait := run(t, c)
	const n = 60
	var ready, group sync.WaitGroup
	ready.Add(n)
	shut := make(chan struct{})
	for i := range n {
		m := dial(t, c.Addrs()[0])
		group.Go(func() {
			m.negotiate(t)
			if i%2 == 0 {
				m.mail(t)
			}
			ready.Done()
			<-shut
			if i%2 == 0 {
				m.endOfMessage(t)
			}
			m.hungUp(t)
		})
	}
	ready.Wait()
	ctx, cancel := stdcontext.WithTimeout(t.Context(), patience)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- c.Shutdown(ctx) }()
	close(shut)
	group.Wait()
	if err := errors.Join(<-result, wait()); err != nil {
		t.Error(err)
	}
}
