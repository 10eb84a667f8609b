package context

import (
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
func (ctx *ClientContext) SetReply(code int, extended, text string) error {
	smtp, err := reply.NewSMTP(code, extended, text)
	if err != nil {
		return fmt.Errorf("%w: set reply: %w", ErrInvalidArgument, err)
	}
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
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
func (ctx *ClientContext) Reject(code int, extended, text string) protocol.Status {
	return ctx.refuseWith(protocol.StatusReject, 5, code, extended, text)
}

// TemporaryFailure is [ClientContext.Reject] for StatusTemporaryFailure and a
// code of 400 to 499.
func (ctx *ClientContext) TemporaryFailure(code int, extended, text string) protocol.Status {
	return ctx.refuseWith(protocol.StatusTemporaryFailure, 4, code, extended, text)
}

func (ctx *ClientContext) refuseWith(status protocol.Status, class, code int, extended, text string) protocol.Status {
	err := ctx.SetReply(code, extended, text)
	if err == nil && code/100 == class {
		return status
	}
	if err == nil {
		err = fmt.Errorf("%w: code should be %dXX for %v: %d", ErrInvalidArgument, class, status, code)
	}
	ctx.mu.Lock()
	ctx.smtp = reply.SMTP{}
	ctx.later(func() { ctx.reportError(err) })
	ctx.kick()
	ctx.mu.Unlock()
	ctx.drive()
	return protocol.StatusTemporaryFailure
}
