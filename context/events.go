package context

import (
	"net"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// The types of the handlers; the methods spell them out.
type (
	negotiateFunc = func(*ClientContext, *option.Option, *option.MacroRequests) protocol.Status
	plainFunc     = func(*ClientContext) protocol.Status
	connectFunc   = func(*ClientContext, string, net.Addr) protocol.Status
	stringFunc    = func(*ClientContext, string) protocol.Status
	envelopeFunc  = func(*ClientContext, string, protocol.Parameters) protocol.Status
	headerFunc    = func(*ClientContext, string, string) protocol.Status
	chunkFunc     = func(*ClientContext, []byte) protocol.Status
	abortFunc     = func(*ClientContext, State) protocol.Status
)

type handlers struct {
	negotiate         event[negotiateFunc]
	connect           event[connectFunc]
	helo              event[stringFunc]
	envelopeFrom      event[envelopeFunc]
	envelopeRecipient event[envelopeFunc]
	data              event[plainFunc]
	unknown           event[stringFunc]
	header            event[headerFunc]
	endOfHeader       event[plainFunc]
	body              event[chunkFunc]
	endOfMessage      event[chunkFunc]
	abort             event[abortFunc]
	defineMacro       []func(*ClientContext, protocol.Command, []protocol.Macro)
	messageProcessed  []func(*ClientContext, *MessageResult)
	timeout           []func(*ClientContext)
	error             []func(*ClientContext, error)
	finished          []func(*ClientContext)

	deciding option.Step // the no-reply steps of the events that have a handler which is no watcher
}

// An event is the handlers of one event, in the order they were registered.
type event[F any] struct{ handlers []handler[F] }

type handler[F any] struct {
	f     F
	watch bool
}

func on[F any](ctx *ClientContext, c protocol.Command, e *event[F], f F) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	e.handlers = append(e.handlers, handler[F]{f, false})
	ctx.handlers.deciding |= commands[c].noReply
}

func watch[F any](ctx *ClientContext, e *event[F], f F) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	e.handlers = append(e.handlers, handler[F]{f, true})
}

func observe[F any](ctx *ClientContext, list *[]F, f F) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	*list = append(*list, f)
}

// OnNegotiate registers h for the beginning of the session: the MTA offers a
// version, actions and steps. h may change offer and add to macros, and returns
//
//   - StatusDefault or StatusAllOptions: the library answers as if there were no
//     handler (see [ClientContext.DefaultOption]), with the macros asked for;
//   - StatusContinue: the answer is offer as the handlers left it, without what
//     was not offered. The untouched offer is not what a milter wants: it asks
//     for no event at all. Begin with DefaultOption and change that;
//   - StatusReject, StatusTemporaryFailure: the session is refused;
//   - StatusAccept, StatusDiscard: no event is wanted;
//   - StatusProgress: NegotiateResponse follows.
//
// Macros are asked for only if the MTA offers option.ActionSetSymbolList.
func (ctx *ClientContext) OnNegotiate(h func(ctx *ClientContext, offer *option.Option, macros *option.MacroRequests) protocol.Status) {
	on(ctx, protocol.CommandNegotiate, &ctx.handlers.negotiate, h)
}

// OnDefineMacro registers h for the macros that the MTA defines for command.
// They are stored before h runs; most milters call [ClientContext.Macro] instead.
func (ctx *ClientContext) OnDefineMacro(h func(ctx *ClientContext, command protocol.Command, macros []protocol.Macro)) {
	observe(ctx, &ctx.handlers.defineMacro, h)
}

// OnConnect registers h for the SMTP client's connection to the MTA. host is its
// name by a reverse lookup, or its address in square brackets; addr is a
// *net.TCPAddr, a *net.UnixAddr, or nil when the mail comes from standard input.
//
// Allowed: continue, reject, temporary-failure, accept, no-reply, progress.
func (ctx *ClientContext) OnConnect(h func(ctx *ClientContext, host string, addr net.Addr) protocol.Status) {
	on(ctx, protocol.CommandConnect, &ctx.handlers.connect, h)
}

// WatchConnect is [ClientContext.OnConnect] for a handler that only looks. Of an event
// that only watchers listen to the MTA awaits no reply, if it offers that: nothing is
// due then, and Response calls and Later fail with ErrNoReplyDue.
func (ctx *ClientContext) WatchConnect(h func(ctx *ClientContext, host string, addr net.Addr)) {
	watch(ctx, &ctx.handlers.connect, func(ctx *ClientContext, host string, addr net.Addr) protocol.Status {
		h(ctx, host, addr)
		return protocol.StatusNotChange
	})
}

// OnHelo registers h for the SMTP client's HELO or EHLO. It may come several
// times in a session, or never.
//
// Allowed: continue, reject, temporary-failure, accept, no-reply, progress. Both
// MTAs answer the HELO itself with 250 and refuse what follows.
func (ctx *ClientContext) OnHelo(h func(ctx *ClientContext, name string) protocol.Status) {
	on(ctx, protocol.CommandHelo, &ctx.handlers.helo, h)
}

// WatchHelo is [ClientContext.OnHelo] for a handler that only looks.
func (ctx *ClientContext) WatchHelo(h func(ctx *ClientContext, name string)) {
	watch(ctx, &ctx.handlers.helo, func(ctx *ClientContext, name string) protocol.Status {
		h(ctx, name)
		return protocol.StatusNotChange
	})
}

// OnEnvelopeFrom registers h for MAIL FROM, which begins a mail transaction. from
// is the sender as the client typed it, usually with angle brackets; "<>" is the
// null sender ("" for mail that Postfix takes from its sendmail command).
//
// Allowed: continue, reject, temporary-failure, discard, accept, no-reply,
// progress. All but continue and no-reply end the transaction.
func (ctx *ClientContext) OnEnvelopeFrom(h func(ctx *ClientContext, from string, parameters protocol.Parameters) protocol.Status) {
	on(ctx, protocol.CommandEnvelopeFrom, &ctx.handlers.envelopeFrom, h)
}

// WatchEnvelopeFrom is [ClientContext.OnEnvelopeFrom] for a handler that only looks.
func (ctx *ClientContext) WatchEnvelopeFrom(h func(ctx *ClientContext, from string, parameters protocol.Parameters)) {
	watch(ctx, &ctx.handlers.envelopeFrom, func(ctx *ClientContext, from string, parameters protocol.Parameters) protocol.Status {
		h(ctx, from, parameters)
		return protocol.StatusNotChange
	})
}

// OnEnvelopeRecipient registers h for each RCPT TO.
//
// Allowed: continue, reject, temporary-failure, discard, accept, no-reply,
// progress. A reject or temporary failure concerns this recipient only; discard
// and accept end the transaction, for all recipients.
func (ctx *ClientContext) OnEnvelopeRecipient(h func(ctx *ClientContext, to string, parameters protocol.Parameters) protocol.Status) {
	on(ctx, protocol.CommandEnvelopeRecipient, &ctx.handlers.envelopeRecipient, h)
}

// WatchEnvelopeRecipient is [ClientContext.OnEnvelopeRecipient] for a handler
// that only looks.
func (ctx *ClientContext) WatchEnvelopeRecipient(h func(ctx *ClientContext, to string, parameters protocol.Parameters)) {
	watch(ctx, &ctx.handlers.envelopeRecipient, func(ctx *ClientContext, to string, parameters protocol.Parameters) protocol.Status {
		h(ctx, to, parameters)
		return protocol.StatusNotChange
	})
}

// OnData registers h for the SMTP client's DATA, after the recipients.
//
// Allowed: continue, reject, temporary-failure, discard, accept, no-reply,
// progress.
func (ctx *ClientContext) OnData(h func(ctx *ClientContext) protocol.Status) {
	on(ctx, protocol.CommandData, &ctx.handlers.data, h)
}

// WatchData is [ClientContext.OnData] for a handler that only looks.
func (ctx *ClientContext) WatchData(h func(ctx *ClientContext)) {
	watch(ctx, &ctx.handlers.data, func(ctx *ClientContext) protocol.Status {
		h(ctx)
		return protocol.StatusNotChange
	})
}

// OnUnknown registers h for an SMTP command that the MTA does not know. Sendmail
// gives the whole line, Postfix its first word. The MTA refuses the command in
// any case.
//
// Allowed: continue, reject, temporary-failure, no-reply, progress. (Accept and
// discard make Postfix 3.7 fail at the next MAIL.)
func (ctx *ClientContext) OnUnknown(h func(ctx *ClientContext, line string) protocol.Status) {
	on(ctx, protocol.CommandUnknown, &ctx.handlers.unknown, h)
}

// WatchUnknown is [ClientContext.OnUnknown] for a handler that only looks.
func (ctx *ClientContext) WatchUnknown(h func(ctx *ClientContext, line string)) {
	watch(ctx, &ctx.handlers.unknown, func(ctx *ClientContext, line string) protocol.Status {
		h(ctx, line)
		return protocol.StatusNotChange
	})
}

// OnHeader registers h for each header field, in the order of the mail. The lines
// of a folded value are joined by LF and keep the white space they begin with;
// there is no CR. One space after the colon is removed unless
// option.StepHeaderValueWithLeadingSpace was negotiated.
//
// Allowed: continue, reject, temporary-failure, discard, accept, no-reply,
// progress.
func (ctx *ClientContext) OnHeader(h func(ctx *ClientContext, name, value string) protocol.Status) {
	on(ctx, protocol.CommandHeader, &ctx.handlers.header, h)
}

// WatchHeader is [ClientContext.OnHeader] for a handler that only looks.
func (ctx *ClientContext) WatchHeader(h func(ctx *ClientContext, name, value string)) {
	watch(ctx, &ctx.handlers.header, func(ctx *ClientContext, name, value string) protocol.Status {
		h(ctx, name, value)
		return protocol.StatusNotChange
	})
}

// OnEndOfHeader registers h for the end of the headers.
//
// Allowed: continue, reject, temporary-failure, discard, accept, no-reply,
// progress.
func (ctx *ClientContext) OnEndOfHeader(h func(ctx *ClientContext) protocol.Status) {
	on(ctx, protocol.CommandEndOfHeader, &ctx.handlers.endOfHeader, h)
}

// WatchEndOfHeader is [ClientContext.OnEndOfHeader] for a handler that only looks.
func (ctx *ClientContext) WatchEndOfHeader(h func(ctx *ClientContext)) {
	watch(ctx, &ctx.handlers.endOfHeader, func(ctx *ClientContext) protocol.Status {
		h(ctx)
		return protocol.StatusNotChange
	})
}

// OnBody registers h for each piece of the body. Lines end in CRLF; a piece may
// end anywhere. chunk is valid until h returns: who needs it longer copies it.
// A mail without a body has no such event.
//
// Allowed: continue, reject, temporary-failure, discard, accept, skip, no-reply,
// progress. After skip this handler gets no further piece. When all have had enough
// and none watches, the MTA is told not to send the rest, if it knows how.
func (ctx *ClientContext) OnBody(h func(ctx *ClientContext, chunk []byte) protocol.Status) {
	on(ctx, protocol.CommandBody, &ctx.handlers.body, h)
}

// WatchBody is [ClientContext.OnBody] for a handler that only looks.
func (ctx *ClientContext) WatchBody(h func(ctx *ClientContext, chunk []byte)) {
	watch(ctx, &ctx.handlers.body, func(ctx *ClientContext, chunk []byte) protocol.Status {
		h(ctx, chunk)
		return protocol.StatusNotChange
	})
}

// OnEndOfMessage registers h for the end of the mail: the one event in which, or
// while whose reply is due, a mail can be changed. chunk is a last piece of the
// body, valid until h returns; MTAs leave it empty.
//
// Allowed: continue, reject, temporary-failure, discard, accept, progress.
func (ctx *ClientContext) OnEndOfMessage(h func(ctx *ClientContext, chunk []byte) protocol.Status) {
	on(ctx, protocol.CommandEndOfMessage, &ctx.handlers.endOfMessage, h)
}

// OnAbort registers h for a mail transaction that ends without an answer of this
// milter: by RSET, a new greeting or MAIL, another milter's refusal, the end of
// the connection, a timeout, an error or a shutdown. state is where the session
// was. It is not called outside a transaction, and not when the milter has
// decided the mail (accept, reject, temporary-failure or discard).
//
// Nothing is sent. StatusProgress keeps the next event waiting until
// AbortResponse is called; the other statuses mean nothing.
func (ctx *ClientContext) OnAbort(h func(ctx *ClientContext, state State) protocol.Status) {
	on(ctx, protocol.CommandAbort, &ctx.handlers.abort, h)
}

// OnMessageProcessed registers h for the end of each mail transaction, answered
// or aborted. After it the data of the transaction is cleared.
func (ctx *ClientContext) OnMessageProcessed(h func(ctx *ClientContext, result *MessageResult)) {
	observe(ctx, &ctx.handlers.messageProcessed, h)
}

// OnTimeout registers h for an MTA that was silent for too long. The session ends
// after it, with OnAbort if it is in a mail transaction, and OnFinished.
func (ctx *ClientContext) OnTimeout(h func(ctx *ClientContext)) {
	observe(ctx, &ctx.handlers.timeout, h)
}

// OnError registers h for faults: a malformed packet, a command out of order, a
// status that is not allowed, a handler's panic, a failed write. Without a
// handler they are logged.
func (ctx *ClientContext) OnError(h func(ctx *ClientContext, err error)) {
	observe(ctx, &ctx.handlers.error, h)
}

// OnFinished registers h for the end of the session. It runs exactly once, as the
// last event; context.Cause(ctx) says why the session ended.
func (ctx *ClientContext) OnFinished(h func(ctx *ClientContext)) {
	observe(ctx, &ctx.handlers.finished, h)
}
