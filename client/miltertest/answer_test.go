package miltertest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// Which answer each event allows: one letter for each reply.
func TestAllowedAnswers(t *testing.T) {
	allowed := map[protocol.Command]string{
		protocol.CommandConnect: "carty", protocol.CommandHelo: "carty", // discard: no message yet
		protocol.CommandEnvelopeFrom: "cartyd", protocol.CommandEnvelopeRecipient: "cartyd",
		protocol.CommandData: "cartyd", protocol.CommandUnknown: "crty", // Postfix panics at a and d
		protocol.CommandHeader: "cartyd", protocol.CommandEndOfHeader: "cartyd",
		protocol.CommandBody: "cartyds", protocol.CommandEndOfMessage: "cartyd",
	}
	statuses := map[byte]protocol.Status{
		'c': protocol.StatusContinue, 'a': protocol.StatusAccept, 'r': protocol.StatusReject, 't': protocol.StatusTemporaryFailure,
		'd': protocol.StatusDiscard, 's': protocol.StatusSkip, 'y': protocol.StatusReject,
	}
	payloads := map[byte]string{'y': "550 5.7.1 no\x00", 'O': "\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00"}
	for c, event := range events {
		for _, letter := range []byte("cartydsOf4z") {
			t.Run(fmt.Sprintf("%s %c", event.name, letter), func(t *testing.T) {
				s, got := start(t, answers{
					protocol.CommandNegotiate: agree(option.AllActions, option.StepSkip),
					c:                         {raw(letter, payloads[letter])},
				})
				must[miltertest.Answer](t)(s.Negotiate())
				a, err := event.play(s)
				if strings.IndexByte(allowed[c], letter) < 0 {
					wantProtocolError(t, err, c, protocol.Reply(letter), "")
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if want := statuses[letter]; a.Status != want {
					t.Errorf("Status = %v, want %v", a.Status, want)
				}
				if last := got()[1]; last != event.wire {
					t.Errorf("the milter got %q, want %q", last, event.wire)
				}
			})
		}
	}
}

// Every change and progress, at every event.
func TestChangesOnlyAtEndOfMessage(t *testing.T) {
	changes := []reply.Message{
		add("A", "b"), insert(1, "A", "b"), change("A", 1, "b"),
		reply.ChangeFrom{Path: "<a>"}, reply.AddRecipient{Path: "<a>"}, addTo("<a>", "NOTIFY=NEVER"),
		deleteTo("<a>"), body("x"), quarantine("why"), reply.Bare(protocol.ReplyProgress),
	}
	for c, event := range events {
		for _, m := range changes {
			t.Run(event.name+" "+m.Reply().String(), func(t *testing.T) {
				s, _ := start(t, answers{c: {packets(m, reply.Bare(protocol.ReplyContinue))}})
				must[miltertest.Answer](t)(s.Negotiate())
				_, err := event.play(s)
				if c != protocol.CommandEndOfMessage {
					wantProtocolError(t, err, c, m.Reply(), "only come at end of message")
				} else if err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestEndOfMessage(t *testing.T) {
	smtp := must[reply.SMTP](t)(reply.NewSMTP(450, "4.2.0", "100% busy"))
	progress, x := reply.Bare(protocol.ReplyProgress), body("x")
	final := reply.Bare(protocol.ReplyContinue)
	tests := []struct {
		name    string
		actions option.Action
		answer  string
		want    miltertest.Answer
		wantErr string // a part of the reason
	}{
		{"everything in order", option.AllActions,
			packets(progress, add("A", "b"), progress, quarantine("first"), x, x, quarantine("second"), reply.ReplyCode{SMTP: smtp}),
			miltertest.Answer{Status: protocol.StatusTemporaryFailure, SMTP: smtp, Progress: 2, Quarantine: "second",
				Changes: []reply.Message{add("A", "b"), quarantine("first"), x, x, quarantine("second")}}, ""},
		{"an empty value is allowed", option.AllActions,
			packets(add("A", ""), final),
			miltertest.Answer{Status: protocol.StatusContinue, Changes: []reply.Message{add("A", "")}}, ""},
		{"add-headers not negotiated", option.AllActions &^ option.ActionAddHeaders, packets(add("A", "b"), final),
			miltertest.Answer{}, "action add-headers was not"},
		{"insert needs add-headers", option.ActionChangeHeaders, packets(insert(0, "A", "b"), final),
			miltertest.Answer{}, "action add-headers was not"},
		{"change-headers not negotiated", option.ActionAddHeaders, packets(change("A", 0, "b"), final),
			miltertest.Answer{}, "action change-headers was not"},
		{"parameters need an action of their own", option.ActionAddEnvelopeRecipient, packets(addTo("<a>", "X=Y"), final),
			miltertest.Answer{}, "action add-envelope-recipient-with-parameters was not"},
		{"parameters, empty ones as well", option.ActionAddEnvelopeRecipient, raw('2', "<a>\x00\x00") + packets(final),
			miltertest.Answer{}, "action add-envelope-recipient-with-parameters was not"},
		{"delete-recipient not negotiated", option.NoActions, packets(deleteTo("<a>"), final),
			miltertest.Answer{}, "action delete-envelope-recipient was not"},
		{"change-from not negotiated", option.NoActions, packets(reply.ChangeFrom{Path: "<a>"}, final),
			miltertest.Answer{}, "action change-envelope-from was not"},
		{"change-body not negotiated", option.NoActions, packets(x, final), miltertest.Answer{}, "action change-body was not"},
		{"quarantine not negotiated", option.NoActions, packets(quarantine("why"), final), miltertest.Answer{}, "action quarantine was not"},
		{"a body in two runs", option.AllActions, packets(x, add("A", "b"), x, final),
			miltertest.Answer{Changes: []reply.Message{x, add("A", "b")}}, "something else came between"},
		{"progress within a body", option.AllActions, packets(x, progress, x, final),
			miltertest.Answer{Changes: []reply.Message{x}, Progress: 1}, "something else came between"},
		{"header without name", option.AllActions, packets(add("", "b"), final), miltertest.Answer{}, "has no name"},
		{"inserted header without name", option.AllActions, packets(insert(0, "", "b"), final), miltertest.Answer{}, "has no name"},
		{"changed header without name", option.AllActions, packets(change("", 0, "b"), final), miltertest.Answer{}, "has no name"},
		{"empty recipient", option.AllActions, packets(reply.AddRecipient{}, final), miltertest.Answer{}, "has no path"},
		{"empty recipient to delete", option.AllActions, packets(reply.DeleteRecipient{}, final), miltertest.Answer{}, "has no path"},
		{"quarantine without reason", option.AllActions, packets(reply.Quarantine{}, final), miltertest.Answer{}, "has no reason"},
		{"malformed change", option.AllActions, raw('h', "A\x00b"), miltertest.Answer{}, "does not end with NUL"},
		{"malformed answer", option.AllActions, raw('c', "x"), miltertest.Answer{}, "has a payload"},
		{"malformed reply code", option.AllActions, raw('y', "550 50% of\x00"), miltertest.Answer{}, "single %"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := start(t, answers{
				protocol.CommandNegotiate:    agree(tt.actions, option.NoSteps),
				protocol.CommandEndOfMessage: {tt.answer},
			})
			must[miltertest.Answer](t)(s.Negotiate())
			a, err := s.EndOfMessage()
			if tt.wantErr != "" {
				var e *miltertest.ProtocolError
				if !errors.As(err, &e) || e.Event != protocol.CommandEndOfMessage || !strings.Contains(e.Reason, tt.wantErr) {
					t.Errorf("error = %v, want one with %q", err, tt.wantErr)
				}
			} else if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(tt.want, a); diff != "" {
				t.Errorf("Answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSkipMustBeNegotiated(t *testing.T) {
	s, _ := start(t, answers{protocol.CommandBody: {bare(protocol.ReplySkip)}})
	must[miltertest.Answer](t)(s.Negotiate())
	_, err := s.Body([]byte("x"))
	wantProtocolError(t, err, protocol.CommandBody, protocol.ReplySkip, "step skip was not negotiated")
}

// An answer too many is found before the next command is sent.
func TestAnswerTooMany(t *testing.T) {
	const c = protocol.ReplyContinue
	tests := []struct {
		name   string
		script answers
		play   []func(s *miltertest.Session) error
		event  protocol.Command
		reason string
	}{
		{"second answer", answers{protocol.CommandHelo: {bare(c) + bare(c)}},
			[]func(*miltertest.Session) error{helo}, protocol.CommandHelo, "answered already"},
		{"answer to a no-reply event",
			answers{protocol.CommandNegotiate: agree(0, option.StepNoReplyHelo)},
			[]func(*miltertest.Session) error{helo}, protocol.CommandHelo, "no-reply-helo was negotiated"},
		{"answer to abort", answers{protocol.CommandAbort: {bare(c)}},
			[]func(*miltertest.Session) error{helo, (*miltertest.Session).Abort}, protocol.CommandAbort, "it has no answer"},
		{"answer to macros", answers{protocol.CommandDefineMacro: {bare(c)}},
			[]func(*miltertest.Session) error{helo, func(s *miltertest.Session) error { return s.DefineMacro(protocol.CommandHelo) }},
			protocol.CommandDefineMacro, "it has no answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, got := start(t, tt.script)
				must[miltertest.Answer](t)(s.Negotiate())
				for _, play := range tt.play {
					if err := play(s); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait() // until the milter has written what it should not
				_, err := s.EnvelopeFrom("<>")
				wantProtocolError(t, err, tt.event, c, tt.reason)
				for _, p := range got() {
					if p[0] == 'M' {
						t.Errorf("%q was sent all the same", p)
					}
				}
			})
		})
		t.Run(tt.name+" is found by Quit at the latest", func(t *testing.T) {
			s, _ := start(t, tt.script)
			must[miltertest.Answer](t)(s.Negotiate())
			for _, play := range tt.play {
				if err := play(s); err != nil {
					t.Fatal(err)
				}
			}
			var e *miltertest.ProtocolError
			if err := s.Quit(); !errors.As(err, &e) || e.Got != c {
				t.Errorf("Quit = %v, want a ProtocolError for %v", err, c)
			}
		})
	}
	t.Run("before anything was sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mta, milter := net.Pipe()
			s := miltertest.New(mta)
			defer s.Close()
			if _, err := io.WriteString(milter, bare(c)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			_, err := s.Negotiate()
			wantProtocolError(t, err, 0, c, "nothing was sent yet")
		})
	})
}

func TestAnswerString(t *testing.T) {
	tests := []struct {
		answer miltertest.Answer
		want   string
	}{
		{miltertest.Answer{}, "default"},
		{miltertest.Answer{Status: protocol.StatusAccept}, "accept"},
		{miltertest.Answer{Status: protocol.StatusReject, SMTP: reply.SMTP{Code: 550}}, "reject [550]"},
		{miltertest.Answer{Status: protocol.StatusReject, SMTP: reply.SMTP{Code: 550, Text: "no"}}, "reject [550](no)"},
		{miltertest.Answer{Status: protocol.StatusTemporaryFailure, SMTP: reply.SMTP{Code: 450, Extended: "4.2.0", Text: "grey"}},
			"temporary-failure [450]<4.2.0>(grey)"},
	}
	for _, tt := range tests {
		if got := tt.answer.String(); got != tt.want {
			t.Errorf("%+v is %q, want %q", tt.answer, got, tt.want)
		}
	}
}
