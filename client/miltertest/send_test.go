package miltertest_test

import (
	"bytes"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// What is sent and what comes of it, for an answer at every event. The mail has
// two recipients, three header fields and one chunk of body.
func TestDeliver(t *testing.T) {
	const c, a, r, tf, d = protocol.ReplyContinue, protocol.ReplyAccept, protocol.ReplyReject, protocol.ReplyTemporaryFailure, protocol.ReplyDiscard
	smtp550, smtp450 := reply.SMTP{Code: 550, Extended: "5.7.1", Text: "no"}, reply.SMTP{Code: 450, Extended: "4.2.0", Text: "later"}
	reject, later := packets(reply.ReplyCode{SMTP: smtp550}), packets(reply.ReplyCode{SMTP: smtp450})
	pass := miltertest.Answer{Status: protocol.StatusContinue}
	bothPass := []miltertest.Answer{pass, pass}
	delivered := func(recipients ...int) miltertest.Mail {
		m := message()
		m.Recipients = nil
		for _, i := range recipients {
			m.Recipients = append(m.Recipients, message().Recipients[i])
		}
		return m
	}
	tests := []struct {
		name   string
		script answers
		sent   string
		want   miltertest.Result
	}{
		{"no objection", nil, "OCHMRRTLLLNBEQ",
			miltertest.Result{Status: protocol.StatusContinue, Event: protocol.CommandEndOfMessage, Recipients: bothPass, Mail: message()}},
		{"negotiation refused", answers{protocol.CommandNegotiate: {bare(tf)}}, "O",
			miltertest.Result{Status: protocol.StatusTemporaryFailure, Event: protocol.CommandNegotiate}},
		{"connect rejected", answers{protocol.CommandConnect: {reject}}, "OCQ",
			miltertest.Result{Status: protocol.StatusReject, SMTP: smtp550, Event: protocol.CommandConnect}},
		{"connect accepted", answers{protocol.CommandConnect: {bare(a)}}, "OCQ",
			miltertest.Result{Status: protocol.StatusAccept, Event: protocol.CommandConnect, Mail: message()}},
		{"helo failed", answers{protocol.CommandHelo: {bare(tf)}}, "OCHQ",
			miltertest.Result{Status: protocol.StatusTemporaryFailure, Event: protocol.CommandHelo}},
		{"sender rejected", answers{protocol.CommandEnvelopeFrom: {bare(r)}}, "OCHMQ",
			miltertest.Result{Status: protocol.StatusReject, Event: protocol.CommandEnvelopeFrom}},
		{"sender accepted", answers{protocol.CommandEnvelopeFrom: {bare(a)}}, "OCHMQ",
			miltertest.Result{Status: protocol.StatusAccept, Event: protocol.CommandEnvelopeFrom, Mail: message()}},
		{"first recipient rejected", answers{protocol.CommandEnvelopeRecipient: {reject, bare(c)}}, "OCHMRRTLLLNBEQ",
			miltertest.Result{Status: protocol.StatusContinue, Event: protocol.CommandEndOfMessage, Mail: delivered(1),
				Recipients: []miltertest.Answer{{Status: protocol.StatusReject, SMTP: smtp550}, pass}}},
		{"all recipients rejected", answers{protocol.CommandEnvelopeRecipient: {reject, bare(r)}}, "OCHMRRAQ",
			miltertest.Result{Status: protocol.StatusReject, Event: protocol.CommandEnvelopeRecipient,
				Recipients: []miltertest.Answer{{Status: protocol.StatusReject, SMTP: smtp550}, {Status: protocol.StatusReject}}}},
		{"one recipient may be tried again", answers{protocol.CommandEnvelopeRecipient: {later, reject}}, "OCHMRRAQ",
			miltertest.Result{Status: protocol.StatusTemporaryFailure, SMTP: smtp450, Event: protocol.CommandEnvelopeRecipient,
				Recipients: []miltertest.Answer{{Status: protocol.StatusTemporaryFailure, SMTP: smtp450}, {Status: protocol.StatusReject, SMTP: smtp550}}}},
		{"first recipient accepted", answers{protocol.CommandEnvelopeRecipient: {bare(a)}}, "OCHMRQ",
			miltertest.Result{Status: protocol.StatusAccept, Event: protocol.CommandEnvelopeRecipient, Mail: message(),
				Recipients: []miltertest.Answer{{Status: protocol.StatusAccept}}}},
		{"second recipient accepted", answers{protocol.CommandEnvelopeRecipient: {bare(r), bare(a)}}, "OCHMRRQ",
			miltertest.Result{Status: protocol.StatusAccept, Event: protocol.CommandEnvelopeRecipient, Mail: delivered(1),
				Recipients: []miltertest.Answer{{Status: protocol.StatusReject}, {Status: protocol.StatusAccept}}}},
		{"recipient discarded", answers{protocol.CommandEnvelopeRecipient: {bare(d)}}, "OCHMRAQ",
			miltertest.Result{Status: protocol.StatusDiscard, Event: protocol.CommandEnvelopeRecipient,
				Recipients: []miltertest.Answer{{Status: protocol.StatusDiscard}}}},
		{"data rejected", answers{protocol.CommandData: {bare(r)}}, "OCHMRRTAQ",
			miltertest.Result{Status: protocol.StatusReject, Event: protocol.CommandData, Recipients: bothPass}},
		{"data accepted", answers{protocol.CommandData: {bare(a)}}, "OCHMRRTQ",
			miltertest.Result{Status: protocol.StatusAccept, Event: protocol.CommandData, Recipients: bothPass, Mail: message()}},
		{"data discarded", answers{protocol.CommandData: {bare(d)}}, "OCHMRRTQ",
			miltertest.Result{Status: protocol.StatusDiscard, Event: protocol.CommandData, Recipients: bothPass}},
		{"second header rejected", answers{protocol.CommandHeader: {bare(c), reject}}, "OCHMRRTLLQ",
			miltertest.Result{Status: protocol.StatusReject, SMTP: smtp550, Event: protocol.CommandHeader, Recipients: bothPass}},
		{"end of header accepted", answers{protocol.CommandEndOfHeader: {bare(a)}}, "OCHMRRTLLLNQ",
			miltertest.Result{Status: protocol.StatusAccept, Event: protocol.CommandEndOfHeader, Recipients: bothPass, Mail: message()}},
		{"body discarded", answers{protocol.CommandBody: {bare(d)}}, "OCHMRRTLLLNBQ",
			miltertest.Result{Status: protocol.StatusDiscard, Event: protocol.CommandBody, Recipients: bothPass}},
		{"message rejected, changes and all", answers{protocol.CommandEndOfMessage: {packets(add("Z", "4"), quarantine("why")) + reject}}, "OCHMRRTLLLNBEQ",
			miltertest.Result{Status: protocol.StatusReject, SMTP: smtp550, Event: protocol.CommandEndOfMessage, Recipients: bothPass,
				Changes: []reply.Message{add("Z", "4"), quarantine("why")}, Quarantine: "why"}},
		{"message put on hold", answers{protocol.CommandEndOfMessage: {packets(quarantine("why"), reply.Bare(a))}}, "OCHMRRTLLLNBEQ",
			miltertest.Result{Status: protocol.StatusQuarantine, Event: protocol.CommandEndOfMessage, Recipients: bothPass,
				Changes: []reply.Message{quarantine("why")}, Quarantine: "why", Mail: message()}},
		{"the milter does without most", answers{protocol.CommandNegotiate: agree(0, option.NoEventSteps&^option.StepNoEnvelopeRecipient)}, "ORREQ",
			miltertest.Result{Status: protocol.StatusContinue, Event: protocol.CommandEndOfMessage, Recipients: bothPass, Mail: message()}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, got := start(t, tt.script)
			result, err := s.Deliver(message())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, result, cmpopts.IgnoreFields(miltertest.Result{}, "Elapsed")); diff != "" {
				t.Errorf("Result (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.sent, letters(got())); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

// What the milter gets of a mail, in full.
func TestSendWire(t *testing.T) {
	s, got := start(t, nil)
	s.Macros = map[protocol.Command][]protocol.Macro{protocol.CommandEnvelopeRecipient: {macro("i", "1")}}
	must[miltertest.Result](t)(s.Deliver(message()))
	want := []string{
		"C mx.example.net|4\xc5\x0b192.0.2.1|", "H mx.example.net|", "M <a@example.com>|BODY=8BITMIME|",
		"D Ri|1|", "R <b@example.com>|", "D Ri|1|", "R c@example.com|NOTIFY=NEVER|", "T",
		"L X|1|", "L Y|2|", "L x|3|", "N", "B text\r\n", "E", "Q",
	}
	if diff := cmp.Diff(want, got()[1:]); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

// What is left of a session that somebody has begun by hand.
func TestSendAfterSteps(t *testing.T) {
	s, got := start(t, nil)
	must[miltertest.Answer](t)(s.Negotiate())
	must[miltertest.Answer](t)(s.Connect("localhost", nil))
	must[miltertest.Answer](t)(s.Helo("a"))
	must[miltertest.Answer](t)(s.Helo("b"))
	for range 2 {
		must[miltertest.Result](t)(s.Send(message()))
	}
	if diff := cmp.Diff("OCHHMRRTLLLNBEMRRTLLLNBE", letters(got())); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

func TestSecondHeloIsAskedAgain(t *testing.T) {
	s, got := start(t, answers{protocol.CommandHelo: {bare(protocol.ReplyReject), bare(protocol.ReplyContinue)}})
	if r := must[miltertest.Result](t)(s.Send(message())); r.Status != protocol.StatusReject || r.Event != protocol.CommandHelo {
		t.Errorf("first mail: %v at %v, want reject at helo", r, r.Event)
	}
	must[miltertest.Answer](t)(s.Helo("another"))
	if r := must[miltertest.Result](t)(s.Send(message())); r.Status != protocol.StatusContinue {
		t.Errorf("second mail: %v, want continue", r)
	}
	if diff := cmp.Diff("OCHHMRRTLLLNBE", letters(got())); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

// Before has its say about each command: here each recipient has macros of its
// own, and another command goes before DATA, also where DATA is not sent.
func TestBefore(t *testing.T) {
	const end = "L X|1| L Y|2| L x|3| N B text\r\n E Q"
	tests := []struct {
		name    string
		version uint32
		want    string
	}{
		{"version 6", 6, "D R{rcpt_addr}|<b@example.com>| R <b@example.com>| D R{rcpt_addr}|c@example.com| R c@example.com|NOTIFY=NEVER| U XYZZY| T " + end},
		{"version 3", 3, "D R{rcpt_addr}|<b@example.com>| R <b@example.com>| D R{rcpt_addr}|c@example.com| R c@example.com|NOTIFY=NEVER| U XYZZY| " + end},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, got := start(t, answers{protocol.CommandNegotiate: {packets(reply.Negotiate{Option: option.Option{Version: tt.version}})}})
			var asked []byte
			s.Before = func(next protocol.Message) error {
				asked = append(asked, byte(next.Command()))
				switch next := next.(type) {
				case protocol.EnvelopeRecipient:
					s.Macros = map[protocol.Command][]protocol.Macro{next.Command(): {macro("{rcpt_addr}", next.Path)}}
				case protocol.Bare:
					if next.Command() == protocol.CommandData {
						_, err := s.Unknown("XYZZY")
						return err
					}
				}
				return nil
			}
			must[miltertest.Result](t)(s.Deliver(message()))
			if diff := cmp.Diff(tt.want, strings.Join(got()[4:], " ")); diff != "" {
				t.Errorf("sent behind the sender (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff("OCHMRRTULLLNBEQ", string(asked)); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBeforeFails(t *testing.T) {
	s, got := start(t, nil)
	enough := errors.New("enough")
	s.Before = func(next protocol.Message) error {
		if next.Command() == protocol.CommandData {
			return enough
		}
		return nil
	}
	if _, err := s.Send(message()); err != enough {
		t.Errorf("error %v, want %v", err, enough)
	}
	if diff := cmp.Diff("OCHMRR", letters(got())); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

func TestSendChunks(t *testing.T) {
	tests := []struct {
		name   string
		chunks func(body []byte) iter.Seq[[]byte]
		answer []string
		want   []string
	}{
		{"in threes", func(body []byte) iter.Seq[[]byte] { return slices.Chunk(body, 3) }, nil, []string{"B tex", "B t\r\n", "E"}},
		{"skipped", func(body []byte) iter.Seq[[]byte] { return slices.Chunk(body, 1) }, []string{bare(protocol.ReplySkip)}, []string{"B t", "E"}},
		{"rejected", func(body []byte) iter.Seq[[]byte] { return slices.Chunk(body, 1) }, []string{bare(protocol.ReplyReject)}, []string{"B t"}},
		{"none", func([]byte) iter.Seq[[]byte] { return func(func([]byte) bool) {} }, nil, []string{"E"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, got := start(t, answers{protocol.CommandNegotiate: agree(0, option.StepSkip), protocol.CommandBody: tt.answer})
			s.Chunks = tt.chunks
			must[miltertest.Result](t)(s.Send(message()))
			sent := got()
			if diff := cmp.Diff(tt.want, sent[slices.Index(sent, "N")+1:]); diff != "" {
				t.Errorf("sent behind the header (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSendBodyInChunks(t *testing.T) {
	mail := message()
	mail.Body = bytes.Repeat([]byte("0123456789abcde\n"), 3*protocol.MaxChunk/16+1)
	mail.Body = append(mail.Body, "the rest\r\n"...)
	tests := []struct {
		name  string
		body  []string
		sizes []int
	}{
		{"all", nil, []int{65535, 65535, 65535, len(mail.Body) - 3*65535}},
		{"skipped after the second", []string{bare(protocol.ReplyContinue), bare(protocol.ReplySkip)}, []int{65535, 65535}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, got := start(t, answers{protocol.CommandNegotiate: agree(0, option.StepSkip), protocol.CommandBody: tt.body})
			r := must[miltertest.Result](t)(s.Send(mail))
			if r.Status != protocol.StatusContinue || !bytes.Equal(r.Mail.Body, mail.Body) {
				t.Errorf("Result = %v with a body of %d bytes, want continue with %d", r, len(r.Mail.Body), len(mail.Body))
			}
			var sizes []int
			var sent strings.Builder
			for _, p := range got() {
				if chunk, ok := strings.CutPrefix(p, "B "); ok {
					sizes = append(sizes, len(chunk))
					sent.WriteString(chunk)
				}
			}
			if diff := cmp.Diff(tt.sizes, sizes); diff != "" {
				t.Errorf("chunks (-want +got):\n%s", diff)
			}
			if !strings.HasPrefix(string(mail.Body), sent.String()) {
				t.Error("the chunks are not the body")
			}
		})
	}
}

func TestSendAppliesChanges(t *testing.T) {
	for space, steps := range map[string]option.Step{" ": option.NoSteps, "": option.StepHeaderValueWithLeadingSpace} {
		s, _ := start(t, answers{
			protocol.CommandNegotiate: agree(option.AllActions, steps),
			protocol.CommandEndOfMessage: {packets(reply.Bare(protocol.ReplyProgress), change("X", 1, "4"),
				addTo("<d@example.com>", ""), body("new\n"), reply.Bare(protocol.ReplyContinue))},
		})
		mail := message()
		r := must[miltertest.Result](t)(s.Send(mail))
		want := message()
		want.Headers[0].Value = space + "4"
		want.Recipients = append(want.Recipients, miltertest.Recipient{Path: "<d@example.com>"})
		want.Body = []byte("new\r\n")
		if diff := cmp.Diff(want, r.Mail); diff != "" {
			t.Errorf("Mail (-want +got):\n%s", diff)
		}
		if r.Progress != 1 || len(r.Changes) != 3 || !r.IsDelivered() {
			t.Errorf("Progress = %d, %d changes, delivered %v; want 1, 3, true", r.Progress, len(r.Changes), r.IsDelivered())
		}
		if diff := cmp.Diff(message(), mail); diff != "" {
			t.Errorf("the mail that was sent has changed (-want +got):\n%s", diff)
		}
	}
}

func TestSendErrors(t *testing.T) {
	t.Run("no recipient", func(t *testing.T) {
		s, got := start(t, nil)
		if _, err := s.Send(miltertest.Mail{From: "<>"}); err == nil {
			t.Error("a mail without recipient was sent")
		}
		if log := got(); len(log) > 0 {
			t.Errorf("sent %q", log)
		}
	})
	// Whatever the event, the error is that of the command.
	for c := range events {
		if c == protocol.CommandUnknown {
			continue // Send does not play it
		}
		t.Run(c.String(), func(t *testing.T) {
			s, _ := start(t, answers{c: {bare(protocol.ReplyShutdown)}})
			r, err := s.Deliver(message())
			wantProtocolError(t, err, c, protocol.ReplyShutdown, "answers no event")
			if !cmp.Equal(r.Mail, miltertest.Mail{}) {
				t.Errorf("delivered %+v", r.Mail)
			}
		})
	}
	t.Run("surplus answer in the end", func(t *testing.T) {
		s, _ := start(t, answers{protocol.CommandQuit: {bare(protocol.ReplyContinue)}})
		r, err := s.Deliver(message())
		wantProtocolError(t, err, protocol.CommandQuit, protocol.ReplyContinue, "no answer")
		if r.Status != protocol.StatusContinue {
			t.Errorf("Status = %v, want continue", r.Status)
		}
	})
}

func TestElapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The first message is never answered: it takes until the timeout.
		s, got := start(t, answers{protocol.CommandEndOfMessage: {"", bare(protocol.ReplyContinue)}})
		defer got()
		s.EndOfMessageTimeout = 3 * time.Second
		if r, err := s.Send(message()); err == nil || r.Elapsed != 3*time.Second {
			t.Errorf("Elapsed = %v with error %v, want 3s and a timeout", r.Elapsed, err)
		}
		if r := must[miltertest.Result](t)(s.Send(message())); r.Elapsed != 0 {
			t.Errorf("Elapsed = %v, want 0s", r.Elapsed)
		}
	})
}

func TestResultString(t *testing.T) {
	r := miltertest.Result{Status: protocol.StatusReject, SMTP: reply.SMTP{Code: 554, Extended: "5.7.1", Text: "spam"}}
	if got, want := r.String(), "reject [554]<5.7.1>(spam)"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
}
