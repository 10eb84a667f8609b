package context_test

import (
	"slices"
	"testing"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// mtaVectors returns the milter's side of the sessions with a real MTA. Their
// callbacks were not recorded.
func mtaVectors(t *testing.T, mta string) []vectorTest {
	t.Helper()
	var sessions []struct {
		Name   string
		Milter [][2]any      // direction, packet in hexadecimal
		Config *vectorConfig `json:"filter_config"` // nil: no libmilter filter
	}
	readVectors(t, mta+".json", &sessions)
	var tests []vectorTest
	for _, s := range sessions {
		test := vectorTest{name: mta + "-" + s.Name, bytes: true}
		var replies []vectorWire
		for _, line := range s.Milter {
			var p vectorWire
			if err := p.UnmarshalJSON([]byte(`"` + line[1].(string) + `"`)); err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			if line[0] == "M>F" {
				test.in = append(test.in, p)
			} else {
				replies = append(replies, p)
			}
		}
		if s.Config != nil {
			test.config = *s.Config
		} else {
			test.answer = replies[0] // and continue to everything
		}
		test.want = assignReplies(t, test.name, test.in, replies)
		tests = append(tests, test)
	}
	return tests
}

// assignReplies gives each command the packets that answer it. The recording
// proxy may have written the two directions down in a slightly wrong order, so it
// goes by the rules of the protocol: a command that is answered takes what there
// is up to its final reply.
func assignReplies(t *testing.T, name string, commands, replies []vectorWire) []vectorStep {
	t.Helper()
	var steps option.Step
	var want []vectorStep
	for _, command := range commands {
		letter := protocol.Command(command[4])
		s := vectorStep{closed: letter == protocol.CommandQuit}
		for awaitsReply(letter, steps) {
			if len(replies) == 0 {
				t.Fatalf("%s: no reply to %v was recorded", name, letter)
			}
			p := replies[0]
			replies = replies[1:]
			s.out = slices.Concat(s.out, p)
			message, err := reply.Decode(protocol.Packet{Letter: p[4], Payload: p[5:]})
			if err != nil {
				t.Fatalf("%s: recorded reply: %v", name, err)
			}
			if n, ok := message.(reply.Negotiate); ok {
				steps = n.Option.Steps
			}
			if isFinalReply(message.Reply()) {
				break
			}
		}
		want = append(want, s)
	}
	if len(replies) > 0 {
		t.Fatalf("%s: %d recorded replies answer nothing", name, len(replies))
	}
	return want
}

// awaitsReply reports whether the MTA awaits an answer to a command.
func awaitsReply(c protocol.Command, steps option.Step) bool {
	switch c {
	case protocol.CommandDefineMacro, protocol.CommandAbort, protocol.CommandQuit:
		return false
	case protocol.CommandConnect:
		return !steps.Has(option.StepNoReplyConnect)
	case protocol.CommandHelo:
		return !steps.Has(option.StepNoReplyHelo)
	case protocol.CommandEnvelopeFrom:
		return !steps.Has(option.StepNoReplyEnvelopeFrom)
	case protocol.CommandEnvelopeRecipient:
		return !steps.Has(option.StepNoReplyEnvelopeRecipient)
	case protocol.CommandData:
		return !steps.Has(option.StepNoReplyData)
	case protocol.CommandUnknown:
		return !steps.Has(option.StepNoReplyUnknown)
	case protocol.CommandHeader:
		return !steps.Has(option.StepNoReplyHeader)
	case protocol.CommandEndOfHeader:
		return !steps.Has(option.StepNoReplyEndOfHeader)
	case protocol.CommandBody:
		return !steps.Has(option.StepNoReplyBody)
	}
	return true
}

// isFinalReply reports whether a reply ends the answer to a command.
func isFinalReply(r protocol.Reply) bool {
	switch r {
	case protocol.ReplyNegotiate, protocol.ReplyContinue, protocol.ReplyAccept, protocol.ReplyReject,
		protocol.ReplyTemporaryFailure, protocol.ReplyDiscard, protocol.ReplySkip, protocol.ReplyReplyCode:
		return true
	}
	return false
}
