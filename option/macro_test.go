package option_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/option"
)

func TestMacroStage(t *testing.T) {
	// The numbers of libmilter mfapi.h: end of message is 5, end of header 6.
	want := []string{
		"connect", "helo", "envelope-from", "envelope-recipient", "data", "end-of-message", "end-of-header",
		"macro-stage-7",
	}
	var got []string
	for stage := range option.MacroStage(option.NumMacroStages + 1) {
		got = append(got, stage.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names in the order of the numbers (-want +got):\n%s", diff)
	}
	if option.MacroStageEndOfMessage != 5 || option.MacroStageEndOfHeader != 6 {
		t.Errorf("end of message is %d and end of header %d, want 5 and 6",
			option.MacroStageEndOfMessage, option.MacroStageEndOfHeader)
	}
}

func TestMacroRequestsSet(t *testing.T) {
	var m option.MacroRequests
	if !m.Empty() {
		t.Error("the zero value is not empty")
	}
	names := []string{"j", "{auth_authen}"}
	set(t, &m, option.MacroStageEnvelopeFrom, names...)
	set(t, &m, option.MacroStageConnect, "_")
	set(t, &m, option.MacroStageConnect, "i", "j") // replaces
	set(t, &m, option.MacroStageHelo)
	names[0] = "changed" // the list is a copy
	if m.Empty() {
		t.Error("still empty after Set")
	}
	if want, got := `connect="i j" helo="" envelope-from="j {auth_authen}"`, m.String(); got != want {
		t.Errorf("String() = %s, want %s", got, want)
	}

	for _, tt := range []struct {
		name  string
		stage option.MacroStage
		want  []string
		ok    bool
	}{
		{"a list", option.MacroStageEnvelopeFrom, []string{"j", "{auth_authen}"}, true},
		{"an empty list is a list", option.MacroStageHelo, nil, true},
		{"no list", option.MacroStageData, nil, false},
		{"no such stage", 7, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := m.Get(tt.stage)
			if diff := cmp.Diff(tt.want, got); diff != "" || ok != tt.ok {
				t.Errorf("Get: ok %t, want %t (-want +got):\n%s", ok, tt.ok, diff)
			}
		})
	}
}

func TestMacroRequestsSetErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		stage option.MacroStage
		macro string
		want  string
	}{
		{"no such stage", 7, "i", "option: macros requested for unknown stage 7"},
		{"empty", option.MacroStageData, "", `option: macro name "" requested for data is empty or contains a separator`},
		{"blank", option.MacroStageData, "a b", `option: macro name "a b" requested for data is empty or contains a separator`},
		{"comma", option.MacroStageData, "a,b", `option: macro name "a,b" requested for data is empty or contains a separator`},
		{"NUL", option.MacroStageData, "a\x00", `option: macro name "a\x00" requested for data is empty or contains a separator`},
		{"newline", option.MacroStageData, "a\n", `option: macro name "a\n" requested for data is empty or contains a separator`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var m option.MacroRequests
			set(t, &m, option.MacroStageData, "before")
			checkError(t, m.Set(tt.stage, "good", tt.macro), tt.want)
			if want, got := `data="before"`, m.String(); got != want {
				t.Errorf("after the error: %s, want %s as before", got, want)
			}
		})
	}
}

func TestMacroRequestsMerge(t *testing.T) {
	var m, other option.MacroRequests
	set(t, &m, option.MacroStageConnect, "j", "_")
	set(t, &m, option.MacroStageHelo, "i")
	set(t, &other, option.MacroStageConnect, "_", "v", "j", "{daemon_name}")
	set(t, &other, option.MacroStageHelo)
	set(t, &other, option.MacroStageEndOfMessage)
	set(t, &other, option.MacroStageEndOfHeader, "i")
	m.Merge(&other)
	m.Merge(nil)
	want := `connect="j _ v {daemon_name}" helo="i" end-of-message="" end-of-header="i"`
	if got := m.String(); got != want {
		t.Errorf("merged: %s, want %s", got, want)
	}
	if want, got := `connect="_ v j {daemon_name}" helo="" end-of-message="" end-of-header="i"`, other.String(); got != want {
		t.Errorf("the other one is now %s, want %s as before", got, want)
	}
}

// A MacroRequests is a plain value: what is merged into one copy does not show
// up in another one.
func TestMacroRequestsCopies(t *testing.T) {
	var m, x, y, z option.MacroRequests
	set(t, &m, option.MacroStageConnect, "a")
	set(t, &x, option.MacroStageConnect, "b", "c") // the array may have room for more now
	m.Merge(&x)
	set(t, &y, option.MacroStageConnect, "y")
	set(t, &z, option.MacroStageConnect, "z")
	one, two := m, m
	one.Merge(&y)
	two.Merge(&z)
	if want, got := `connect="a b c y"`, one.String(); got != want {
		t.Errorf("the first copy is %s, want %s", got, want)
	}
	if want, got := `connect="a b c z"`, two.String(); got != want {
		t.Errorf("the second copy is %s, want %s", got, want)
	}
}

func TestMacroRequestsNil(t *testing.T) {
	var m *option.MacroRequests
	if !m.Empty() || m.String() != "" {
		t.Errorf("nil: Empty() = %t, String() = %q; want true and nothing", m.Empty(), m)
	}
	if names, ok := m.Get(option.MacroStageConnect); ok || names != nil {
		t.Errorf("nil: Get = %q, %t; want nothing", names, ok)
	}
}

func set(t *testing.T, m *option.MacroRequests, stage option.MacroStage, names ...string) {
	t.Helper()
	if err := m.Set(stage, names...); err != nil {
		t.Fatal(err)
	}
}
