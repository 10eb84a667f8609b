package option_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/option"
)

// The names and bits of libmilter's mfapi.h and mfdef.h, as they go over the wire.
var actionTable = []struct {
	bit  option.Action
	name string
}{
	{option.ActionAddHeaders, "add-headers"},
	{option.ActionChangeBody, "change-body"},
	{option.ActionAddEnvelopeRecipient, "add-envelope-recipient"},
	{option.ActionDeleteEnvelopeRecipient, "delete-envelope-recipient"},
	{option.ActionChangeHeaders, "change-headers"},
	{option.ActionQuarantine, "quarantine"},
	{option.ActionChangeEnvelopeFrom, "change-envelope-from"},
	{option.ActionAddEnvelopeRecipientParameters, "add-envelope-recipient-with-parameters"},
	{option.ActionSetSymbolList, "set-symbol-list"},
}

// In the order of the bits.
var stepTable = []struct {
	bit  option.Step
	name string
}{
	{option.StepNoConnect, "no-connect"},
	{option.StepNoHelo, "no-helo"},
	{option.StepNoEnvelopeFrom, "no-envelope-from"},
	{option.StepNoEnvelopeRecipient, "no-envelope-recipient"},
	{option.StepNoBody, "no-body"},
	{option.StepNoHeaders, "no-headers"},
	{option.StepNoEndOfHeader, "no-end-of-header"},
	{option.StepNoReplyHeader, "no-reply-header"},
	{option.StepNoUnknown, "no-unknown"},
	{option.StepNoData, "no-data"},
	{option.StepSkip, "skip"},
	{option.StepEnvelopeRecipientRejected, "envelope-recipient-rejected"},
	{option.StepNoReplyConnect, "no-reply-connect"},
	{option.StepNoReplyHelo, "no-reply-helo"},
	{option.StepNoReplyEnvelopeFrom, "no-reply-envelope-from"},
	{option.StepNoReplyEnvelopeRecipient, "no-reply-envelope-recipient"},
	{option.StepNoReplyData, "no-reply-data"},
	{option.StepNoReplyUnknown, "no-reply-unknown"},
	{option.StepNoReplyEndOfHeader, "no-reply-end-of-header"},
	{option.StepNoReplyBody, "no-reply-body"},
	{option.StepHeaderValueWithLeadingSpace, "header-value-with-leading-space"},
}

func TestActionBits(t *testing.T) {
	var all option.Action
	for i, a := range actionTable {
		if want := option.Action(1) << i; a.bit != want {
			t.Errorf("%s is %#x, want %#x as on the wire", a.name, uint32(a.bit), uint32(want))
		}
		checkAction(t, a.bit, a.name)
		all |= a.bit
	}
	if all != option.AllActions {
		t.Errorf("all actions together are %#x, AllActions is %#x", uint32(all), uint32(option.AllActions))
	}
}

func TestStepBits(t *testing.T) {
	var all option.Step
	for i, s := range stepTable {
		if want := option.Step(1) << i; s.bit != want {
			t.Errorf("%s is %#x, want %#x as on the wire", s.name, uint32(s.bit), uint32(want))
		}
		checkStep(t, s.bit, s.name)
		all |= s.bit
	}
	if all != option.AllSteps {
		t.Errorf("all steps together are %#x, AllSteps is %#x", uint32(all), uint32(option.AllSteps))
	}
}

func TestStepGroups(t *testing.T) {
	for _, s := range stepTable {
		var groups int
		for _, group := range []option.Step{option.NoEventSteps, option.NoReplySteps, option.YesSteps} {
			if group.Has(s.bit) {
				groups++
			}
		}
		if groups != 1 {
			t.Errorf("%s is in %d groups, want exactly one", s.name, groups)
		}
		noReply := strings.HasPrefix(s.name, "no-reply-")
		if option.NoReplySteps.Has(s.bit) != noReply {
			t.Errorf("%s in NoReplySteps: %t, want %t by its name", s.name, !noReply, noReply)
		}
		if noEvent := strings.HasPrefix(s.name, "no-") && !noReply; option.NoEventSteps.Has(s.bit) != noEvent {
			t.Errorf("%s in NoEventSteps: %t, want %t by its name", s.name, !noEvent, noEvent)
		}
	}
	// All of SMFIP_NR_* together (libmilter mfdef.h).
	if want := option.Step(0xff080); option.NoReplySteps != want {
		t.Errorf("NoReplySteps = %#x, want %#x", uint32(option.NoReplySteps), uint32(want))
	}
}

func TestFlagStrings(t *testing.T) {
	checkAction(t, option.NoActions, "none")
	checkAction(t, option.ActionQuarantine|option.ActionAddHeaders, "add-headers|quarantine")
	checkAction(t, 0x8000, "0x8000")
	checkAction(t, option.ActionChangeBody|0xf0000000, "change-body|0xf0000000")
	checkAction(t, option.DefaultActions, "add-headers|change-body|add-envelope-recipient|delete-envelope-recipient")
	checkStep(t, option.NoSteps, "none")
	checkStep(t, option.StepSkip|option.StepNoBody, "no-body|skip")
	// libmilter's SMFIP_MDS_256K and SMFIP_MDS_1M have no name here: they are never taken.
	checkStep(t, option.StepNoData|0x30000000, "no-data|0x30000000")
	checkStep(t, option.DefaultSteps,
		"no-connect|no-helo|no-envelope-from|no-envelope-recipient|no-body|no-headers")
}

func checkAction(t *testing.T, a option.Action, name string) {
	t.Helper()
	if got := a.String(); got != name {
		t.Errorf("Action(%#x).String() = %q, want %q", uint32(a), got, name)
	}
	if got, err := option.ParseAction(name); err != nil || got != a {
		t.Errorf("ParseAction(%q) = %#x, %v; want %#x", name, uint32(got), err, uint32(a))
	}
}

func checkStep(t *testing.T, s option.Step, name string) {
	t.Helper()
	if got := s.String(); got != name {
		t.Errorf("Step(%#x).String() = %q, want %q", uint32(s), got, name)
	}
	if got, err := option.ParseStep(name); err != nil || got != s {
		t.Errorf("ParseStep(%q) = %#x, %v; want %#x", name, uint32(got), err, uint32(s))
	}
}

func TestParseFlagErrors(t *testing.T) {
	for _, tt := range []struct{ name, in, fault string }{
		{"empty", "", `""`},
		{"empty word", "add-headers|", `""`},
		{"no such name", "add-headers|no-such", `"no-such"`},
		{"none among others", "none|add-headers", `"none"`},
		{"other case", "Add-Headers", `"Add-Headers"`},
		{"blanks", "add-headers | quarantine", `"add-headers "`},
		{"prefix alone", "0x", `"0x"`},
		{"no hexadecimal number", "0xg", `"0xg"`},
		{"above 32 bits", "0x100000000", `"0x100000000"`},
		{"sign", "0x-1", `"0x-1"`},
		{"decimal", "12", `"12"`},
		{"hexadecimal without prefix", "ff", `"ff"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := option.ParseAction(tt.in)
			if want := "option: unknown action " + tt.fault; err == nil || err.Error() != want {
				t.Errorf("ParseAction(%q): error %v, want %q", tt.in, err, want)
			}
		})
	}
	_, err := option.ParseStep("skip|add-headers")
	if want := `option: unknown step "add-headers"`; err == nil || err.Error() != want {
		t.Errorf("ParseStep with an action: error %v, want %q", err, want)
	}
}

func TestHas(t *testing.T) {
	a := option.ActionAddHeaders | option.ActionQuarantine
	if !a.Has(option.ActionQuarantine) || !a.Has(a) || !a.Has(option.NoActions) {
		t.Errorf("%v lacks one of its own", a)
	}
	if a.Has(option.ActionQuarantine | option.ActionChangeBody) {
		t.Errorf("%v has change-body, which was not put in", a)
	}
	s := option.StepSkip | option.StepNoData
	if !s.Has(option.StepSkip) || !s.Has(option.NoSteps) || s.Has(option.StepSkip|option.StepNoBody) {
		t.Errorf("%v: Has is wrong about skip, none or no-body", s)
	}
}

func TestCombine(t *testing.T) {
	offer := option.Option{Version: 6, Actions: 0x1ff, Steps: 0x1fffff}
	for _, tt := range []struct {
		name         string
		offer        option.Option
		answer, want option.Option
		err          string
	}{
		{"takes all", offer, offer, offer, ""},
		{
			"takes less", offer,
			option.Option{Version: 4, Actions: option.ActionQuarantine, Steps: option.StepNoBody},
			option.Option{Version: 4, Actions: option.ActionQuarantine, Steps: option.StepNoBody}, "",
		},
		{
			"wants what was not offered",
			option.Option{Version: 2, Actions: 0x3f, Steps: 0x7f},
			option.Option{Version: 2, Actions: option.ActionSetSymbolList | option.ActionQuarantine, Steps: option.StepSkip},
			option.Option{Version: 2, Actions: option.ActionQuarantine}, "",
		},
		{
			"newer", option.Option{Version: 4, Actions: 1, Steps: 1}, offer,
			option.Option{Version: 4, Actions: 1, Steps: 1},
			"option: version 6 was answered to an offer of version 4",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.offer
			checkError(t, got.Combine(tt.answer), tt.err)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Combine (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	for _, tt := range []struct {
		name           string
		o, other, want option.Option
		err            string
	}{
		{
			"an action is wanted when one wants it",
			option.Option{Version: 6, Actions: option.ActionAddHeaders},
			option.Option{Version: 6, Actions: option.ActionQuarantine},
			option.Option{Version: 6, Actions: option.ActionAddHeaders | option.ActionQuarantine}, "",
		},
		{
			"an event is left out when both leave it out",
			option.Option{Version: 6, Steps: option.StepNoBody | option.StepNoHelo | option.StepNoReplyHeader},
			option.Option{Version: 6, Steps: option.StepNoBody | option.StepNoData | option.StepNoReplyBody},
			option.Option{Version: 6, Steps: option.StepNoBody}, "",
		},
		{
			"what one asks for is there",
			option.Option{Version: 6, Steps: option.StepSkip},
			option.Option{Version: 6, Steps: option.StepHeaderValueWithLeadingSpace},
			option.Option{Version: 6, Steps: option.StepSkip | option.StepHeaderValueWithLeadingSpace}, "",
		},
		{
			"the version stays",
			option.Option{Version: 6}, option.Option{Version: 2}, option.Option{Version: 6}, "",
		},
		{
			"newer", option.Option{Version: 2}, option.Option{Version: 6, Actions: 1},
			option.Option{Version: 2}, "option: version 6 cannot be merged into version 2",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.o
			checkError(t, got.Merge(tt.other), tt.err)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Merge (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAll(t *testing.T) {
	// What Sendmail 8.17 and Postfix 3.7 offer.
	want := option.Option{Version: 6, Actions: 0x1ff, Steps: 0x1fffff}
	if diff := cmp.Diff(want, option.All()); diff != "" {
		t.Errorf("All (-want +got):\n%s", diff)
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
		t.Errorf("error is %v, want %q", err, want)
	}
}

func FuzzParseAction(f *testing.F) {
	for _, a := range actionTable {
		f.Add(a.name)
	}
	for _, s := range []string{"none", "", "0x0", "0x1ff", "add-headers|0xffffffff", "add-headers|add-headers", "none|none", "|"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := option.ParseAction(s)
		if err != nil {
			return
		}
		if again, err := option.ParseAction(a.String()); err != nil || again != a {
			t.Errorf("%q is %#x, its name %q is %#x, %v", s, uint32(a), a, uint32(again), err)
		}
	})
}

func FuzzParseStep(f *testing.F) {
	for _, s := range stepTable {
		f.Add(s.name, uint32(s.bit))
	}
	f.Add("none", uint32(0))
	f.Add("no-data|0x30000000", uint32(0x30000200))
	f.Fuzz(func(t *testing.T, s string, bits uint32) {
		if step, err := option.ParseStep(s); err == nil {
			if again, err := option.ParseStep(step.String()); err != nil || again != step {
				t.Errorf("%q is %#x, its name %q is %#x, %v", s, uint32(step), step, uint32(again), err)
			}
		}
		if step, err := option.ParseStep(option.Step(bits).String()); err != nil || uint32(step) != bits {
			t.Errorf("%#x is named %q, which is %#x, %v", bits, option.Step(bits), uint32(step), err)
		}
	})
}
