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
		_ = conn.SetWriteDeadline(pastDeadline)
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
	if ctx.cause != nil {
		return
	}
	ctx.cause = cause
	ctx.void(cause)
	ctx.cancelMessage(cause)
	if ctx.cancel != nil {
		ctx.cancel(cause)
	}
	ctx.kick()
}

// crash panics with a handler's panic, if that is to end the process. mu is not
// held: whoever recovers it finds a session that can be used.
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
	if ctx.mail != nil {
		ctx.mail.out.reset()
	}
	ctx.stopTimers(cause)
}

// finish runs the last events of a session that ends. mu is held, and released
// while they run.
func (ctx *ClientContext) finish() {
	if ctx.finished {
		return
	}
	cause, inMessage := ctx.cause, ctx.inMessage
	ctx.config.Counters.ended(cause, ctx.option.Version != 0)
	_, panicked := cause.(*panicError)
	switch {
	case panicked: // with whatever error: it may be one of ours
		if len(ctx.handlers.of(eventError)) > 0 { // else it is in the log already
			ctx.mu.Unlock()
			ctx.reportError(cause)
			ctx.mu.Lock()
		}
	case errors.Is(cause, ErrTimeout):
		notify(ctx, eventTimeout, func(h func(*ClientContext)) { h(ctx) })
	case errors.Is(cause, ErrFinished) || errors.Is(cause, ErrClosed):
	case errors.Is(cause, ErrPanic) && len(ctx.handlers.of(eventError)) == 0: // it has been logged
	default:
		ctx.mu.Unlock()
		ctx.reportError(cause)
		ctx.mu.Lock()
	}
	if inMessage {
		ctx.abort()
	}
	for ctx.step() {
	}
	ctx.setState(StateFinished)
	notify(ctx, eventFinished, func(h func(*ClientContext)) { h(ctx) })
	ctx.finished = true
	if ctx.leaveParent != nil {
		ctx.leaveParent()
	}
	ctx.conn.Store(nil) // it may serve the next session
	ctx.dropMail()
	destroy := ctx.destroyPrivate
	ctx.destroyPrivate = nil
	if destroy == nil {
		return
	}
	ctx.mu.Unlock()
	if err := protect(destroy); err != nil {
		ctx.logPanic(err)
		ctx.crash(err)
	}
	ctx.mu.Lock()
}

// endError returns what Serve and Feed say of a session that ended with cause.
func endError(cause error) error {
	if _, panicked := cause.(*panicError); !panicked && errors.Is(cause, ErrFinished) {
		return nil
	}
	return cause
}
