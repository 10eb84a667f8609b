package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/milter-go/milter/cmd/internal/console"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// reply reads and checks what answers x: at end of message the changes, then the
// reply itself, behind which nothing may come.
func (s *session) reply(x *exchange) (letter byte, status protocol.Status, err error) {
	var p []byte
	if x.command == protocol.CommandEndOfMessage {
		p, err = s.changesAndReply(x)
	} else if p, err = s.packet(); err != nil {
		err = s.broken(x, err)
	}
	if err != nil {
		return 0, 0, err
	}
	letter = p[4]
	if strings.IndexByte(x.replies, letter) < 0 {
		return 0, 0, s.fault(x, lettersText(x.replies), p, whyNot(x, letter))
	}
	if status, err = s.status(x, p); err != nil {
		return 0, 0, err
	}
	if x.command == protocol.CommandEndOfMessage && s.run.options.expect&(1<<status) == 0 {
		return 0, 0, s.fault(x, s.run.options.expectText(), p, "")
	}
	return letter, status, s.nothingMore(x)
}

// tooMuch explains bytes that are no reply to what was asked. They may be noticed
// some steps after the one that they were sent at.
const tooMuch = "something was answered twice, or that awaits no reply"

// nothingMore checks that all that came has been read.
func (s *session) nothingMore(x *exchange) error {
	if got := s.unread(); len(got) > 0 {
		return s.fault(x, "nothing more", got, tooMuch)
	}
	return nil
}

// whyNot says which rule letter breaks as a reply to x, if there is more to say.
func whyNot(x *exchange, letter byte) string {
	_, isChange := actionOf(letter)
	switch {
	case letter == 's' && x.command == protocol.CommandBody:
		return "the step skip was not negotiated"
	case letter == 's':
		return "only a body chunk may be skipped"
	case letter == 'd':
		return "there is no message yet that could be discarded"
	case isChange || letter == 'p':
		return fmt.Sprintf("%v may only come at end of message", protocol.Reply(letter))
	}
	return ""
}

// status returns what the reply p means. It has been checked if it carries a text.
func (s *session) status(x *exchange, p []byte) (protocol.Status, error) {
	if p[4] == 'y' {
		if !bytes.Equal(p, s.lastReply) {
			if err := s.decode(x, p); err != nil {
				return 0, err
			}
			s.lastReply = append(s.lastReply[:0], p...)
		}
		if p[5] == '4' {
			return protocol.StatusTemporaryFailure, nil
		}
		return protocol.StatusReject, nil
	}
	if len(p) != 5 {
		return 0, s.fault(x, fmt.Sprintf("%q", protocol.AppendPacket(nil, p[4], nil)), p, "the reply has no payload")
	}
	switch p[4] {
	case 'a':
		return protocol.StatusAccept, nil
	case 'r':
		return protocol.StatusReject, nil
	case 't':
		return protocol.StatusTemporaryFailure, nil
	case 'd':
		return protocol.StatusDiscard, nil
	case 's':
		return protocol.StatusSkip, nil
	}
	return protocol.StatusContinue, nil
}

// decode checks that p is well formed.
func (s *session) decode(x *exchange, p []byte) error {
	if _, err := reply.Decode(protocol.Packet{Letter: p[4], Payload: p[5:]}); err != nil {
		return s.fault(x, "a well-formed packet", p, problemIn(err))
	}
	return nil
}

// problemIn returns what is wrong with a packet, by the error of its decoder,
// without the bytes.
func problemIn(err error) string {
	text, _, _ := strings.Cut(console.Plain(err).Error(), `: "`)
	return text
}

// changesAndReply reads the changes to the message, checks them, and returns the
// reply behind them.
func (s *session) changesAndReply(x *exchange) ([]byte, error) {
	o := s.run.options
	if s.known == nil && !o.varyingChanges {
		s.known = s.run.changes.Load()
		s.changes = s.changes[:0]
	}
	count, offset := 0, 0 // of the changes; of what is known
	for {
		p, err := s.packet()
		if err != nil {
			return nil, s.broken(x, err)
		}
		action, isChange := actionOf(p[4])
		switch {
		case p[4] == 'p' && len(p) == 5:
			s.waiting = s.clock()
			continue
		case p[4] == 'p':
			return nil, s.fault(x, `"\x00\x00\x00\x01p"`, p, "the reply has no payload")
		case !isChange:
			return p, s.endOfChanges(x, p, count, offset)
		case !s.script.agreed.Actions.Has(action):
			return nil, s.fault(x, lettersText(x.replies)+" or a change that was negotiated", p, fmt.Sprintf("the action %v was not negotiated", action))
		}
		count++
		switch {
		case s.known != nil:
			if want := (*s.known)[offset:]; !bytes.HasPrefix(want, p) {
				return nil, s.fault(x, changeText(want), p, "the first message was changed in another way")
			}
			offset += len(p)
		default:
			if err := s.decode(x, p); err != nil {
				return nil, err
			}
			if !o.varyingChanges {
				s.changes = append(s.changes, p...)
			}
		}
		if o.changes >= 0 && count > o.changes {
			return nil, s.fault(x, "a reply behind "+console.Plural(o.changes, "change"), p, "")
		}
	}
}

// endOfChanges checks, before the reply p, that the changes are what they should be.
func (s *session) endOfChanges(x *exchange, p []byte, count, offset int) error {
	o := s.run.options
	if o.changes >= 0 && count != o.changes {
		return s.fault(x, console.Plural(o.changes, "change"), p, fmt.Sprintf("the reply came behind %d", count))
	}
	if o.varyingChanges {
		return nil
	}
	if s.known == nil {
		own := bytes.Clone(s.changes)
		if s.run.changes.CompareAndSwap(nil, &own) {
			s.known = &own
			return nil
		}
		s.known = s.run.changes.Load()
		if !bytes.Equal(*s.known, own) {
			return s.fault(x, changeText(*s.known), own, "the first message was changed in another way")
		}
		return nil
	}
	if want := (*s.known)[offset:]; len(want) > 0 {
		return s.fault(x, changeText(want), p, "the first message was changed in another way")
	}
	return nil
}

// actionOf returns the action that a change needs, and whether it is a change.
func actionOf(letter byte) (action option.Action, ok bool) {
	switch protocol.Reply(letter) {
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
	return 0, false
}

// changeText returns the first of some changes in quotes.
func changeText(changes []byte) string {
	var b protocol.Buffer
	if _, err := b.Write(changes); err == nil {
		b.MaxPayload = largestLen
		if p, ok, err := b.Next(); ok && err == nil {
			return quoted(protocol.AppendPacket(nil, p.Letter, p.Payload))
		}
	}
	return "no change"
}

// lettersText returns "carty" as "'c', 'a', 'r', 't' or 'y'".
func lettersText(letters string) string {
	var b strings.Builder
	for i, letter := range letters {
		switch {
		case i > 0 && i == len(letters)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", letter)
	}
	return b.String()
}
