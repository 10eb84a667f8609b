package protocol_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/protocol"
)

func TestMacroListGet(t *testing.T) {
	const list = "j\x00mx\x00{daemon_name}\x00MTA\x00{i}\x00ID\x00{rcpt_host}\x00\x00bare\x00b\x00j\x00second\x00{}\x00braces\x00last\x00"
	for _, tt := range []struct {
		name, macro string
		want        string
		ok          bool
	}{
		{"one letter", "j", "mx", true},
		{"one letter, asked for in braces", "{j}", "mx", true},
		{"one letter, sent in braces", "i", "ID", true},
		{"one letter, sent and asked for in braces", "{i}", "ID", true},
		{"long name", "{daemon_name}", "MTA", true},
		{"long name, asked for without braces", "daemon_name", "MTA", true},
		{"long name, sent without braces", "{bare}", "b", true},
		{"empty value", "{rcpt_host}", "", true},
		{"name without a value", "last", "", true},
		{"braces with nothing in them", "{}", "braces", true},
		{"a value is no name", "MTA", "", false},
		{"the beginning of a name", "daemon", "", false},
		{"other case", "J", "", false},
		{"empty name", "", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := protocol.MacroList(list).Get(tt.macro)
			if string(got) != tt.want || ok != tt.ok {
				t.Errorf("Get(%q) = %q, %t; want %q, %t", tt.macro, got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestMacroListAll(t *testing.T) {
	for _, tt := range []struct {
		name, list string
		want       []protocol.Macro
	}{
		{"nothing", "", nil},
		{"no NUL", "abc", nil},
		{"one", "a\x001\x00", []protocol.Macro{{Name: "a", Value: "1"}}},
		{"a value that looks like a name", "a\x00b\x00c\x00a\x00", []protocol.Macro{{Name: "a", Value: "b"}, {Name: "c", Value: "a"}}},
		{"a name without a value", "a\x001\x00b\x00", []protocol.Macro{{Name: "a", Value: "1"}, {Name: "b"}}},
		{"a value that does not end", "a\x001\x00b\x002", []protocol.Macro{{Name: "a", Value: "1"}, {Name: "b"}}},
		{"a name that does not end", "a\x001\x00b", []protocol.Macro{{Name: "a", Value: "1"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []protocol.Macro
			for name, value := range protocol.MacroList(tt.list).All() {
				got = append(got, protocol.Macro{Name: name, Value: string(value)})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("All (-want +got):\n%s", diff)
			}
		})
	}
	for name := range protocol.MacroList("a\x001\x00b\x002\x00").All() {
		if name != "a" {
			t.Errorf("%q came after the loop was left", name)
		}
		break
	}
}

// Context looks macros up in the packets themselves; that allocates nothing.
func TestMacroListGetAllocates(t *testing.T) {
	list := protocol.MacroList("j\x00mx\x00{daemon_name}\x00MTA\x00")
	allocs := testing.AllocsPerRun(100, func() {
		if _, ok := list.Get("daemon_name"); !ok {
			t.Fatal("not found")
		}
		if _, ok := list.Get("{none}"); ok {
			t.Fatal("found")
		}
	})
	if allocs != 0 {
		t.Errorf("Get allocates %v times, want 0", allocs)
	}
}

func TestMacroName(t *testing.T) {
	for name, want := range map[string]string{
		"i": "i", "{i}": "i", "{auth_authen}": "auth_authen", "auth_authen": "auth_authen",
		"": "", "{": "{", "{}": "{}", "{a": "{a", "a}": "a}",
	} {
		if got := protocol.MacroName(name); got != want {
			t.Errorf("MacroName(%q) = %q, want %q", name, got, want)
		}
	}
}
