package context

import (
	stdcontext "context"
	"errors"
	"fmt"
	"runtime/debug"
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
// session. A panic in f counts as a handler's panic.
//
// To set a reply, change the mail or tell progress f uses what [ClientContext.Late] returns:
// an f that does not stop when its context ends would otherwise do that to the
// next mail.
//
// Called while no reply is due, Later reports an error, does not start f and
// returns StatusTemporaryFailure.
func (d due) Later(f func(mail stdcontext.Context) protocol.Status) protocol.Status {
	late := d.Late()
	if late.debt == overDebt {
		d.ctx.report(fmt.Errorf("%w: Later in state %v", ErrNoReplyDue, d.ctx.State()))
		return protocol.StatusTemporaryFailure
	}
	go late.run(f)
	return protocol.StatusProgress
}

// A Late is a hold on one event, for a goroutine that answers it later. What is
// done by it concerns that event and no other: once the event is answered, by
// whomever, or void, everything fails with ErrNoReplyDue, or ErrFinished after the
// session. As a standard context it ends then, and with the mail transaction, the
// reply timeout and the session.
type Late struct {
	due
	command protocol.Command
	std     stdcontext.Context // guarded by the session's mu; nil until it is needed
}

var _ stdcontext.Context = (*Late)(nil)

// Late returns a hold on the event to which a reply is due. It is for goroutines
// that do more than return a status:
//
//	late := ctx.Late()
//	go func() { late.Respond(late.Check(late.AddHeader("X-Scan", scan(late, body)))) }()
//	return protocol.StatusProgress
//
// Called while no reply is due it returns a hold that is over.
func (d due) Late() *Late {
	ctx := d.ctx
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	late := &Late{due: due{ctx, ctx.debt}, command: ctx.owed}
	if late.command == 0 || d.open("late") != nil {
		late.debt = overDebt
	}
	return late
}

// Deadline implements the standard Context.
func (l *Late) Deadline() (deadline time.Time, ok bool) { return l.standard().Deadline() }

// Done returns a channel that is closed when nothing can be done by l any more.
func (l *Late) Done() <-chan struct{} { return l.standard().Done() }

// Err returns nil while the event waits, then an error. The standard package's
// Cause(l) says why it does not wait any more.
func (l *Late) Err() error { return l.standard().Err() }

// Value returns a value of [Config.Parent].
func (l *Late) Value(key any) any { return l.standard().Value(key) }

// standard returns the standard context of l. Most goroutines never ask for it.
func (l *Late) standard() stdcontext.Context {
	ctx := l.ctx
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if l.std != nil {
		return l.std
	}
	std, cancel := stdcontext.WithCancelCause(ctx.messageContext())
	l.std = std
	switch {
	case l.open("") == nil:
		ctx.cancels = append(ctx.cancels, cancel)
	case l.debt == ctx.debt && ctx.debtCause != nil:
		cancel(ctx.debtCause)
	default:
		cancel(ErrNoReplyDue)
	}
	return l.std
}

// Respond answers the event with a status other than StatusProgress, as its
// Response call does.
func (l *Late) Respond(status protocol.Status) error {
	ctx := l.ctx
	ctx.mu.Lock()
	err := ctx.respondLocked(l.command, l.debt, status)
	ctx.mu.Unlock()
	ctx.drive()
	return err
}

// run answers the event with what f returns.
func (l *Late) run(f func(stdcontext.Context) protocol.Status) {
	status, ok := l.call(f)
	if !ok {
		return
	}
	l.ctx.mu.Lock()
	err := l.ctx.respondLocked(l.command, l.debt, status)
	l.ctx.mu.Unlock()
	if status == protocol.StatusProgress && errors.Is(err, ErrInvalidStatus) {
		_ = l.Respond(l.Check(err))
	}
	l.ctx.drive()
}

// call returns what f returns; ok is false if it did not, and the event was
// answered otherwise.
func (l *Late) call(f func(stdcontext.Context) protocol.Status) (status protocol.Status, ok bool) {
	defer func() {
		if ok {
			return
		}
		err := fmt.Errorf("%w: the goroutine of Later exited", ErrPanic) // by runtime.Goexit
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
		l.panicked(err)
	}()
	return f(l), true
}

func (l *Late) panicked(err error) {
	l.ctx.mu.Lock()
	l.ctx.payForPanic(l.command, l.debt, err)
	l.ctx.mu.Unlock()
	l.ctx.drive()
}

// report lets OnError be told of an error, by the goroutine that delivers events.
func (ctx *ClientContext) report(err error) {
	ctx.mu.Lock()
	ctx.reportSoon(err)
	ctx.kick()
	ctx.mu.Unlock()
	ctx.drive()
}

// later lets f run among the events, by the goroutine that delivers them.
func (ctx *ClientContext) later(f func(*ClientContext)) {
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

// stopTimers ends what ran for a reply that is not due any more, because of
// cause.
func (ctx *ClientContext) stopTimers(cause error) {
	if ctx.replyTimer != nil {
		ctx.replyTimer.Stop()
		ctx.replyTimer = nil
	}
	if ctx.keepAlive != nil {
		ctx.keepAlive.Stop()
		ctx.keepAlive = nil
	}
	ctx.endLate(cause)
}

// endLate ends the contexts of what runs for the reply that is due.
func (ctx *ClientContext) endLate(cause error) {
	if ctx.debtCause == nil {
		ctx.debtCause = cause
	}
	for _, cancel := range ctx.cancels {
		cancel(cause)
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
		ctx.config.Counters.replyTimedOut()
		err := fmt.Errorf("%w: %v at %v", ErrReplyTimeout, ctx.config.ReplyTimeout, ctx.owed)
		ctx.endLate(err)
		ctx.cancelMessage(err)
		ctx.reportSoon(err)
		ctx.payInstead(ctx.owed, ctx.config.ReplyTimeoutStatus)
		ctx.kick()
	}
	ctx.mu.Unlock()
	ctx.drive()
}
