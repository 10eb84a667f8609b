package miltertest

import (
	"fmt"
	"strings"
	"time"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// An Answer is what the milter answered to one command. The zero Answer is the
// one to a command that was not sent, because the milter does without it.
type Answer struct {
	// Status is continue, accept, reject, temporary-failure, discard or skip. It
	// is no-reply when no answer was to come.
	Status protocol.Status
	// SMTP is the SMTP reply of a refusal; the zero value leaves it to the MTA.
	SMTP reply.SMTP

	// Changes are the changes of the mail in the order they came, each piece of a
	// new body by itself. They come at end of message only, as do the next two.
	Changes []reply.Message
	// Progress is how often the milter said that it is still at work.
	Progress int
	// Quarantine is the reason for putting the message on hold, empty if it is
	// not to be put there.
	Quarantine string
}

// IsPass reports whether the MTA goes on as if there were no milter.
func (a Answer) IsPass() bool { return a.Status.IsPass() || a.Status == protocol.StatusNoReply }

// String returns the status and the SMTP reply, if there is one:
// "temporary-failure [450]<4.2.0>(come back later)".
func (a Answer) String() string { return statusString(a.Status, a.SMTP) }

func statusString(status protocol.Status, smtp reply.SMTP) string {
	s := status.String()
	if smtp.IsZero() {
		return s
	}
	s += fmt.Sprintf(" [%d]", smtp.Code)
	if smtp.Extended != "" {
		s += "<" + smtp.Extended + ">"
	}
	if smtp.Text != "" {
		s += "(" + smtp.Text + ")"
	}
	return s
}

// A ProtocolError says that the milter sent something that the protocol does not
// allow at that point.
type ProtocolError struct {
	// Event is the command that was sent last; zero if none was.
	Event protocol.Command
	// Got is what came.
	Got protocol.Reply
	// Reason is the rule that it breaks.
	Reason string
}

// Error returns such as "miltertest: helo was answered with skip: only a body
// chunk may be skipped".
func (e *ProtocolError) Error() string {
	if e.Event == 0 {
		return fmt.Sprintf("miltertest: %v came: %s", e.Got, e.Reason)
	}
	return fmt.Sprintf("miltertest: %v was answered with %v: %s", e.Event, e.Got, e.Reason)
}

// answerTo reads the milter's answer to command c. With an error comes what was
// read before it.
func (s *Session) answerTo(c protocol.Command) (Answer, error) {
	var deadline time.Time
	if c == protocol.CommandEndOfMessage && s.EndOfMessageTimeout > 0 {
		deadline = time.Now().Add(s.EndOfMessageTimeout)
	}
	var a Answer
	var body bodyRun
	for {
		p, err := s.await(c, deadline)
		if err != nil {
			return a, err
		}
		r := protocol.Reply(p.Letter)
		fault := func(reason string) error { return &ProtocolError{c, r, reason} }
		m, err := reply.Decode(p)
		if err != nil {
			return a, fault(decodeFault(err))
		}
		if reason := body.next(r); reason != "" {
			return a, fault(reason)
		}
		if status, final := finalStatus(m); final {
			if reason := s.forbidden(c, status); reason != "" {
				return a, fault(reason)
			}
			a.Status = status
			if code, ok := m.(reply.ReplyCode); ok {
				a.SMTP = code.SMTP
			}
			return a, nil
		}
		action, isChange := changeAction(r)
		switch {
		case r != protocol.ReplyProgress && !isChange:
			return a, fault("it answers no event")
		case c != protocol.CommandEndOfMessage:
			return a, fault("it may only come at end of message")
		case r == protocol.ReplyProgress:
			a.Progress++
			continue
		case !s.agreed.Actions.Has(action):
			return a, fault(fmt.Sprintf("the action %v was not negotiated", action))
		}
		if q, ok := m.(reply.Quarantine); ok {
			a.Quarantine = q.Reason
		}
		a.Changes = append(a.Changes, m)
	}
}

// decodeFault returns what package reply says of a malformed packet.
func decodeFault(err error) string { return strings.TrimPrefix(err.Error(), "reply: ") }

// finalStatus returns the status of an answer that ends its event.
func finalStatus(m reply.Message) (status protocol.Status, final bool) {
	switch m.Reply() {
	case protocol.ReplyContinue:
		return protocol.StatusContinue, true
	case protocol.ReplyAccept:
		return protocol.StatusAccept, true
	case protocol.ReplyReject:
		return protocol.StatusReject, true
	case protocol.ReplyTemporaryFailure:
		return protocol.StatusTemporaryFailure, true
	case protocol.ReplyDiscard:
		return protocol.StatusDiscard, true
	case protocol.ReplySkip:
		return protocol.StatusSkip, true
	case protocol.ReplyReplyCode:
		if m.(reply.ReplyCode).SMTP.Code >= 500 {
			return protocol.StatusReject, true
		}
		return protocol.StatusTemporaryFailure, true
	}
	return protocol.StatusDefault, false
}

// forbidden says why command c may not be answered with status, and "" if it may.
func (s *Session) forbidden(c protocol.Command, status protocol.Status) string {
	switch status {
	case protocol.StatusSkip:
		if c != protocol.CommandBody {
			return "only a body chunk may be skipped"
		}
		if !s.agreed.Steps.Has(option.StepSkip) {
			return "the step skip was not negotiated"
		}
	case protocol.StatusAccept:
		if c == protocol.CommandUnknown {
			// Sendmail takes it for the next message.
			return "Postfix 3.7 panics at the next message"
		}
	case protocol.StatusDiscard:
		switch c {
		case protocol.CommandUnknown:
			return "Postfix 3.7 panics at the next message"
		case protocol.CommandConnect, protocol.CommandHelo:
			return "there is no message yet that could be discarded"
		}
	}
	return ""
}

// changeAction returns the action that change r needs, and whether r is a change
// at all.
func changeAction(r protocol.Reply) (action option.Action, ok bool) {
	switch r {
	case protocol.ReplyAddHeader, protocol.ReplyInsertHeader:
		return option.ActionAddHeaders, true
	case protocol.ReplyChangeHeader:
		return option.ActionChangeHeaders, true
	case protocol.ReplyChangeFrom:
		return option.ActionChangeEnvelopeFrom, true
	case protocol.ReplyAddRecipient:
		return option.ActionAddEnvelopeRecipient, true
	case protocol.ReplyAddRecipientParameters:
		return option.ActionAddEnvelopeRecipientParameters, true
	case protocol.ReplyDeleteRecipient:
		return option.ActionDeleteEnvelopeRecipient, true
	case protocol.ReplyReplaceBody:
		return option.ActionChangeBody, true
	case protocol.ReplyQuarantine:
		return option.ActionQuarantine, true
	}
	return option.NoActions, false
}

// A bodyRun sees to it that the pieces of a new body come one right behind the
// other: Postfix ends the new body at the first other packet, progress included,
// and answers 451 to a later piece (Postfix cleanup_milter.c).
type bodyRun struct{ begun, ended bool }

func (b *bodyRun) next(r protocol.Reply) (reason string) {
	switch {
	case r != protocol.ReplyReplaceBody:
		b.ended = b.begun
	case b.ended:
		return "something else came between it and the body before it"
	default:
		b.begun = true
	}
	return ""
}
