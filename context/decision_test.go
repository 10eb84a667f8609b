package context_test

import (
	"slices"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// restOfDecided sends what an MTA may still send of a mail that was decided at e.
func restOfDecided(t *testing.T, f *fed, e event, wire string) {
	t.Helper()
	rest := 0
	for _, later := range events() {
		if later.command == 'U' || !slices.ContainsFunc(later.lead, func(m protocol.Message) bool { return m.Command() == e.command }) {
			continue
		}
		if err := f.feed(later.message); err != nil {
			t.Fatal(err)
		}
		f.expect("what still comes gets the same decision: "+later.name, wire)
		rest++
	}
	f.happened("and no events")
	if err := f.feed(macros('M', "i", "next"), mailMsg); err != nil {
		t.Fatal(err)
	}
	if e.command != 'M' {
		f.expect("the next mail is a new one", "c")
	}
	if rest == 0 && e.command != 'E' {
		t.Error("no event came after the decision")
	}
}

// TestDecisionEnds: a decision lasts as long as its mail, also when the MTA sends
// neither ABORT (Sendmail does not, after accept and discard) nor MAIL (it was
// negotiated away).
func TestDecisionEnds(t *testing.T) {
	tests := []struct {
		name  string
		steps option.Step
		first []protocol.Message // the mail that is discarded at its last command
		next  []protocol.Message
		want  []string
	}{
		{"abort", 0, []protocol.Message{mailMsg, rcptMsg}, []protocol.Message{abortMsg, mailMsg}, []string{"c"}},
		{"mail", 0, []protocol.Message{mailMsg, rcptMsg}, []protocol.Message{mailMsg, rcptMsg}, []string{"c", "c"}},
		{"helo", 0, []protocol.Message{mailMsg, rcptMsg}, []protocol.Message{heloMsg, mailMsg}, []string{"c", "c"}},
		{"end of message", 0, []protocol.Message{mailMsg, rcptMsg}, []protocol.Message{eomMsg, mailMsg}, []string{"d", "c"}},
		{"recipient, no MAIL", option.StepNoEnvelopeFrom, []protocol.Message{rcptMsg}, []protocol.Message{macros('M', "i", "2"), rcptMsg}, []string{"c"}},
		{"recipient, no MAIL and no macros", option.StepNoEnvelopeFrom, []protocol.Message{rcptMsg}, []protocol.Message{rcptMsg}, []string{"c"}},
		{"header, no MAIL, no RCPT", option.StepNoEnvelopeFrom | option.StepNoEnvelopeRecipient, []protocol.Message{headerMsg},
			[]protocol.Message{macros('M', "i", "2"), macros('R', "x", "y"), headerMsg}, []string{"c"}},
		{"header, then a recipient", option.StepNoEnvelopeFrom, []protocol.Message{rcptMsg, headerMsg}, []protocol.Message{rcptMsg, headerMsg}, []string{"c", "c"}},
		{"body of no-reply headers", option.StepNoEnvelopeFrom | option.StepNoEnvelopeRecipient | option.StepNoReplyHeader, []protocol.Message{headerMsg},
			[]protocol.Message{headerMsg, headerMsg, eohMsg, eomMsg}, []string{"d", "d"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			discard := ""
			f := negotiated(t, 0, test.steps, func(event string) protocol.Status {
				if event == discard {
					discard = ""
					return protocol.StatusDiscard
				}
				return protocol.StatusContinue
			})
			discard = test.first[len(test.first)-1].Command().String()
			if err := f.feed(append([]protocol.Message{connectMsg, heloMsg}, test.first...)...); err != nil {
				t.Fatal(err)
			}
			f.replies()
			if err := f.feed(test.next...); err != nil {
				t.Fatal(err)
			}
			f.expect("after the decision", test.want...)
		})
	}
}

func TestSkip(t *testing.T) {
	for _, steps := range []option.Step{0, option.StepSkip} {
		t.Run(steps.String(), func(t *testing.T) {
			f := negotiated(t, 0, steps, func(event string) protocol.Status {
				if event == "body" {
					return protocol.StatusSkip
				}
				return protocol.StatusContinue
			})
			var size int64
			f.ctx.OnMessageProcessed(func(_ *context.ClientContext, r *context.MessageResult) { size = r.BodySize })
			first := "c"
			if steps != 0 {
				first = "s"
			}
			for range 2 {
				_ = f.feed(mailMsg, rcptMsg, eohMsg)
				f.replies()
				f.take()
				_ = f.feed(bodyMsg, bodyMsg, bodyMsg)
				f.expect("the library swallows the rest", first, "c", "c")
				f.happened("one event", "body 6")
				_ = f.feed(eomMsg)
				f.expect("end of message comes", "c")
				if size != 18 {
					t.Errorf("body size = %d, want all that came: 18", size)
				}
			}
		})
	}
}

// TestSilentDecision: what the MTA awaits no reply to is decided all the same; it
// learns of it at the next reply.
func TestSilentDecision(t *testing.T) {
	var f *fed
	f = negotiated(t, 0, option.StepNoReplyEnvelopeFrom|option.StepNoReplyHeader, func(event string) protocol.Status {
		if event == "envelope-from" {
			return f.ctx.Reject(550, "5.7.1", "no")
		}
		return protocol.StatusContinue
	})
	_ = f.feed(mailMsg)
	f.expect("no reply is awaited to MAIL")
	f.happened("the mail is decided", "envelope-from <from@example.com>", "processed reject at envelope-from")
	_ = f.feed(rcptMsg, headerMsg, eohMsg, eomMsg, mailMsg)
	f.expect("the decision with its code, but for the header", `y"550 5.7.1 no\x00"`, `y"550 5.7.1 no\x00"`, `y"550 5.7.1 no\x00"`)
	f.happened("then the next mail", "envelope-from <from@example.com>", "processed reject at envelope-from")
}

// TestMacrosOfDecidedMail: macros of a mail that was decided come with what is still
// sent of it. The next mail does not see them, also if MAIL was negotiated away.
func TestMacrosOfDecidedMail(t *testing.T) {
	f := feed(t, forever())
	var seen []string
	f.ctx.OnHeader(func(ctx *context.ClientContext, _, _ string) protocol.Status {
		seen = append(seen, ctx.Macro("i"))
		return protocol.StatusAccept
	})
	f.negotiate(0, option.StepNoEnvelopeFrom|option.StepNoEnvelopeRecipient|option.StepNoReplyHeader)
	err := f.feed(
		macros('M', "i", "Q1"), headerMsg, macros('E', "i", "Q1"), eomMsg,
		macros('M', "i", "Q2"), headerMsg, macros('E', "i", "Q2"), eomMsg,
	)
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[1] != "Q2" {
		t.Errorf("queue ids %q, want Q1 and Q2", seen)
	}
}
