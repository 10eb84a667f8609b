package context_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// TestMalformed: every malformed packet ends the session with an error that names
// the command and the fault, wherever it comes.
func TestMalformed(t *testing.T) {
	tests := []struct {
		name   string
		packet raw
		want   []string // parts of the error
		after  []protocol.Message
	}{
		{"length 0", raw{0, 0, 0, 0}, []string{"bad packet length", "0 bytes"}, nil},
		{"length 2^32-1", raw{0xff, 0xff, 0xff, 0xff}, []string{"bad packet length", "4294967295"}, nil},
		{"length above the limit", raw{0, 0x10, 0, 2}, []string{"bad packet length", "1048578"}, nil},
		{"HTTP", raw("GET / HTTP/1.1\r\n"), []string{"looks like HTTP"}, nil},
		{"TLS", raw("\x16\x03\x01\x02\x00\x01"), []string{"looks like TLS"}, nil},
		{"SSH", raw("SSH-2.0-x\r\n"), []string{"looks like SSH"}, nil},
		{"unknown command", packet('X', "abc"), []string{`'X'`, "3 bytes"}, nil},
		{"macros without a letter", packet('D', ""), []string{"define-macro", "letter"}, nil},
		{"connect without NUL", packet('C', "mx"), []string{"connect", `"mx"`}, nil},
		{"connect without family", packet('C', "mx\x00"), []string{"connect", "family"}, nil},
		{"connect with an unknown family", packet('C', "mx\x009\x00\x19x\x00"), []string{"connect", "family"}, nil},
		{"connect without port", packet('C', "mx\x004"), []string{"connect", "port"}, nil},
		{"connect with a bad address", packet('C', "mx\x004\x00\x19999.1.1.1\x00"), []string{"connect", "999.1.1.1"}, nil},
		{"helo without NUL", packet('H', "mx"), []string{"helo", `"mx"`}, nil},
		{"helo without payload", packet('H', ""), []string{"helo"}, nil},
		{"mail without NUL", packet('M', "<a>"), []string{"envelope-from", `"<a>"`}, nil},
		{"recipient without NUL", packet('R', "<a>"), []string{"envelope-recipient", `"<a>"`}, []protocol.Message{mailMsg}},
		{"unknown without NUL", packet('U', "FOO"), []string{"unknown", `"FOO"`}, nil},
		{"header with one string", packet('L', "Subject\x00"), []string{"header", "value"}, []protocol.Message{mailMsg, rcptMsg}},
		{"header without NUL", packet('L', "Subject\x00x"), []string{"header", "NUL"}, []protocol.Message{mailMsg, rcptMsg}},
		{"header without a name", packet('L', "\x00x\x00"), []string{"header", "name"}, []protocol.Message{mailMsg, rcptMsg}},
		{"negotiate, short", packet('O', "1234"), []string{"negotiate"}, nil},
	}
	inMail := []protocol.Message{negotiateMsg, connectMsg, heloMsg, mailMsg, rcptMsg}
	for _, test := range tests {
		for _, where := range []struct {
			name    string
			lead    []protocol.Message
			illegal string // the letters that are out of order there
		}{
			{"first", nil, "CHMRUL"},
			{"negotiated", append([]protocol.Message{negotiateMsg}, test.after...), "O"},
			{"in a mail", inMail, "OC"},
		} {
			t.Run(test.name+" "+where.name, func(t *testing.T) {
				f := feed(t, forever())
				record(f.ctx, f.journal, nil)
				var told error
				f.ctx.OnError(func(_ *context.ClientContext, err error) { told = err })
				_ = f.feed(where.lead...)
				f.replies()
				f.take()
				err := f.feed(test.packet)
				mustBe(t, "feed", err, "ErrProtocol")
				if told == nil || told.Error() != err.Error() {
					t.Errorf("OnError was told %v, Feed returned %v", told, err)
				}
				letter := append(test.packet[:len(test.packet):len(test.packet)], 0)[4]
				if !strings.ContainsRune(where.illegal, rune(letter)) || test.packet[0] != 0 {
					for _, want := range test.want {
						if !strings.Contains(fmt.Sprint(told), want) {
							t.Errorf("OnError was told %q, want %q in it", told, want)
						}
					}
				}
				f.expect("no reply")
				got := f.take()
				aborted := slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, "abort") })
				if mail := len(where.lead) > 1; aborted != mail {
					t.Errorf("abort = %v, want %v: %q", aborted, mail, got)
				}
				if got[len(got)-1] != "finished ErrProtocol" {
					t.Errorf("the last event: %q", got)
				}
			})
		}
	}
}

// TestLongQuotes: what a peer sends is quoted, escaped, and not at any length.
func TestLongQuotes(t *testing.T) {
	f := negotiated(t, 0, 0, nil)
	err := f.feed(packet('H', strings.Repeat("\n", 10000)))
	if err == nil || len(err.Error()) > 500 || strings.Contains(err.Error(), "\n") {
		t.Errorf("error of %d bytes: %.600q", len(fmt.Sprint(err)), err)
	}
}

func TestMaxPayload(t *testing.T) {
	for _, test := range []struct {
		limit, size int
		want        string
	}{{0, 1 << 20, "none"}, {0, 1<<20 + 1, "ErrProtocol"}, {100, 100, "none"}, {100, 101, "ErrProtocol"}} {
		config := forever()
		config.MaxPayload = test.limit
		f := feed(t, config)
		_ = f.feed(negotiateMsg)
		mustBe(t, fmt.Sprintf("%d bytes with limit %d", test.size, test.limit), f.feed(packet('U', strings.Repeat("x", test.size-1)+"\x00")), test.want)
	}
}
