package context

import (
	stdcontext "context"
	"errors"
	"fmt"
	"time"

	"github.com/milter-go/milter/protocol"
)

// errMessageEnded is the cause of a context that ended with its mail.
var errMessageEnded = errors.New("context: mail transaction ended")

// Later answers the current event later: it starts f in a goroutine of its own
// and returns StatusProgress, for the handler to return.
//
//	return ctx.Later(func(mail stdcontext.Context) protocol.Status { return scan(mail, body) })
//
// What f returns answers the event that Later was called in and no other: if
// that is answered otherwise, or void, f's status goes nowhere. The context given
// to f ends then, and with the mail transaction, the reply timeout and the
// session. A panic in f counts as a handler's panic. f may use all of ctx: set a
// reply, change the mail, tell progress.
//
// Called while no reply is due, Later reports an error, does not start f and
// returns StatusTemporaryFailure.
func (ctx *ClientContext) Later(f func(mail stdcontext.Context) protocol.Status) protocol.Status {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	c, debt := ctx.owed, ctx.debt
	if c == 0 {
		err := fmt.Errorf("%w: Later in state %v", ErrNoReplyDue, ctx.state)
		ctx.later(func() { ctx.reportError(err) })
		return protocol.StatusTemporaryFailure
	}
	mail, cancel := stdcontext.WithCancelCause(ctx.messageContext())
	ctx.cancels = append(ctx.cancels, cancel)
	go ctx.runLater(c, debt, mail, f)
	return protocol.StatusProgress
}

func (ctx *ClientContext) runLater(c protocol.Command, debt uint64, mail stdcontext.Context, f func(stdcontext.Context) protocol.Status) {
	var status protocol.Status
	returned := false
	answer := func() (err error) {
		defer recoverTo(&err)
		status = f(mail)
		returned = true
		return nil
	}
	defer func() {
		if !returned { // f has called runtime.Goexit
			ctx.laterPanicked(c, debt, fmt.Errorf("%w: the goroutine of Later exited", ErrPanic))
		}
	}()
	if err := answer(); err != nil {
		returned = true
		ctx.laterPanicked(c, debt, err)
		return
	}
	ctx.mu.Lock()
	err := ctx.respondLocked(c, debt, status)
	if errors.Is(err, ErrInvalidStatus) && status == protocol.StatusProgress {
		ctx.later(func() { ctx.reportError(err) })
		_ = ctx.respondLocked(c, debt, protocol.StatusTemporaryFailure)
	}
	ctx.mu.Unlock()
	ctx.drive()
}

func (ctx *ClientContext) laterPanicked(c protocol.Command, debt uint64, err error) {
	ctx.payForPanic(c, debt, err)
	ctx.drive()
}

// later lets f run among the events, by the goroutine that delivers them.
func (ctx *ClientContext) later(f func()) {
	ctx.pending = append(ctx.pending, f)
}

// startTimers starts what watches over a reply that has become due.
func (ctx *ClientContext) startTimers(c protocol.Command) {
	debt := ctx.debt
	if d := ctx.config.ReplyTimeout; d > 0 && c != protocol.CommandAbort {
		ctx.replyTimer = time.AfterFunc(d, func() { ctx.replyTimedOut(debt) })
	}
	if d := ctx.config.KeepAlive; d > 0 && c == protocol.CommandEndOfMessage {
		ctx.keepAlive = time.AfterFunc(d, func() { ctx.keepAlivePassed(debt) })
	}
}

// stopTimers ends what ran for a reply that is not due any more.
func (ctx *ClientContext) stopTimers() {
	if ctx.replyTimer != nil {
		ctx.replyTimer.Stop()
		ctx.replyTimer = nil
	}
	if ctx.keepAlive != nil {
		ctx.keepAlive.Stop()
		ctx.keepAlive = nil
	}
	for _, cancel := range ctx.cancels {
		cancel(errMessageEnded)
	}
	ctx.cancels = nil
}

func (ctx *ClientContext) keepAlivePassed(debt uint64) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if ctx.debt == debt && ctx.owed == protocol.CommandEndOfMessage {
		if ctx.writeProgress() == nil {
			ctx.keepAlive.Reset(ctx.config.KeepAlive)
		}
	}
}

func (ctx *ClientContext) replyTimedOut(debt uint64) {
	ctx.mu.Lock()
	if ctx.debt == debt && ctx.owed != 0 {
		err := fmt.Errorf("%w: %v at %v", ErrReplyTimeout, ctx.config.ReplyTimeout, ctx.owed)
		for _, cancel := range ctx.cancels {
			cancel(err)
		}
		ctx.cancelMessage(err)
		ctx.later(func() { ctx.reportError(err) })
		ctx.payInstead(ctx.owed, ctx.config.ReplyTimeoutStatus)
		ctx.kick()
	}
	ctx.mu.Unlock()
	ctx.drive()
}
