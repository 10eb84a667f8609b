package protocol_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/protocol"
)

func TestCommandNames(t *testing.T) {
	want := map[protocol.Command]string{
		'O': "negotiate", 'D': "define-macro", 'C': "connect", 'H': "helo", 'M': "envelope-from",
		'R': "envelope-recipient", 'T': "data", 'U': "unknown", 'L': "header", 'N': "end-of-header",
		'B': "body", 'E': "end-of-message", 'A': "abort", 'Q': "quit", 'K': "quit-new-connection",
		'Z': "command('Z')", 0: `command('\x00')`,
	}
	got := map[protocol.Command]string{}
	for c := range want {
		got[c] = c.String()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestReplyNames(t *testing.T) {
	want := map[protocol.Reply]string{
		'O': "negotiate", 'c': "continue", 'a': "accept", 'r': "reject", 't': "temporary-failure",
		'd': "discard", 's': "skip", 'y': "reply-code", 'f': "connection-failure", '4': "shutdown",
		'p': "progress", 'h': "add-header", 'i': "insert-header", 'm': "change-header", 'e': "change-from",
		'+': "add-recipient", '2': "add-recipient-with-parameters", '-': "delete-recipient",
		'b': "replace-body", 'q': "quarantine",
		'Z': "reply('Z')",
	}
	got := map[protocol.Reply]string{}
	for r := range want {
		got[r] = r.String()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestSocketFamilyNames(t *testing.T) {
	want := map[protocol.SocketFamily]string{
		'U': "unknown", 'L': "unix", '4': "inet", '6': "inet6", 'x': "family('x')",
	}
	got := map[protocol.SocketFamily]string{}
	for f := range want {
		got[f] = f.String()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// The numbers are milter manager's.
var statuses = []string{
	"default", "not-change", "continue", "reject", "discard", "accept", "temporary-failure", "no-reply",
	"skip", "all-options", "progress", "abort", "quarantine", "stop", "error",
}

func TestStatusNames(t *testing.T) {
	for i, want := range statuses {
		if got := protocol.Status(i).String(); got != want {
			t.Errorf("Status(%d) is called %q, want %q", i, got, want)
		}
		if got, err := protocol.ParseStatus(want); err != nil || got != protocol.Status(i) {
			t.Errorf("ParseStatus(%q) = %d, %v; want %d", want, got, err, i)
		}
	}
	if protocol.StatusError != 14 || len(statuses) != 15 {
		t.Errorf("StatusError is %d of %d, want the last one, 14", protocol.StatusError, len(statuses))
	}
	for _, s := range []protocol.Status{-1, 15} {
		want := map[protocol.Status]string{-1: "status(-1)", 15: "status(15)"}[s]
		if got := s.String(); got != want {
			t.Errorf("String() = %q, want %q", got, want)
		}
	}
	for _, name := range []string{"", "Continue", "status(15)", "tempfail"} {
		_, err := protocol.ParseStatus(name)
		if err == nil {
			t.Errorf("ParseStatus(%q) has no error", name)
		}
	}
	_, err := protocol.ParseStatus("tempfail")
	if want := `protocol: unknown status "tempfail"`; err == nil || err.Error() != want {
		t.Errorf("ParseStatus: error %v, want %s", err, want)
	}
}

func TestStatusIsPass(t *testing.T) {
	for s := protocol.StatusDefault; s <= protocol.StatusError; s++ {
		want := s == protocol.StatusDefault || s == protocol.StatusNotChange || s == protocol.StatusContinue
		if s.IsPass() != want {
			t.Errorf("%v.IsPass() = %t, want %t", s, !want, want)
		}
	}
}

func TestStatusCompare(t *testing.T) {
	// From the most to the least severe; those of one group are alike.
	groups := [][]protocol.Status{
		{protocol.StatusDiscard},
		{protocol.StatusReject},
		{protocol.StatusTemporaryFailure},
		{protocol.StatusContinue},
		{protocol.StatusSkip},
		{protocol.StatusAccept},
		{
			protocol.StatusDefault, protocol.StatusNotChange, protocol.StatusNoReply, protocol.StatusAllOptions,
			protocol.StatusProgress, protocol.StatusAbort, protocol.StatusQuarantine, protocol.StatusStop,
			protocol.StatusError,
		},
	}
	var n int
	for i, group := range groups {
		for _, s := range group {
			n++
			for j, other := range groups {
				for _, u := range other {
					got := s.Compare(u)
					if i == j && got != 0 || i < j && got <= 0 || i > j && got >= 0 {
						t.Errorf("%v.Compare(%v) = %d", s, u, got)
					}
				}
			}
		}
	}
	if n != len(statuses) {
		t.Errorf("%d statuses compared, want all %d", n, len(statuses))
	}
}
