package miltertest_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

func TestNegotiate(t *testing.T) {
	var macros option.MacroRequests
	if err := macros.Set(option.MacroStageHelo, "j", "{tls_version}"); err != nil {
		t.Fatal(err)
	}
	answer := func(version uint32, actions option.Action, steps option.Step) string {
		return packets(reply.Negotiate{Option: option.Option{Version: version, Actions: actions, Steps: steps}})
	}
	old := option.Option{Version: 4, Actions: 0x3f, Steps: 0x37f}
	tests := []struct {
		name    string
		offer   option.Option
		answer  string
		status  protocol.Status
		want    option.Option
		wantErr string
	}{
		{"everything", option.All(), answer(6, 0x1ff, 0x1fffff), protocol.StatusContinue, option.All(), ""},
		{"nothing", option.All(), answer(6, 0, 0), protocol.StatusContinue, option.Option{Version: 6}, ""},
		{"an older version", option.All(), answer(2, 0, 0), protocol.StatusContinue, option.Option{Version: 2}, ""},
		{"all of an old offer", old, answer(4, 0x3f, 0x37f), protocol.StatusContinue, old, ""},
		{"zero stands for version 1", option.Option{Version: 2}, answer(2, 0x0f, 0x3f), protocol.StatusContinue, option.Option{Version: 2, Actions: 0x0f, Steps: 0x3f}, ""},
		{"macros", option.All(), packets(reply.Negotiate{Option: option.Option{Version: 6}, Macros: macros}), protocol.StatusContinue, option.Option{Version: 6}, ""},
		{"reject", option.All(), bare(protocol.ReplyReject), protocol.StatusReject, option.Option{Version: 6}, ""},
		{"temporary-failure", option.All(), bare(protocol.ReplyTemporaryFailure), protocol.StatusTemporaryFailure, option.Option{Version: 6}, ""},
		{"newer version", old, answer(5, 0, 0), 0, option.Option{Version: 6}, "version 5 is above the offered 4"},
		{"version 1", option.All(), answer(1, 0, 0), 0, option.Option{Version: 6}, "version 1 is below 2"},
		{"action not offered", old, answer(4, 0x7f, 0), 0, option.Option{Version: 6}, "not offered: change-envelope-from"},
		{"step not offered", old, answer(4, 0, 0x77f), 0, option.Option{Version: 6}, "not offered: skip"},
		{"step not among those of version 1", option.Option{Version: 2}, answer(2, 0, 0x40), 0, option.Option{Version: 6}, "not offered: no-end-of-header"},
		{"macros not offered", old, packets(reply.Negotiate{Option: option.Option{Version: 4}, Macros: macros}), 0, option.Option{Version: 6}, "set-symbol-list was not offered"},
		{"another answer", option.All(), bare(protocol.ReplyContinue), 0, option.Option{Version: 6}, "a negotiation"},
		{"too short", option.All(), raw('O', "\x00\x00\x00\x06"), 0, option.Option{Version: 6}, "12 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := start(t, answers{protocol.CommandNegotiate: {tt.answer}})
			s.Offer = tt.offer
			a, err := s.Negotiate()
			var e *miltertest.ProtocolError
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (!errors.As(err, &e) || !strings.Contains(e.Reason, tt.wantErr)) {
				t.Errorf("error = %v, want one with %q", err, tt.wantErr)
			}
			if a.Status != tt.status {
				t.Errorf("Status = %v, want %v", a.Status, tt.status)
			}
			if diff := cmp.Diff(tt.want, s.Option()); diff != "" {
				t.Errorf("Option (-want +got):\n%s", diff)
			}
			if want := map[bool]string{true: `helo="j {tls_version}"`}[tt.name == "macros"]; s.MacroRequests().String() != want {
				t.Errorf("MacroRequests = %v, want %v", s.MacroRequests(), want)
			}
		})
	}
}

// An event that the milter does without is not sent; its macros are.
func TestNoEventSteps(t *testing.T) {
	for c, step := range noEvent {
		t.Run(events[c].name, func(t *testing.T) {
			s, got := start(t, answers{protocol.CommandNegotiate: agree(0, step)})
			s.Macros = map[protocol.Command][]protocol.Macro{c: {macro("i", "1")}}
			must[miltertest.Answer](t)(s.Negotiate())
			a := must[miltertest.Answer](t)(events[c].play(s))
			if diff := cmp.Diff(miltertest.Answer{}, a); diff != "" {
				t.Errorf("Answer (-want +got):\n%s", diff)
			}
			if err := s.Quit(); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{fmt.Sprintf("D %ci|1|", c), "Q"}, got()[1:]); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

// No answer is awaited to an event that was negotiated to have none.
func TestNoReplySteps(t *testing.T) {
	for c, step := range noReply {
		t.Run(events[c].name, func(t *testing.T) {
			s, got := start(t, answers{protocol.CommandNegotiate: agree(0, step), c: {""}})
			must[miltertest.Answer](t)(s.Negotiate())
			a := must[miltertest.Answer](t)(events[c].play(s))
			if a.Status != protocol.StatusNoReply || !a.IsPass() {
				t.Errorf("Answer = %v, want no-reply, a pass", a)
			}
			if err := s.Quit(); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{events[c].wire, "Q"}, got()[1:]); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOldVersions(t *testing.T) {
	tests := []struct {
		version uint32
		want    []string
	}{
		{2, []string{"Q"}},
		{3, []string{"U FOO bar|", "Q"}},
		{4, []string{"T", "U FOO bar|", "Q"}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.version), func(t *testing.T) {
			s, got := start(t, answers{protocol.CommandNegotiate: {packets(reply.Negotiate{Option: option.Option{Version: tt.version}})}})
			s.Offer = option.Option{Version: tt.version}
			must[miltertest.Answer](t)(s.Negotiate())
			must[miltertest.Answer](t)(s.Data())
			must[miltertest.Answer](t)(s.Unknown("FOO bar"))
			if err := s.Quit(); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(tt.want, got()[1:]); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLeadingSpace(t *testing.T) {
	tests := []struct {
		name  string
		steps option.Step
		want  []string
	}{
		{"one space is removed", option.NoSteps, []string{"L A|b|", "L A| b|", "L A|\tb|", "L A||", "L A|b\n  c|"}},
		{"negotiated", option.StepHeaderValueWithLeadingSpace, []string{"L A| b|", "L A|  b|", "L A|\tb|", "L A||", "L A| b\n  c|"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, got := start(t, answers{protocol.CommandNegotiate: agree(0, tt.steps)})
			must[miltertest.Answer](t)(s.Negotiate())
			for _, value := range []string{" b", "  b", "\tb", "", " b\n  c"} {
				must[miltertest.Answer](t)(s.Header("A", value))
			}
			if diff := cmp.Diff(tt.want, got()[1:]); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMacros(t *testing.T) {
	var requests option.MacroRequests
	for stage, names := range map[option.MacroStage][]string{
		option.MacroStageHelo:         {},
		option.MacroStageEnvelopeFrom: {"{i}", "j", "{nobody}", "i"},
		option.MacroStageEndOfMessage: {"{nobody}"},
	} {
		if err := requests.Set(stage, names...); err != nil {
			t.Fatal(err)
		}
	}
	macros := map[protocol.Command][]protocol.Macro{
		protocol.CommandConnect:           {macro("j", "mail"), macro("{v}", "1")},
		protocol.CommandHelo:              {macro("{tls_version}", "TLS")},
		protocol.CommandEnvelopeFrom:      {macro("i", "42")},
		protocol.CommandEnvelopeRecipient: {}, // as Postfix sends it
		protocol.CommandData:              nil,
		protocol.CommandEndOfMessage:      {macro("i", "42")},
	}
	tests := []struct {
		name     string
		requests option.MacroRequests
		want     []string
	}{
		{"the MTA's own", option.MacroRequests{}, []string{"D Cj|mail|{v}|1|", "C x|U", "D H{tls_version}|TLS|", "H x|", "D Mi|42|", "M x|", "D R", "R x|", "T", "D Ei|42|", "E"}},
		{"the milter's lists", requests, []string{"D Cj|mail|{v}|1|", "C x|U", "H x|", "D M{i}|42|j|mail|i|42|", "M x|", "D R", "R x|", "T", "E"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, got := start(t, answers{protocol.CommandNegotiate: {packets(reply.Negotiate{Option: option.Option{Version: 6}, Macros: tt.requests})}})
			s.Macros = macros
			must[miltertest.Answer](t)(s.Negotiate())
			must[miltertest.Answer](t)(s.Connect("x", nil))
			must[miltertest.Answer](t)(s.Helo("x"))
			must[miltertest.Answer](t)(s.EnvelopeFrom("x"))
			must[miltertest.Answer](t)(s.EnvelopeRecipient("x"))
			must[miltertest.Answer](t)(s.Data())
			must[miltertest.Answer](t)(s.EndOfMessage())
			if diff := cmp.Diff(tt.want, got()[1:]); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

// Macros and their command leave in one write, as MTAs send them.
func TestMacrosAndCommandAreOneWrite(t *testing.T) {
	mta, milter := net.Pipe()
	s := miltertest.New(mta)
	defer s.Close()
	s.Macros = map[protocol.Command][]protocol.Macro{protocol.CommandHelo: {macro("i", "1")}}
	read := make(chan string)
	go func() {
		defer milter.Close()
		p := make([]byte, 1000)
		n, _ := milter.Read(p) // a pipe hands out one write at a time
		milter.Write(reply.Bare(protocol.ReplyContinue).Append(nil))
		read <- string(p[:n])
	}()
	must[miltertest.Answer](t)(s.Helo("x"))
	if got, want := <-read, raw('D', "Hi\x001\x00")+raw('H', "x\x00"); got != want {
		t.Errorf("first write is %q, want %q", got, want)
	}
}

func TestQuitNewConnection(t *testing.T) {
	s, got := start(t, answers{protocol.CommandConnect: {bare(protocol.ReplyReject), bare(protocol.ReplyContinue)}})
	mail := miltertest.Mail{From: "<a>", Recipients: []miltertest.Recipient{{Path: "<b>"}}}
	if r := must[miltertest.Result](t)(s.Send(mail)); r.Status != protocol.StatusReject {
		t.Errorf("Status of the first SMTP session = %v, want reject", r.Status)
	}
	if err := s.QuitNewConnection(); err != nil {
		t.Fatal(err)
	}
	if r := must[miltertest.Result](t)(s.Send(mail)); r.Status != protocol.StatusContinue {
		t.Errorf("Status of the second SMTP session = %v, want continue", r.Status)
	}
	if diff := cmp.Diff("OCKCHMRTNE", letters(got())); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}
