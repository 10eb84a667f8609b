package context

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/milter-go/milter/protocol"
)

// combine is the rule for several handlers of one event (milter manager's signal
// accumulator): what the next handler returned is put to what the handlers
// before it decided, and stop says that the round is over. NOT_CHANGE keeps what
// stands; DEFAULT, CONTINUE and ALL_OPTIONS let the next handler be asked.
func combine(decided, next protocol.Status) (status protocol.Status, stop bool) {
	if next != protocol.StatusNotChange {
		decided = next
	}
	switch decided {
	case protocol.StatusNotChange, protocol.StatusDefault, protocol.StatusContinue, protocol.StatusAllOptions:
		return decided, false
	}
	return decided, true
}

// dispatch calls the handlers of one event and combines their statuses. A
// decision ends the round for the handlers that decide; the ones that watch see
// every event. The error is the panic of a handler. mu is held, and released while
// they run.
func (ctx *ClientContext) dispatch(handlers []any, e *arrival) (protocol.Status, error) {
	if len(handlers) == 0 {
		return protocol.StatusNotChange, nil
	}
	ctx.mu.Unlock()
	status, err := e.callAll(ctx, handlers)
	ctx.mu.Lock()
	return status, err
}

func (e *arrival) callAll(ctx *ClientContext, handlers []any) (status protocol.Status, err error) {
	returned := false
	defer func() {
		if !returned {
			err = recovered(recover())
		}
	}()
	status = protocol.StatusNotChange
	stop := false
	for _, f := range handlers {
		if !stop || !decides(f) {
			status, stop = combine(status, e.call(ctx, f))
		}
	}
	returned = true
	return status, nil
}

// notify calls the handlers of an event without a status. One that panics does
// not keep the next from being called; the panic ends the session. mu is held, and
// released while they run.
func notify[F any](ctx *ClientContext, e event, call func(F)) {
	handlers := ctx.handlers.of(e)
	if len(handlers) == 0 {
		return
	}
	ctx.mu.Unlock()
	for _, f := range handlers {
		if err := protect(func() { call(f.(F)) }); err != nil {
			ctx.panicked(err)
		}
	}
	ctx.mu.Lock()
}

func protect(f func()) (err error) {
	defer func() { err = recovered(recover()) }()
	f()
	return nil
}

// recovered returns what was recovered as an error; nil for nothing.
func recovered(v any) error {
	if v == nil {
		return nil
	}
	return &panicError{v, debug.Stack()}
}

// A panicError is the panic of a handler.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("%v: %v", ErrPanic, e.value) }

// Unwrap makes errors.Is find ErrPanic, and the error that was panicked with.
func (e *panicError) Unwrap() []error {
	if err, ok := e.value.(error); ok {
		return []error{ErrPanic, err}
	}
	return []error{ErrPanic}
}

// panicked reports the panic of a handler and ends the session with it, without
// an answer. mu is not held.
func (ctx *ClientContext) panicked(err error) {
	ctx.logPanic(err)
	ctx.crash(err)
	ctx.fail(err)
}

// logPanic counts and logs a panic. Each passes here once.
func (ctx *ClientContext) logPanic(err error) {
	ctx.config.Counters.panicked()
	stack := []byte(nil)
	if p, ok := err.(*panicError); ok {
		stack = p.stack
	}
	ctx.Logger().Error("milter: handler panicked", "error", err, "state", ctx.State().String(), "stack", string(stack))
}

// reportError runs the OnError handlers, or logs err when there are none: at level
// info if it is about somebody who has not negotiated. mu is not held.
func (ctx *ClientContext) reportError(err error) {
	ctx.mu.Lock()
	handled := len(ctx.handlers.of(eventError)) > 0
	stranger := ctx.option.Version == 0 && errors.Is(err, ErrProtocol)
	notify(ctx, eventError, func(h func(*ClientContext, error)) { h(ctx, err) })
	ctx.mu.Unlock()
	switch {
	case handled:
	case stranger: // scanners do reach milter ports; nobody has to get up for that
		ctx.Logger().Info("milter: not an MTA", "error", err)
	default:
		ctx.Logger().Error("milter: session error", "error", err)
	}
}

// reportSoon lets OnError be told of err by the goroutine that delivers events.
func (ctx *ClientContext) reportSoon(err error) {
	ctx.later(func(ctx *ClientContext) { ctx.reportError(err) })
}
