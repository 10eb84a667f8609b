package miltertest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

func TestDiff(t *testing.T) {
	const (
		envelope = "Envelope:------------------------------\n"
		head     = "Header:--------------------------------\n"
		text     = "Body:----------------------------------\n"
		sender   = "  MAIL FROM:<a@example.com> BODY=8BITMIME\n"
		to       = "  RCPT TO:<b@example.com>\n  RCPT TO:c@example.com NOTIFY=NEVER\n"
		headers  = "  X: 1\n  Y: 2\n  x: 3\n"
		lines    = "  text\n"
	)
	tests := []struct {
		name   string
		change func(before, after *miltertest.Mail)
		want   string
	}{
		{"nothing", func(_, _ *miltertest.Mail) {}, envelope + sender + to + head + headers + text + lines},
		{"added header", func(_, after *miltertest.Mail) { after.Headers = append(after.Headers, header("Z", " 4")) },
			envelope + sender + to + head + headers + "+ Z: 4\n" + text + lines},
		{"changed header", func(_, after *miltertest.Mail) { after.Headers[1].Value = " 4" },
			envelope + sender + to + head + "  X: 1\n- Y: 2\n+ Y: 4\n  x: 3\n" + text + lines},
		{"changed headers in a row", func(_, after *miltertest.Mail) {
			after.Headers = []protocol.Header{header("New", " 0"), header("X", " 4"), header("y", " 5"), header("Z", " 6")}
		}, envelope + sender + to + head + "- X: 1\n+ New: 0\n+ X: 4\n- Y: 2\n+ y: 5\n- x: 3\n+ Z: 6\n" + text + lines},
		{"deleted header", func(_, after *miltertest.Mail) { after.Headers = after.Headers[1:] },
			envelope + sender + to + head + "- X: 1\n  Y: 2\n  x: 3\n" + text + lines},
		{"only the space before a value", func(_, after *miltertest.Mail) { after.Headers[0].Value = "1" },
			envelope + sender + to + head + "- X: 1\n+ X:1\n  Y: 2\n  x: 3\n" + text + lines},
		{"folded header", func(before, after *miltertest.Mail) {
			before.Headers = []protocol.Header{header("X", " 1\n\t2")}
			after.Headers = []protocol.Header{header("X", " 1\n\t3")}
		}, envelope + sender + to + head + "- X: 1\n- \t2\n+ X: 1\n+ \t3\n" + text + lines},
		{"envelope", func(_, after *miltertest.Mail) {
			after.From = "<>"
			after.Recipients = append(after.Recipients[1:], miltertest.Recipient{Path: "<d@example.com>"})
		}, envelope + "- MAIL FROM:<a@example.com> BODY=8BITMIME\n+ MAIL FROM:<> BODY=8BITMIME\n" +
			"- RCPT TO:<b@example.com>\n  RCPT TO:c@example.com NOTIFY=NEVER\n+ RCPT TO:<d@example.com>\n" + head + headers + text + lines},
		{"body", func(before, after *miltertest.Mail) {
			before.Body = []byte("1\r\n2\r\n\r\n3\r\n4\r\n5\r\n")
			after.Body = []byte("1\r\n2.5\r\n\r\n3\r\n5\r\n6\r\n")
		}, envelope + sender + to + head + headers + text + "  1\n- 2\n+ 2.5\n  \n  3\n- 4\n  5\n+ 6\n"},
		{"empty body", func(_, after *miltertest.Mail) { after.Body = nil },
			envelope + sender + to + head + headers + text + "- text\n"},
		{"only the end of the last line", func(_, after *miltertest.Mail) { after.Body = []byte("text") },
			envelope + sender + to + head + headers + text + "- text\n+ text\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, after := message(), message()
			tt.change(&before, &after)
			dump := miltertest.Diff(before, after)
			if diff := cmp.Diff(tt.want, dump.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got, want := dump.Changed(), tt.name != "nothing"; got != want {
				t.Errorf("Changed = %v, want %v", got, want)
			}
		})
	}
}

// Bodies too large for a line by line comparison.
func TestDiffLarge(t *testing.T) {
	const n = 3000
	var old, new strings.Builder
	for i := range n {
		fmt.Fprintf(&old, "old %d\r\nsame\r\n", i)
		fmt.Fprintf(&new, "new %d\r\nsame\r\n", i)
	}
	before, after := message(), message()
	before.Body = []byte("first\r\n" + old.String() + "last\r\n")
	after.Body = []byte("first\r\n" + new.String() + "last\r\n")
	count := map[byte]int{}
	var body []miltertest.Line
	for i, line := range miltertest.Diff(before, after) {
		count[line.Mark]++
		if strings.HasPrefix(line.Text, "Body:") {
			body = miltertest.Diff(before, after)[i+1:]
		}
	}
	// All but the first line, the last two, and what is not of the body.
	if want := map[byte]int{0: 3, ' ': 6 + 3, '-': 2*n - 1, '+': 2*n - 1}; !cmp.Equal(want, count) {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, count))
	}
	if first, last := body[0].String(), body[len(body)-1].String(); first != "  first" || last != "  last" {
		t.Errorf("the body is from %q to %q", first, last)
	}
}
