package context

import (
	stdcontext "context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/milter-go/milter/protocol"
)

// A mail is what a session keeps of one mail transaction. An idle session has
// none.
type mail struct {
	record
	out              changes
	quarantineReason string
	enough           set // the body handlers that have had enough
	bodyHandler      int // the one that was asked last
	shelf            map[string]string
	perMessage       map[any]any
	context          stdcontext.Context // nil until it is asked for
	cancel           stdcontext.CancelCauseFunc
}

var mails = sync.Pool{New: func() any { return new(mail) }}

// theMail returns the mail that is under way, or a place for what is kept before
// there is one.
func (ctx *ClientContext) theMail() *mail {
	if ctx.mail == nil {
		ctx.mail = mails.Get().(*mail)
	}
	return ctx.mail
}

// dropMail forgets the mail.
func (ctx *ClientContext) dropMail() {
	if m := ctx.mail; m != nil {
		m.record.release()
		m.out.reset()
		*m = mail{}
		mails.Put(m)
		ctx.mail = nil
	}
}

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
	m := ctx.theMail()
	if m.context == nil {
		m.context, m.cancel = stdcontext.WithCancelCause(ctx.standard())
	}
	return m.context
}

// cancelMessage ends what Message has returned. In a transaction that goes on,
// the next call returns a new one.
func (ctx *ClientContext) cancelMessage(cause error) {
	if m := ctx.mail; m != nil && m.context != nil {
		m.cancel(cause)
		m.context, m.cancel = nil, nil
	}
}

// beginMessage begins a mail transaction.
func (ctx *ClientContext) beginMessage() {
	ctx.inMessage = true
	ctx.decision = nil
	ctx.skipBody = false
	ctx.announced = false
	ctx.dropMail() // a goroutine that has outlived its mail may have left something
	ctx.theMail().start = time.Now()
}

// endTransaction ends the mail transaction in state, with status. The caller
// runs what it returns when handlers may run: it reports the result and clears
// the data of the transaction.
func (ctx *ClientContext) endTransaction(state State, status protocol.Status) (report func(*ClientContext)) {
	ctx.inMessage, ctx.announced = false, false
	ctx.skipBody = false
	m := ctx.theMail()
	if m.context != nil {
		ctx.cancelMessage(fmt.Errorf("%w: the mail was answered or aborted: %v", errMessageEnded, status))
	}
	if len(ctx.handlers.of(eventMessageProcessed)) == 0 {
		return (*ClientContext).clearMessage
	}
	if !m.known() { // a state set by a test
		m.start = time.Now()
	}
	result := m.message()
	result.end(state, status, m.quarantineReason)
	return func(ctx *ClientContext) {
		ctx.mu.Lock()
		notify(ctx, eventMessageProcessed, func(h func(*ClientContext, *MessageResult)) { h(ctx, result) })
		ctx.mu.Unlock()
		ctx.clearMessage()
	}
}

// clearMessage drops the data of a mail transaction.
func (ctx *ClientContext) clearMessage() {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.dropMail()
	ctx.macros.clearStale()
}

// ResetMessageRelatedData drops the macros from MAIL on, the shelf, the values of
// [PerMessage] and the message result. The library does it at the end of each
// mail transaction.
func (ctx *ClientContext) ResetMessageRelatedData() {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.macros.clearStale()
	if m := ctx.mail; m != nil {
		m.record.release()
		m.shelf, m.perMessage, m.quarantineReason = nil, nil, ""
		if ctx.inMessage {
			m.start = time.Now()
		}
	}
}

// MessageResult returns a copy of what is known of the current mail transaction;
// nil outside one.
func (ctx *ClientContext) MessageResult() *MessageResult {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if ctx.mail == nil || !ctx.mail.known() {
		return nil
	}
	return ctx.mail.message().clone()
}

// SetMessageResult replaces what is known of the current mail transaction, for
// tests. Within a transaction nil stands for an empty result.
func (ctx *ClientContext) SetMessageResult(result *MessageResult) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	m := ctx.theMail()
	m.record.release()
	switch {
	case result != nil:
		m.record = record{start: result.Start, bodySize: result.BodySize, cut: result.Incomplete, result: result.clone()}
	case ctx.inMessage:
		m.start = time.Now()
	}
}

// SetShelfValue puts a value on the mail transaction shelf, in place of an older
// one. The shelf is cleared at the end of each mail transaction. [PerMessage]
// keeps values of any type.
func (ctx *ClientContext) SetShelfValue(key, value string) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	m := ctx.theMail()
	if m.shelf == nil {
		m.shelf = make(map[string]string)
	}
	m.shelf[key] = value
}

// ShelfValue returns a value from the mail transaction shelf, and whether it is
// there.
func (ctx *ClientContext) ShelfValue(key string) (value string, ok bool) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	value, ok = ctx.theMail().shelf[key]
	return value, ok
}

// Shelf returns a copy of the mail transaction shelf, to be ranged over.
func (ctx *ClientContext) Shelf() map[string]string {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return maps.Clone(ctx.theMail().shelf)
}

// ClearShelf removes everything from the mail transaction shelf.
func (ctx *ClientContext) ClearShelf() {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.theMail().shelf = nil
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
	m := ctx.theMail()
	if v, ok := m.perMessage[key{}]; ok {
		return v.(*T)
	}
	if m.perMessage == nil {
		m.perMessage = make(map[any]any)
	}
	v := new(T)
	m.perMessage[key{}] = v
	return v
}
