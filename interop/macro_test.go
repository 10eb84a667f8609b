//go:build interop

package interop_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// stageEvents are the events at which the macros of the stages can be read.
var stageEvents = map[option.MacroStage]string{
	option.MacroStageConnect: "connect", option.MacroStageHelo: "helo", option.MacroStageEnvelopeFrom: "envelope-from",
	option.MacroStageEnvelopeRecipient: "envelope-recipient", option.MacroStageData: "data",
	option.MacroStageEndOfHeader: "end-of-header", option.MacroStageEndOfMessage: "end-of-message",
}

// macroNames returns the names and values that the MTA has sent at each stage.
func macroNames(t *testing.T, p *port, ask func(m *option.MacroRequests)) map[string][]string {
	t.Helper()
	seen := make(map[string][]string)
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnNegotiate(func(_ *context.ClientContext, _ *option.Option, macros *option.MacroRequests) protocol.Status {
			ask(macros)
			return protocol.StatusDefault
		})
		for _, event := range stageEvents {
			at(ctx, event, func(ctx *context.ClientContext) protocol.Status {
				for _, m := range ctx.Macros() {
					seen[event] = append(seen[event], m.Name)
					if m.Value == "" {
						r.fault(fmt.Errorf("%s: %s has no value", event, m.Name))
					}
				}
				return protocol.StatusContinue
			})
		}
	})
	playOne(t, p, received+sample)
	r.clean(t)
	return seen
}

// testMacros asks for macros at each stage and gets these, in this order.
func testMacros(t *testing.T, p *port) {
	lists := map[option.MacroStage][]string{
		option.MacroStageConnect:           {"{client_addr}", "j"},
		option.MacroStageHelo:              {"{client_name}"},
		option.MacroStageEnvelopeFrom:      {"{mail_addr}", "{client_addr}"},
		option.MacroStageEnvelopeRecipient: {"{rcpt_addr}", "{mail_addr}"},
		option.MacroStageData:              {"i", "{mail_addr}"},
		option.MacroStageEndOfHeader:       {"{client_addr}", "i"},
		option.MacroStageEndOfMessage:      {"{client_addr}", "i"}, // Postfix does not know {mail_addr} any more
	}
	got := macroNames(t, p, func(m *option.MacroRequests) {
		for stage, names := range lists {
			if err := m.Set(stage, names...); err != nil {
				t.Error(err)
			}
		}
	})
	for stage, want := range lists {
		if got := got[stageEvents[stage]]; !slices.Equal(got, want) {
			t.Errorf("%v: want %q, got %q", stage, want, got)
		}
	}
}

// testMacrosOfEndOfMessage asks for one stage only. Sendmail 8.17.1 obeys because
// the library asks for nothing at end of header besides.
func testMacrosOfEndOfMessage(t *testing.T, p *port) {
	want := []string{"{client_addr}", "j"}
	got := macroNames(t, p, func(m *option.MacroRequests) {
		if err := m.Set(option.MacroStageEndOfMessage, want...); err != nil {
			t.Error(err)
		}
	})
	if got := got["end-of-message"]; !slices.Equal(got, want) {
		t.Errorf("want %q, got %q", want, got)
	}
}

// testDefaultMacros asks for nothing and gets what the MTA's configuration says.
func testDefaultMacros(t *testing.T, p *port) {
	want := map[string][]string{
		"connect":            {"j", "{daemon_name}", "{daemon_addr}", "v", "_"},
		"envelope-from":      {"{mail_addr}", "{mail_host}", "{mail_mailer}"}, // i comes after the first recipient
		"envelope-recipient": {"{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"},
		"data":               {"i"},
		"end-of-header":      {"i"},
		"end-of-message":     {"i"},
	}
	if p.mta.name() == "sendmail" {
		want = map[string][]string{
			"connect":            {"j", "_", "{daemon_name}", "{if_name}"},
			"envelope-from":      {"i", "{mail_mailer}", "{mail_host}", "{mail_addr}"},
			"envelope-recipient": {"{rcpt_mailer}", "{rcpt_host}", "{rcpt_addr}"},
			"end-of-message":     {"{msg_id}"},
		}
	}
	got := macroNames(t, p, func(*option.MacroRequests) {})
	for _, event := range stageEvents {
		if !slices.Equal(got[event], want[event]) {
			t.Errorf("%s: want %q, got %q", event, want[event], got[event])
		}
	}
}
