package context

import (
	stdcontext "context"
	"fmt"
	"maps"
	"time"

	"github.com/milter-go/milter/protocol"
)

// Message returns a standard context that ends with the current mail
// transaction: when it is answered or aborted, when the session ends, and when
// [Config.ReplyTimeout] has passed. Its cause says which. Outside a transaction it
// is the session itself.
func (ctx *ClientContext) Message() stdcontext.Context {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if !ctx.inMessage {
		return ctx
	}
	return ctx.messageContext()
}

// messageContext is Message without the session itself: what is derived from it must
// not ask for the lock.
func (ctx *ClientContext) messageContext() stdcontext.Context {
	if !ctx.inMessage {
		return ctx.standard()
	}
	if ctx.message == nil {
		ctx.message, ctx.endMessage = stdcontext.WithCancelCause(ctx.standard())
	}
	return ctx.message
}

// cancelMessage ends what Message has returned. In a transaction that goes on,
// the next call returns a new one.
func (ctx *ClientContext) cancelMessage(cause error) {
	if ctx.message != nil {
		ctx.endMessage(cause)
		ctx.message, ctx.endMessage = nil, nil
	}
}

// beginMessage begins a mail transaction.
func (ctx *ClientContext) beginMessage() {
	ctx.inMessage = true
	ctx.decision = nil
	ctx.skipBody = false
	ctx.announced = false
	ctx.out.reset()
	ctx.shelf, ctx.perMessage = nil, nil // a goroutine may have outlived its mail
	ctx.mail.release()
	ctx.mail.start = time.Now()
}

// endTransaction ends the mail transaction in state, with status. The caller
// runs what it returns when handlers may run: it reports the result and clears
// the data of the transaction.
func (ctx *ClientContext) endTransaction(state State, status protocol.Status) (report func(*ClientContext)) {
	ctx.inMessage, ctx.announced = false, false
	ctx.skipBody = false
	if ctx.message != nil {
		ctx.cancelMessage(fmt.Errorf("%w: the mail was answered or aborted: %v", errMessageEnded, status))
	}
	if len(ctx.handlers.messageProcessed) == 0 {
		return (*ClientContext).clearMessage
	}
	if !ctx.hasResult() { // a state set by a test
		ctx.mail.start = time.Now()
	}
	result := ctx.mail.message()
	result.end(state, status, ctx.quarantineReason)
	return func(ctx *ClientContext) {
		ctx.mu.Lock()
		notify(ctx, &ctx.handlers.messageProcessed, func(h func(*ClientContext, *MessageResult)) { h(ctx, result) })
		ctx.mu.Unlock()
		ctx.clearMessage()
	}
}

// clearMessage drops the data of a mail transaction.
func (ctx *ClientContext) clearMessage() {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.shelf, ctx.perMessage = nil, nil
	ctx.mail.release()
	ctx.quarantineReason = ""
	ctx.macros.clearStale()
}

// ResetMessageRelatedData drops the macros from MAIL on, the shelf, the values of
// [PerMessage] and the message result. The library does it at the end of each
// mail transaction.
func (ctx *ClientContext) ResetMessageRelatedData() {
	ctx.clearMessage()
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if ctx.inMessage {
		ctx.mail.start = time.Now()
	}
}

// MessageResult returns a copy of what is known of the current mail transaction;
// nil outside one.
func (ctx *ClientContext) MessageResult() *MessageResult {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if !ctx.hasResult() {
		return nil
	}
	return ctx.mail.message().clone()
}

// hasResult reports whether something is known of a mail: one is under way, or
// has just been answered, or a test has set a result.
func (ctx *ClientContext) hasResult() bool { return !ctx.mail.start.IsZero() || ctx.mail.result != nil }

// SetMessageResult replaces what is known of the current mail transaction, for
// tests. Within a transaction nil stands for an empty result.
func (ctx *ClientContext) SetMessageResult(result *MessageResult) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.mail.release()
	switch {
	case result != nil:
		ctx.mail = record{start: result.Start, bodySize: result.BodySize, result: result.clone()}
	case ctx.inMessage:
		ctx.mail.start = time.Now()
	}
}

// SetShelfValue puts a value on the mail transaction shelf, in place of an older
// one. The shelf is cleared at the end of each mail transaction. [PerMessage]
// keeps values of any type.
func (ctx *ClientContext) SetShelfValue(key, value string) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if ctx.shelf == nil {
		ctx.shelf = make(map[string]string)
	}
	ctx.shelf[key] = value
}

// ShelfValue returns a value from the mail transaction shelf, and whether it is
// there.
func (ctx *ClientContext) ShelfValue(key string) (value string, ok bool) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	value, ok = ctx.shelf[key]
	return value, ok
}

// Shelf returns a copy of the mail transaction shelf, to be ranged over.
func (ctx *ClientContext) Shelf() map[string]string {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return maps.Clone(ctx.shelf)
}

// ClearShelf removes everything from the mail transaction shelf.
func (ctx *ClientContext) ClearShelf() {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.shelf = nil
}

// PerMessage returns the T of the current mail transaction. It is a new, zero T
// at the first call in a transaction and is dropped at the end of it, so that
// nobody has to reset anything:
//
//	type mail struct{ body bytes.Buffer }
//
//	func body(ctx *context.ClientContext, chunk []byte) protocol.Status {
//		context.PerMessage[mail](ctx).body.Write(chunk)
//		return protocol.StatusContinue
//	}
//
// Handlers may use the T freely. A goroutine that outlives the handler takes the
// pointer along, and shares the T with the handlers that come after.
func PerMessage[T any](ctx *ClientContext) *T {
	type key struct{ _ *T }
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if v, ok := ctx.perMessage[key{}]; ok {
		return v.(*T)
	}
	if ctx.perMessage == nil {
		ctx.perMessage = make(map[any]any)
	}
	v := new(T)
	ctx.perMessage[key{}] = v
	return v
}
