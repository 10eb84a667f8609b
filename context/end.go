package context

import (
	"errors"
	"fmt"

	"github.com/milter-go/milter/reply"
)

// Shutdown ends the session as soon as nothing is due: at once when no reply is
// owed and no mail is under way, else after the current mail transaction. It
// does not wait. The MTA sees its connection close.
func (ctx *ClientContext) Shutdown() {
	ctx.mu.Lock()
	ctx.draining = true
	ctx.endIfDrained()
	ctx.mu.Unlock()
	ctx.drive()
}

// endIfDrained ends a session that is to be shut down and owes nothing.
func (ctx *ClientContext) endIfDrained() {
	decided := ctx.decision != nil && ctx.decision.silent // the MTA does not know yet
	if ctx.draining && ctx.owed == 0 && !ctx.inMessage && !ctx.announced && !decided {
		ctx.end(fmt.Errorf("%w: the milter shuts down", ErrFinished))
	}
}

// Close ends the session now: no reply is sent any more, the standard context is
// done, and OnAbort (within a mail) and OnFinished run, once a handler that runs
// has returned. It does not wait for that. Further calls do nothing.
func (ctx *ClientContext) Close() error {
	if conn := ctx.conn.Load(); conn != nil {
		// A write that hangs holds the lock.
		_ = (*conn).SetWriteDeadline(pastDeadline)
	}
	ctx.mu.Lock()
	ctx.end(ErrClosed)
	ctx.mu.Unlock()
	ctx.drive()
	return nil
}

// fail ends the session with an error.
func (ctx *ClientContext) fail(err error) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.end(err)
}

// end makes the session end: nothing is due any more, nothing can be sent. The
// goroutine that delivers events does the rest, see finish. The first cause
// counts.
func (ctx *ClientContext) end(cause error) {
	ctx.crash(cause)
	if ctx.cause != nil {
		return
	}
	ctx.cause = cause
	ctx.void(cause)
	ctx.cancelMessage(cause)
	ctx.cancel(cause)
	ctx.kick()
}

// crash panics with a handler's panic, if that is to end the process.
func (ctx *ClientContext) crash(cause error) {
	if p, ok := cause.(*panicError); ok && ctx.config.PanicCrash {
		panic(fmt.Sprintf("%v\n\n%s", p, p.stack))
	}
}

// void drops the reply that is due and what was to go with it, because of cause.
func (ctx *ClientContext) void(cause error) {
	ctx.owed = 0
	ctx.negotiation = nil
	ctx.smtp = reply.SMTP{}
	ctx.out.reset()
	ctx.stopTimers(cause)
}

// finish runs the last events of a session that ends.
func (ctx *ClientContext) finish() {
	ctx.mu.Lock()
	cause, inMessage, finished := ctx.cause, ctx.inMessage, ctx.finished
	handled := len(ctx.handlers.error) > 0
	ctx.mu.Unlock()
	if finished {
		return
	}
	_, panicked := cause.(*panicError)
	switch {
	case panicked: // with whatever error: it may be one of ours
		if handled { // else it is in the log already
			ctx.reportError(cause)
		}
	case errors.Is(cause, ErrTimeout):
		notify(ctx, &ctx.handlers.timeout, func(h func(*ClientContext)) { h(ctx) })
	case errors.Is(cause, ErrFinished) || errors.Is(cause, ErrClosed):
	case errors.Is(cause, ErrPanic) && !handled: // it has been logged
	default:
		ctx.reportError(cause)
	}
	if inMessage {
		ctx.abort()
	}
	for ctx.step() {
	}
	ctx.mu.Lock()
	ctx.setState(StateFinished)
	ctx.mu.Unlock()
	notify(ctx, &ctx.handlers.finished, func(h func(*ClientContext)) { h(ctx) })
	ctx.mu.Lock()
	ctx.finished = true
	if ctx.leaveParent != nil {
		ctx.leaveParent()
	}
	ctx.conn.Store(nil) // it may serve the next session
	destroy := ctx.destroyPrivate
	ctx.destroyPrivate = nil
	ctx.mu.Unlock()
	if destroy != nil {
		if err := protect(destroy); err != nil {
			ctx.logPanic(err)
			ctx.crash(err)
		}
	}
}

// endError returns what Serve and Feed say of a session that ended with cause.
func endError(cause error) error {
	if _, panicked := cause.(*panicError); !panicked && errors.Is(cause, ErrFinished) {
		return nil
	}
	return cause
}
