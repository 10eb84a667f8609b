package context

import (
	"net"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

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
	ctx.register(eventNegotiate, h)
}

// OnDefineMacro registers h for the macros that the MTA defines for command.
// They are stored before h runs; most milters call [ClientContext.Macro] instead.
func (ctx *ClientContext) OnDefineMacro(h func(ctx *ClientContext, command protocol.Command, macros []protocol.Macro)) {
	ctx.register(eventDefineMacro, h)
}

// OnConnect registers h for the SMTP client's connection to the MTA. host is its
// name by a reverse lookup, or its address in square brackets; addr is a
// *net.TCPAddr, a *net.UnixAddr, or nil when the mail comes from standard input.
//
// Allowed: continue, reject, temporary-failure, accept, no-reply, progress.
func (ctx *ClientContext) OnConnect(h func(ctx *ClientContext, host string, addr net.Addr) protocol.Status) {
	ctx.register(eventConnect, h)
}

// WatchConnect is [ClientContext.OnConnect] for a handler that only looks. Of an event
// that only watchers listen to the MTA awaits no reply, if it offers that: nothing is
// due then, and Response calls and Later fail with ErrNoReplyDue.
func (ctx *ClientContext) WatchConnect(h func(ctx *ClientContext, host string, addr net.Addr)) {
	ctx.register(eventConnect, h)
}

// OnHelo registers h for the SMTP client's HELO or EHLO. It may come several
// times in a session, or never.
//
// Allowed: continue, reject, temporary-failure, accept, no-reply, progress. Both
// MTAs answer the HELO itself with 250 and refuse what follows.
func (ctx *ClientContext) OnHelo(h func(ctx *ClientContext, name string) protocol.Status) {
	ctx.register(eventHelo, h)
}

// WatchHelo is [ClientContext.OnHelo] for a handler that only looks.
func (ctx *ClientContext) WatchHelo(h func(ctx *ClientContext, name string)) {
	ctx.register(eventHelo, h)
}

// OnEnvelopeFrom registers h for MAIL FROM, which begins a mail transaction. from
// is the sender as the client typed it, usually with angle brackets; "<>" is the
// null sender ("" for mail that Postfix takes from its sendmail command).
//
// Allowed: continue, reject, temporary-failure, discard, accept, no-reply,
// progress. All but continue and no-reply end the transaction.
func (ctx *ClientContext) OnEnvelopeFrom(h func(ctx *ClientContext, from string, parameters protocol.Parameters) protocol.Status) {
	ctx.register(eventEnvelopeFrom, h)
}

// WatchEnvelopeFrom is [ClientContext.OnEnvelopeFrom] for a handler that only looks.
func (ctx *ClientContext) WatchEnvelopeFrom(h func(ctx *ClientContext, from string, parameters protocol.Parameters)) {
	ctx.register(eventEnvelopeFrom, h)
}

// OnEnvelopeRecipient registers h for each RCPT TO.
//
// Allowed: continue, reject, temporary-failure, discard, accept, no-reply,
// progress. A reject or temporary failure concerns this recipient only; discard
// and accept end the transaction, for all recipients.
func (ctx *ClientContext) OnEnvelopeRecipient(h func(ctx *ClientContext, to string, parameters protocol.Parameters) protocol.Status) {
	ctx.register(eventEnvelopeRecipient, h)
}

// WatchEnvelopeRecipient is [ClientContext.OnEnvelopeRecipient] for a handler
// that only looks.
func (ctx *ClientContext) WatchEnvelopeRecipient(h func(ctx *ClientContext, to string, parameters protocol.Parameters)) {
	ctx.register(eventEnvelopeRecipient, h)
}

// OnData registers h for the SMTP client's DATA, after the recipients.
//
// Allowed: continue, reject, temporary-failure, discard, accept, no-reply,
// progress.
func (ctx *ClientContext) OnData(h func(ctx *ClientContext) protocol.Status) {
	ctx.register(eventData, h)
}

// WatchData is [ClientContext.OnData] for a handler that only looks.
func (ctx *ClientContext) WatchData(h func(ctx *ClientContext)) {
	ctx.register(eventData, h)
}

// OnUnknown registers h for an SMTP command that the MTA does not know. Sendmail
// gives the whole line, Postfix its first word. The MTA refuses the command in
// any case.
//
// Allowed: continue, reject, temporary-failure, no-reply, progress. (Accept and
// discard make Postfix 3.7 fail at the next MAIL.)
func (ctx *ClientContext) OnUnknown(h func(ctx *ClientContext, line string) protocol.Status) {
	ctx.register(eventUnknown, h)
}

// WatchUnknown is [ClientContext.OnUnknown] for a handler that only looks.
func (ctx *ClientContext) WatchUnknown(h func(ctx *ClientContext, line string)) {
	ctx.register(eventUnknown, h)
}

// OnHeader registers h for each header field, in the order of the mail. The lines
// of a folded value are joined by LF and keep the white space they begin with;
// there is no CR. One space after the colon is removed unless
// option.StepHeaderValueWithLeadingSpace was negotiated.
//
// Allowed: continue, reject, temporary-failure, discard, accept, no-reply,
// progress.
func (ctx *ClientContext) OnHeader(h func(ctx *ClientContext, name, value string) protocol.Status) {
	ctx.register(eventHeader, h)
}

// WatchHeader is [ClientContext.OnHeader] for a handler that only looks.
func (ctx *ClientContext) WatchHeader(h func(ctx *ClientContext, name, value string)) {
	ctx.register(eventHeader, h)
}

// OnEndOfHeader registers h for the end of the headers.
//
// Allowed: continue, reject, temporary-failure, discard, accept, no-reply,
// progress.
func (ctx *ClientContext) OnEndOfHeader(h func(ctx *ClientContext) protocol.Status) {
	ctx.register(eventEndOfHeader, h)
}

// WatchEndOfHeader is [ClientContext.OnEndOfHeader] for a handler that only looks.
func (ctx *ClientContext) WatchEndOfHeader(h func(ctx *ClientContext)) {
	ctx.register(eventEndOfHeader, h)
}

// OnBody registers h for each piece of the body. Lines end in CRLF; a piece may
// end anywhere. chunk is valid until h returns: who needs it longer copies it.
// A mail without a body has no such event.
//
// Allowed: continue, reject, temporary-failure, discard, accept, skip, no-reply,
// progress. After skip this handler gets no further piece. When all have had enough
// and none watches, the MTA is told not to send the rest, if it knows how.
func (ctx *ClientContext) OnBody(h func(ctx *ClientContext, chunk []byte) protocol.Status) {
	ctx.register(eventBody, h)
}

// WatchBody is [ClientContext.OnBody] for a handler that only looks.
func (ctx *ClientContext) WatchBody(h func(ctx *ClientContext, chunk []byte)) {
	ctx.register(eventBody, h)
}

// OnEndOfMessage registers h for the end of the mail: the one event in which, or
// while whose reply is due, a mail can be changed. chunk is a last piece of the
// body, valid until h returns; MTAs leave it empty.
//
// Allowed: continue, reject, temporary-failure, discard, accept, progress.
func (ctx *ClientContext) OnEndOfMessage(h func(ctx *ClientContext, chunk []byte) protocol.Status) {
	ctx.register(eventEndOfMessage, h)
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
	ctx.register(eventAbort, h)
}

// OnMessageProcessed registers h for the end of each mail transaction, answered
// or aborted. After it the data of the transaction is cleared.
func (ctx *ClientContext) OnMessageProcessed(h func(ctx *ClientContext, result *MessageResult)) {
	ctx.register(eventMessageProcessed, h)
}

// OnTimeout registers h for an MTA that was silent for too long. The session ends
// after it, with OnAbort if it is in a mail transaction, and OnFinished.
func (ctx *ClientContext) OnTimeout(h func(ctx *ClientContext)) {
	ctx.register(eventTimeout, h)
}

// OnError registers h for faults: a malformed packet, a command out of order, a
// status that is not allowed, a handler's panic, a failed write. Without a
// handler they are logged.
func (ctx *ClientContext) OnError(h func(ctx *ClientContext, err error)) {
	ctx.register(eventError, h)
}

// OnFinished registers h for the end of the session. It runs exactly once, as the
// last event; context.Cause(ctx) says why the session ended.
func (ctx *ClientContext) OnFinished(h func(ctx *ClientContext)) {
	ctx.register(eventFinished, h)
}
