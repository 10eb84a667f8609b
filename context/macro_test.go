package context_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// stages are the commands whose macros are kept, in the order of the session.
var stages = []byte("CHMRTNE")

func TestMacroLookup(t *testing.T) {
	f := negotiated(t, 0, 0, nil)
	for i, c := range stages {
		_ = f.feed(macros(protocol.Command(c), "{all}", string(c), "own_"+string(c), "v", "empty", ""))
		if got := f.ctx.Macro("all"); got != string(c) {
			t.Errorf("after %d stages: all = %q, want that of the latest stage, %q", i+1, got, c)
		}
	}
	for _, c := range stages {
		if got := f.ctx.Macro("own_" + string(c)); got != "v" {
			t.Errorf("the macro of stage %c is %q", c, got)
		}
	}
	for _, name := range []string{"all", "{all}"} {
		if got := f.ctx.Macro(name); got != "E" {
			t.Errorf("Macro(%q) = %q, want E: braces make no difference", name, got)
		}
	}
	if got, ok := f.ctx.LookupMacro("{own_C}"); got != "v" || !ok {
		t.Errorf("LookupMacro = %q, %v", got, ok)
	}
	if got, ok := f.ctx.LookupMacro("empty"); got != "" || !ok {
		t.Errorf("LookupMacro of an empty value = %q, %v, want it defined", got, ok)
	}
	for _, name := range []string{"none", "", "{}", "{", "al"} {
		if got, ok := f.ctx.LookupMacro(name); got != "" || ok {
			t.Errorf("LookupMacro(%q) = %q, %v", name, got, ok)
		}
	}
	want := map[string]string{"all": "E", "empty": ""}
	for _, c := range stages {
		want["own_"+string(c)] = "v"
	}
	if diff := cmp.Diff(want, f.ctx.AvailableMacros()); diff != "" {
		t.Errorf("AvailableMacros (-want +got):\n%s", diff)
	}
	f.expect("macros have no reply")
}

// TestMacrosOfEvent: Macros returns those of the current event, as sent.
func TestMacrosOfEvent(t *testing.T) {
	var f *fed
	f = negotiated(t, 0, 0, func(event string) protocol.Status {
		f.add("%v", f.ctx.Macros())
		return protocol.StatusContinue
	})
	for _, e := range events() {
		_ = f.feed(macros(e.command, "{name}", e.name, "x", ""), e.message)
		lines := f.take()
		want := fmt.Sprintf("[{{name} %s} {x }]", e.name)
		if !slices.Contains([]byte(stages), byte(e.command)) {
			want = "[]"
		}
		if lines[1] != want {
			t.Errorf("%s: Macros = %s, want %s", e.name, lines[1], want)
		}
	}
}

// TestMacroClear: a command drops the macros of what comes after it (libmilter
// engine.c), and a D replaces those of its stage.
func TestMacroClear(t *testing.T) {
	tests := []struct {
		command protocol.Message
		left    string // the stages whose macros are left
	}{
		{negotiateMsg, ""}, {connectMsg, "C"}, {heloMsg, "CH"}, {mailMsg, "CHM"}, {rcptMsg, "CHMR"},
		{dataMsg, "CHMRTNE"}, {headerMsg, "CHMRTNE"}, {eohMsg, "CHMRTNE"}, {bodyMsg, "CHMRTNE"}, {unknownMsg, "CHMRTNE"},
		{eomMsg, "CH"}, // the mail has ended
	}
	for _, test := range tests {
		t.Run(test.command.Command().String(), func(t *testing.T) {
			f := feed(t, forever())
			record(f.ctx, f.journal, nil)
			c := test.command.Command()
			if c != 'O' {
				_ = f.feed(negotiateMsg)
			}
			for _, e := range events() {
				if e.command == c && c != 'U' {
					_ = f.feed(e.lead...)
				}
			}
			for _, s := range stages {
				_ = f.feed(macros(protocol.Command(s), "from_"+string(s), "v"))
			}
			if err := f.feed(test.command); err != nil {
				t.Fatal(err)
			}
			left := ""
			for _, s := range stages {
				if _, ok := f.ctx.LookupMacro("from_" + string(s)); ok {
					left += string(s)
				}
			}
			if left != test.left {
				t.Errorf("the macros of %q are left, want %q", left, test.left)
			}
		})
	}
}

func TestMacroReplace(t *testing.T) {
	f := negotiated(t, 0, 0, nil)
	_ = f.feed(macros('C', "a", "1", "b", "2"), macros('C', "a", "3"))
	if diff := cmp.Diff(map[string]string{"a": "3"}, f.ctx.AvailableMacros()); diff != "" {
		t.Errorf("the whole stage is replaced (-want +got):\n%s", diff)
	}
	_ = f.feed(macros('C'))
	if got := f.ctx.Macro("a"); got != "3" {
		t.Errorf("a list without macros changed something: %q", got)
	}
}

// TestDefineMacro: D for any letter, empty, odd or cut off, anywhere, is fine;
// only D without a letter is a fault.
func TestDefineMacro(t *testing.T) {
	tests := []struct {
		name    string
		payload string
		want    string // what OnDefineMacro sees
		i       string // the macro i after it
	}{
		{"one", "Mi\x00Q1\x00", "envelope-from [{i Q1}]", "Q1"},
		{"header, as from Postfix", "Li\x00Q1\x00", "header [{i Q1}]", ""},
		{"body", "Bi\x00Q1\x00", "body [{i Q1}]", ""},
		{"unknown, empty", "U", "unknown []", ""},
		{"any letter", "zi\x00Q1\x00", "command('z') [{i Q1}]", ""},
		{"NUL letter", "\x00i\x00Q1\x00", `command('\x00') [{i Q1}]`, ""},
		{"empty", "H", "helo []", ""},
		{"odd", "Hi\x00Q1\x00odd\x00", "helo [{i Q1} {odd }]", "Q1"},
		{"value without NUL", "Hi\x00Q1", "helo [{i }]", ""},
		{"name without NUL", "Hi\x00Q1\x00x", "helo [{i Q1}]", "Q1"},
		{"empty name", "H\x00v\x00i\x00Q1\x00", "helo [{ v} {i Q1}]", "Q1"},
	}
	for _, test := range tests {
		for _, where := range []string{"first", "negotiated", "in a mail"} {
			t.Run(test.name+" "+where, func(t *testing.T) {
				f := feed(t, forever())
				recordEnds(f.ctx, f.journal)
				f.ctx.OnDefineMacro(func(_ *context.ClientContext, c protocol.Command, list []protocol.Macro) {
					f.add("%v %v", c, list)
				})
				if where != "first" {
					_ = f.feed(negotiateMsg)
				}
				if where == "in a mail" {
					_ = f.feed(mailMsg, rcptMsg)
				}
				f.replies()
				mustBe(t, "feed", f.feed(packet('D', test.payload)), "none")
				f.expect("no reply")
				f.happened("one event", test.want)
				if got := f.ctx.Macro("i"); got != test.i {
					t.Errorf("i = %q, want %q", got, test.i)
				}
			})
		}
	}
	f := negotiated(t, 0, 0, nil)
	mustBe(t, "without a letter", f.feed(packet('D', "")), "ErrProtocol")
	f.happened("the end", "error ErrProtocol", "finished ErrProtocol")
}
