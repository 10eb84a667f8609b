package context_test

import (
	stdcontext "context"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// TestNoLockOutsideHandlers: the functions that a program hands over, other than
// handlers (see TestEveryMethodFromEveryHandler), are called without a lock: every
// method returns in them, and so it does in another goroutine meanwhile.
func TestNoLockOutsideHandlers(t *testing.T) {
	for _, test := range []struct {
		name  string
		setup func(ctx *context.ClientContext, f func(*context.ClientContext))
	}{
		{"later", func(ctx *context.ClientContext, f func(*context.ClientContext)) {
			ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
				return ctx.Later(func(stdcontext.Context) protocol.Status { f(ctx); return protocol.StatusContinue })
			})
		}},
		{"match of DeleteHeaders", func(ctx *context.ClientContext, f func(*context.ClientContext)) {
			ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
				_, _ = ctx.DeleteHeaders("Subject", func(string) bool { f(ctx); return true })
				return protocol.StatusContinue
			})
		}},
		{"destroy", func(ctx *context.ClientContext, f func(*context.ClientContext)) {
			ctx.SetPrivateData(1, func() { f(ctx) })
		}},
		{"a handler, from another goroutine", func(ctx *context.ClientContext, f func(*context.ClientContext)) {
			ctx.OnHeader(func(ctx *context.ClientContext, _, _ string) protocol.Status {
				done := make(chan struct{})
				go func() { defer close(done); f(ctx) }()
				<-done
				return protocol.StatusContinue
			})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := feed(t, forever())
			called, finished := make(chan struct{}), make(chan struct{})
			f.ctx.WatchHeader(func(*context.ClientContext, string, string) {})
			f.ctx.OnFinished(func(*context.ClientContext) { close(finished) })
			test.setup(f.ctx, func(ctx *context.ClientContext) {
				within(t, "every method", func() { callEverything(ctx) })
				close(called)
			})
			within(t, "the session", func() {
				_ = f.feed(negotiateMsg, connectMsg, mailMsg, rcptMsg, headerMsg, eohMsg, eomMsg)
				_ = f.ctx.Message() // Later's goroutine may still run
				if test.name == "destroy" {
					_ = f.ctx.Close()
				}
				<-called
				<-finished
			})
		})
	}
}

// A counter of ProcessingSessions, and a parent's values, are the program's too.
func TestNoLockInConfig(t *testing.T) {
	config := forever()
	var ctx *context.ClientContext
	called := 0
	config.ProcessingSessions = func() int {
		called++
		_ = ctx.State()
		return 3
	}
	ctx = context.New(nil, config)
	within(t, "NumberOfProcessingSessions", func() {
		if got := ctx.NumberOfProcessingSessions(); got != 3 || called != 1 {
			t.Errorf("%d sessions, asked %d times", got, called)
		}
	})
}
