package context

import (
	"errors"
	"fmt"

	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// SetReply sets the SMTP reply for the answer to the current event: with a code
// of 500 to 599 for StatusReject, of 400 to 499 for StatusTemporaryFailure. It
// is dropped with that answer, used or not. extended, an enhanced status code
// (RFC 3463), and text may be empty; text may have several lines. See
// [reply.NewSMTP] for what is refused: then the error wraps ErrInvalidArgument
// and an earlier reply stays.
func (d due) SetReply(code int, extended, text string) error {
	smtp, err := reply.NewSMTP(code, extended, text)
	if err != nil {
		return fmt.Errorf("%w: set reply: %w", ErrInvalidArgument, err)
	}
	ctx := d.ctx
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if err := d.open("set reply"); err != nil {
		return err
	}
	ctx.smtp = smtp
	return nil
}

// FormatReply returns the reply set by SetReply as the SMTP client will see it,
// lines joined by CRLF; "" if there is none.
func (ctx *ClientContext) FormatReply() string {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.smtp.String()
}

// Reject sets the SMTP reply and returns StatusReject, for a handler to return:
//
//	return ctx.Reject(550, "5.1.1", "Nobody is not here")
//
// If the reply cannot be sent as it is, or its code is not 500 to 599, the error
// is reported and the answer is a temporary failure without a reply of its own:
// never is a mail let through because of it.
func (d due) Reject(code int, extended, text string) protocol.Status {
	return d.refuseWith(protocol.StatusReject, 5, code, extended, text)
}

// TemporaryFailure is [ClientContext.Reject] for StatusTemporaryFailure and a
// code of 400 to 499.
func (d due) TemporaryFailure(code int, extended, text string) protocol.Status {
	return d.refuseWith(protocol.StatusTemporaryFailure, 4, code, extended, text)
}

func (d due) refuseWith(status protocol.Status, class, code int, extended, text string) protocol.Status {
	err := fmt.Errorf("%w: code should be %dXX for %v: %d", ErrInvalidArgument, class, status, code)
	if code/100 == class {
		err = d.SetReply(code, extended, text)
	}
	if err == nil {
		return status
	}
	d.ctx.mu.Lock()
	if d.open("") == nil {
		d.ctx.smtp = reply.SMTP{} // one set before is not for this status
	}
	d.ctx.mu.Unlock()
	return d.Check(err)
}

// Check turns errors into an answer, for a handler to return:
//
//	return ctx.Check(ctx.AddHeader("X-Seen", "yes"), ctx.DeleteHeader("X-Old", 1))
//
// It returns StatusContinue if there is no error. Else it reports the first one
// to OnError and returns StatusTemporaryFailure. Nothing is reported that came of
// the end: ErrNoReplyDue, ErrFinished, and whatever goes wrong by a [Late] that is
// over, such as a scan that stopped with it.
func (d due) Check(errs ...error) protocol.Status {
	for _, err := range errs {
		if err == nil {
			continue
		}
		d.ctx.mu.Lock()
		over := d.debt != 0 && d.open("") != nil
		d.ctx.mu.Unlock()
		if !over && !errors.Is(err, ErrNoReplyDue) && !errors.Is(err, ErrFinished) {
			d.ctx.report(err)
		}
		return protocol.StatusTemporaryFailure
	}
	return protocol.StatusContinue
}
