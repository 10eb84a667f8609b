package context

import (
	"fmt"
	"time"

	"github.com/milter-go/milter/internal/block"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// A decision is the final answer to a message, for what the MTA may still send
// of it.
type decision struct {
	status protocol.Status
	smtp   reply.SMTP
	silent bool // the MTA awaited no answer and does not know of it yet
}

// concerns reports whether a command of a message that comes in phase p, where
// the decision was made, can be one of the message that was decided. A new
// message begins with MAIL. If that was negotiated away, it begins with a
// command that steps back, or, once the MTA knows the decision, with any that
// does not go forward.
func (d *decision) concerns(c protocol.Command, p phase, steps option.Step) bool {
	to := commands[c].phase
	switch {
	case to == phaseStart || to == phaseEnvelopeFrom:
		return false
	case !steps.Has(option.StepNoEnvelopeFrom):
		return true
	}
	return to > p || to == p && d.silent
}

// NegotiateResponse answers a negotiation whose handler returned StatusProgress.
// o and macros stand for what the handlers left; macros may be nil. See
// [ClientContext.OnNegotiate] for the statuses.
func (ctx *ClientContext) NegotiateResponse(o option.Option, macros *option.MacroRequests, status protocol.Status) error {
	ctx.mu.Lock()
	if n := ctx.negotiation; n != nil && status != protocol.StatusProgress {
		n.proposal = o
		n.macros = new(option.MacroRequests)
		n.macros.Merge(macros)
	}
	err := ctx.respondLocked(protocol.CommandNegotiate, 0, status)
	ctx.mu.Unlock()
	ctx.drive()
	return err
}

// ConnectResponse answers a connect event. Like every Response call it may be
// made by any goroutine, also before the handler has returned. The first answer
// is sent; a later one gets ErrNoReplyDue, and ErrFinished when the session has
// ended.
//
// A Response call answers the event of its kind that waits now. A goroutine that
// may outlive its mail answers by [ClientContext.Later] or [ClientContext.Late],
// which cannot answer for the next one.
func (ctx *ClientContext) ConnectResponse(status protocol.Status) error {
	return ctx.respond(protocol.CommandConnect, status)
}

// HeloResponse answers a helo event, see [ClientContext.ConnectResponse].
func (ctx *ClientContext) HeloResponse(status protocol.Status) error {
	return ctx.respond(protocol.CommandHelo, status)
}

// EnvelopeFromResponse answers an envelope-from event, see
// [ClientContext.ConnectResponse].
func (ctx *ClientContext) EnvelopeFromResponse(status protocol.Status) error {
	return ctx.respond(protocol.CommandEnvelopeFrom, status)
}

// EnvelopeRecipientResponse answers an envelope-recipient event, see
// [ClientContext.ConnectResponse].
func (ctx *ClientContext) EnvelopeRecipientResponse(status protocol.Status) error {
	return ctx.respond(protocol.CommandEnvelopeRecipient, status)
}

// DataResponse answers a data event, see [ClientContext.ConnectResponse].
func (ctx *ClientContext) DataResponse(status protocol.Status) error {
	return ctx.respond(protocol.CommandData, status)
}

// UnknownResponse answers an unknown event, see [ClientContext.ConnectResponse].
func (ctx *ClientContext) UnknownResponse(status protocol.Status) error {
	return ctx.respond(protocol.CommandUnknown, status)
}

// HeaderResponse answers a header event, see [ClientContext.ConnectResponse].
func (ctx *ClientContext) HeaderResponse(status protocol.Status) error {
	return ctx.respond(protocol.CommandHeader, status)
}

// EndOfHeaderResponse answers an end-of-header event, see
// [ClientContext.ConnectResponse].
func (ctx *ClientContext) EndOfHeaderResponse(status protocol.Status) error {
	return ctx.respond(protocol.CommandEndOfHeader, status)
}

// BodyResponse answers a body event, see [ClientContext.ConnectResponse].
func (ctx *ClientContext) BodyResponse(status protocol.Status) error {
	return ctx.respond(protocol.CommandBody, status)
}

// EndOfMessageResponse answers an end-of-message event, with the changes that
// were made to the mail; see [ClientContext.ConnectResponse].
func (ctx *ClientContext) EndOfMessageResponse(status protocol.Status) error {
	return ctx.respond(protocol.CommandEndOfMessage, status)
}

// AbortResponse ends an abort whose handler returned StatusProgress, so that the
// next event may come. Nothing is sent.
func (ctx *ClientContext) AbortResponse(status protocol.Status) error {
	return ctx.respond(protocol.CommandAbort, status)
}

// respond pays the debt of an event from any goroutine.
func (ctx *ClientContext) respond(c protocol.Command, status protocol.Status) error {
	ctx.mu.Lock()
	err := ctx.respondLocked(c, 0, status)
	ctx.mu.Unlock()
	ctx.drive()
	return err
}

// respondLocked pays debt number debt, or whichever is open for c when debt is 0.
func (ctx *ClientContext) respondLocked(c protocol.Command, debt uint64, status protocol.Status) error {
	if ctx.cause != nil || ctx.owed != c || debt != 0 && ctx.debt != debt || status == protocol.StatusProgress {
		return ctx.notDue(c, debt, status)
	}
	if c == protocol.CommandBody && status == protocol.StatusSkip {
		status = ctx.skipLate()
	}
	err := ctx.pay(c, status)
	if ctx.held || len(ctx.pending) > 0 {
		ctx.kick()
	}
	return err
}

// handled answers with what the handlers of an event returned, unless somebody
// has answered in the meantime. mu is held.
func (ctx *ClientContext) handled(c protocol.Command, debt uint64, status protocol.Status) {
	if status == protocol.StatusProgress {
		return
	}
	if ctx.cause == nil && ctx.owed == c && ctx.debt == debt {
		_ = ctx.pay(c, status) // an error is on its way to OnError
	}
}

// payForPanic answers in place of a handler that panicked, and ends the session.
// mu is held.
func (ctx *ClientContext) payForPanic(c protocol.Command, debt uint64, err error) {
	ctx.mu.Unlock()
	ctx.logPanic(err)
	ctx.mu.Lock()
	if ctx.cause == nil && ctx.owed == c && ctx.debt == debt && ctx.config.PanicStatus != protocol.StatusAbort {
		ctx.payInstead(c, ctx.config.PanicStatus)
	}
	ctx.mu.Unlock()
	ctx.crash(err)
	ctx.mu.Lock()
	ctx.end(err)
	if ctx.cause != err && len(ctx.handlers.of(eventError)) > 0 {
		// The answer has ended the session, or it had ended before: the panic is
		// not the cause, but OnError is told of it all the same.
		ctx.reportSoon(err)
	}
}

// payInstead answers in place of a handler that did not. The changes it has made
// are dropped; a mail of which some are with the MTA already is never accepted.
func (ctx *ClientContext) payInstead(c protocol.Command, status protocol.Status) {
	half := false
	if m := ctx.mail; m != nil {
		half = m.out.written
		m.out.reset()
		m.quarantineReason = ""
		if !half {
			m.forgetChanges()
		}
	}
	if c == protocol.CommandNegotiate && status != protocol.StatusReject {
		status = protocol.StatusTemporaryFailure // the others would ask for no event: all mail would pass unseen
	}
	if status == protocol.StatusDefault || half && status != protocol.StatusReject && status != protocol.StatusDiscard {
		status = protocol.StatusTemporaryFailure
	}
	_ = ctx.pay(c, status)
}

// pay answers command c, to which a reply is due. The error says that the status
// was not allowed, or that the session ends because the answer could not be
// written; both are reported to OnError as well.
func (ctx *ClientContext) pay(c protocol.Command, status protocol.Status) error {
	switch c {
	case protocol.CommandNegotiate:
		return ctx.payNegotiation(status)
	case protocol.CommandAbort:
		ctx.settle(c, protocol.StatusAbort)
		ctx.endIfDrained()
		return nil
	}
	var fault error
	if !allowed(c, status) {
		fault = notAllowed(c, status)
		status = protocol.StatusContinue
	}
	silent := ctx.option.Steps&commands[c].noReply != 0
	if !silent {
		if err := ctx.writeAnswer(c, status, &ctx.smtp); err != nil {
			return err
		}
	}
	final := ctx.inMessage && ends(c, status)
	if final && c != protocol.CommandEndOfMessage {
		ctx.decision = &decision{status, ctx.smtp, silent}
	}
	ctx.settle(c, status)
	if final {
		ctx.later(ctx.endTransaction(commands[c].state, status))
	} else if silent && !status.IsPass() && status != protocol.StatusNoReply && status != protocol.StatusSkip {
		fault = notSent(c, status)
	}
	if fault != nil {
		ctx.reportSoon(fault)
	}
	ctx.endIfDrained()
	return fault
}

// repeat answers what the MTA still sends of a message that was decided.
func (ctx *ClientContext) repeat(c protocol.Command, d *decision) {
	ctx.macros.settle()
	if ctx.option.Steps&commands[c].noReply == 0 {
		_ = ctx.writeAnswer(c, d.status, &d.smtp)
		ctx.active()
	}
	if c == protocol.CommandEndOfMessage {
		ctx.decision, ctx.phase = nil, phaseEndOfMessage
		ctx.macros.clearStale()
		ctx.endIfDrained()
	}
}

// answered notes what was answered, or could have been.
func (ctx *ClientContext) answered(c protocol.Command, status protocol.Status) {
	if ctx.state == commands[c].state {
		ctx.state = ctx.state.replied()
	}
	ctx.status = status
	switch {
	case c == protocol.CommandBody && status == protocol.StatusSkip:
		ctx.skipBody = true
	case c == protocol.CommandEnvelopeRecipient && ctx.inMessage:
		ctx.mail.answered(status)
	}
}

// settle closes the debt.
func (ctx *ClientContext) settle(c protocol.Command, status protocol.Status) {
	ctx.answered(c, status)
	ctx.owed = 0
	ctx.smtp = reply.SMTP{}
	if ctx.mail != nil {
		ctx.mail.out.reset()
	}
	ctx.stopTimers(errMessageEnded)
	ctx.active()
}

// allowed reports whether an event may be answered with a status.
func allowed(c protocol.Command, status protocol.Status) bool {
	switch status {
	case protocol.StatusDefault, protocol.StatusNotChange, protocol.StatusContinue,
		protocol.StatusReject, protocol.StatusTemporaryFailure, protocol.StatusNoReply:
		return true
	case protocol.StatusAccept:
		return c != protocol.CommandUnknown
	case protocol.StatusDiscard:
		return commands[c].inMail()
	case protocol.StatusSkip:
		return c == protocol.CommandBody
	}
	return false
}

// ends reports whether an answer ends the message.
func ends(c protocol.Command, status protocol.Status) bool {
	if c == protocol.CommandEndOfMessage {
		return true
	}
	if !commands[c].inMail() {
		return false
	}
	switch status {
	case protocol.StatusAccept, protocol.StatusDiscard:
		return true
	case protocol.StatusReject, protocol.StatusTemporaryFailure:
		return c != protocol.CommandEnvelopeRecipient
	}
	return false
}

// writeAnswer sends the answer to c in one write: at end of message the changes
// that wait and the quarantine, then the reply.
func (ctx *ClientContext) writeAnswer(c protocol.Command, status protocol.Status, smtp *reply.SMTP) error {
	letter := protocol.ReplyContinue
	switch status {
	case protocol.StatusAccept:
		letter = protocol.ReplyAccept
	case protocol.StatusDiscard:
		letter = protocol.ReplyDiscard
	case protocol.StatusReject:
		letter = protocol.ReplyReject
		if smtp.Code/100 == 5 {
			letter = protocol.ReplyReplyCode
		}
	case protocol.StatusTemporaryFailure:
		letter = protocol.ReplyTemporaryFailure
		if smtp.Code/100 == 4 {
			letter = protocol.ReplyReplyCode
		}
	case protocol.StatusSkip:
		if ctx.option.Steps.Has(option.StepSkip) {
			letter = protocol.ReplySkip
		}
	}
	if m := ctx.mail; m != nil && c == protocol.CommandEndOfMessage && m.finish() {
		packets := appendAnswer(m.out.buf, letter, smtp)
		m.out.buf = nil
		err := ctx.write(packets)
		block.Put(packets)
		return err
	}
	return ctx.write(appendAnswer(ctx.small[:0], letter, smtp))
}

func appendAnswer(dst []byte, letter protocol.Reply, smtp *reply.SMTP) []byte {
	if letter == protocol.ReplyReplyCode {
		return reply.ReplyCode{SMTP: *smtp}.Append(dst)
	}
	return append(dst, 0, 0, 0, 1, byte(letter))
}

// write sends whole packets. The first error ends the session.
func (ctx *ClientContext) write(packets []byte) error {
	switch {
	case ctx.wfail != nil:
		return ctx.wfail
	case ctx.cause != nil: // the connection may be closed, its descriptor somebody else's
		return ctx.cause
	}
	var err error
	conn := ctx.conn.Load()
	switch {
	case conn != nil && ctx.writesToConn:
		err = conn.WriteAll(packets, ctx.config.WriteTimeout)
	default:
		if conn != nil && ctx.config.WriteTimeout > 0 {
			_ = conn.SetWriteDeadline(time.Now().Add(ctx.config.WriteTimeout))
		}
		_, err = ctx.w.Write(packets)
	}
	if err == nil {
		return nil
	}
	return ctx.writeFailed(err)
}

func (ctx *ClientContext) writeFailed(err error) error {
	if isHangUp(err) {
		err = fmt.Errorf("%w: the MTA hung up: %w", ErrFinished, err)
	} else {
		err = fmt.Errorf("context: writing a reply: %w", err)
	}
	ctx.wfail = err
	ctx.end(err)
	return err
}
