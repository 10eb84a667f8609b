package context

import (
	stdcontext "context"
	"fmt"
	"maps"

	"github.com/milter-go/milter/protocol"
)

// Message returns a standard context that ends with the current mail
// transaction: when it is answered or aborted, when the session ends, and when
// [Config.ReplyTimeout] has passed. Its cause says which. Outside a transaction it
// is the session itself.
func (ctx *ClientContext) Message() stdcontext.Context {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.messageContext()
}

func (ctx *ClientContext) messageContext() stdcontext.Context {
	if !ctx.inMessage {
		return ctx
	}
	if ctx.message == nil {
		ctx.message, ctx.endMessage = stdcontext.WithCancelCause(ctx)
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
	ctx.result = newMessageResult()
}

// endTransaction ends the mail transaction in state, with status. The caller
// runs what it returns when handlers may run: it reports the result and clears
// the data of the transaction.
func (ctx *ClientContext) endTransaction(state State, status protocol.Status) (report func()) {
	ctx.inMessage, ctx.announced = false, false
	ctx.skipBody = false
	result := ctx.result
	if result == nil { // a state set by a test
		result = newMessageResult()
	}
	result.end(state, status, ctx.quarantineReason)
	if ctx.message != nil {
		ctx.cancelMessage(fmt.Errorf("%w: the mail was answered or aborted: %v", errMessageEnded, status))
	}
	return func() {
		notify(ctx, &ctx.handlers.messageProcessed, func(h func(*ClientContext, *MessageResult)) { h(ctx, result) })
		ctx.mu.Lock()
		defer ctx.mu.Unlock()
		ctx.clearMessage()
	}
}

// clearMessage drops the data of a mail transaction.
func (ctx *ClientContext) clearMessage() {
	ctx.shelf, ctx.perMessage, ctx.result = nil, nil, nil
	ctx.quarantineReason = ""
	for stage := stageEnvelopeFrom; stage < numStages; stage++ {
		// Macros that came since the last command belong to the next message:
		// an MTA defines them before the MAIL that aborts this one.
		if !ctx.fresh[stage] {
			ctx.macros[stage] = ctx.macros[stage][:0]
		}
	}
}

// ResetMessageRelatedData drops the macros from MAIL on, the shelf, the values of
// [PerMessage] and the message result. The library does it at the end of each
// mail transaction.
func (ctx *ClientContext) ResetMessageRelatedData() {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.clearMessage()
	if ctx.inMessage {
		ctx.result = newMessageResult()
	}
}

// MessageResult returns a copy of what is known of the current mail transaction;
// nil outside one.
func (ctx *ClientContext) MessageResult() *MessageResult {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.result.clone()
}

// SetMessageResult replaces what is known of the current mail transaction, for
// tests. Within a transaction nil stands for an empty result.
func (ctx *ClientContext) SetMessageResult(result *MessageResult) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.result = result.clone()
	if ctx.result == nil && ctx.inMessage {
		ctx.result = newMessageResult()
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
