package reply_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// What is decoded can be encoded and decoded again, and is the same from then on.
func FuzzDecodeReply(f *testing.F) {
	for _, tt := range replies {
		f.Add(tt.packet[4], []byte(tt.packet[5:]))
	}
	for _, tt := range recorded {
		b, err := hex.DecodeString(tt.packet)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[4], b[5:])
	}
	f.Fuzz(func(t *testing.T, letter byte, payload []byte) {
		before := bytes.Clone(payload)
		m, err := reply.Decode(protocol.Packet{Letter: letter, Payload: payload})
		if !bytes.Equal(before, payload) {
			t.Errorf("Decode changed its payload %q to %q", before, payload)
		}
		if err != nil {
			if m != nil || !strings.HasPrefix(err.Error(), "reply: ") {
				t.Errorf("%#v and error %v", m, err)
			}
			return
		}
		// A recipient whose parameters are empty goes back to the letter without.
		if got := m.Reply(); byte(got) != letter && (letter != '2' || got != protocol.ReplyAddRecipient) {
			t.Errorf("a %q packet was decoded as %v", letter, got)
		}
		packet := m.Append(nil)
		again, err := reply.Decode(unframe(t, packet))
		if err != nil {
			t.Fatalf("%#v was encoded as %q: %v", m, packet, err)
		}
		if diff := cmp.Diff(m, again, same); diff != "" {
			t.Errorf("round trip (-first +second):\n%s", diff)
		}
		if got := again.Append(nil); !bytes.Equal(got, packet) {
			t.Errorf("encoded as %q, then as %q", packet, got)
		}
	})
}

// What ParseSMTP takes, a strict client takes as well and reads the same lines;
// of what such a client takes, ParseSMTP refuses only what is above its limits
// or has different extended codes.
func FuzzParseSMTP(f *testing.F) {
	for _, s := range []string{
		"", "550", "550 ", "550-", "550 x", "550 5.7.1 x", "550-5.7.1 a\r\n550 5.7.1 b", "550-\r\n550 ", "250 ok",
		"550 a\nb", "550 a\r", "550-a\r\r\n550 b", "550-a\n550 b", "550 3 strikes", "550 4.7.1 x", "550 100%", "599 ok",
		"421 4.7.0 bye\r\n", "550  ", "550 5.7.1 ", "550-5.7.1 a\r\n550 b", "550 \x00", "550 \xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		strict, strictErr := readStrict(strings.TrimSuffix(text, "\r\n"))
		s, err := reply.ParseSMTP(text)
		if err != nil {
			if strictErr == nil && withinLimits(strict) {
				t.Errorf("a strict client takes %q: %v", text, err)
			}
			return
		}
		if strictErr != nil {
			t.Fatalf("%q is read as %#v, but a strict client says: %v", text, s, strictErr)
		}
		out := s.String()
		again, err := readStrict(out)
		if err != nil {
			t.Fatalf("%q is written as %q: %v", text, out, err)
		}
		for i, line := range strict.texts {
			// A blank behind an extended code and nothing else is dropped.
			if s.Extended != "" && line == s.Extended+" " {
				strict.texts[i] = s.Extended
			}
		}
		if diff := cmp.Diff(strict, again, cmp.AllowUnexported(strictReply{})); diff != "" {
			t.Errorf("%q is written as %q (-want +got):\n%s", text, out, diff)
		}
		if s2, err := reply.ParseSMTP(out); s2 != s || err != nil {
			t.Errorf("%q is %#v, then %#v, %v", text, s, s2, err)
		}
	})
}

// withinLimits reports whether ParseSMTP has no reason of its own to refuse r.
func withinLimits(r strictReply) bool {
	for _, text := range r.texts {
		if len(text) > reply.MaxLineLength {
			return false
		}
		if strings.HasPrefix(text, r.code[:1]) && len(r.texts) > 1 {
			return false // an extended code, perhaps
		}
	}
	return len(r.texts) <= reply.MaxLines
}

func FuzzNewSMTP(f *testing.F) {
	for _, tt := range []struct {
		code           int
		extended, text string
	}{
		{550, "5.7.1", "go away"}, {550, "", ""}, {450, "", "a\nb"}, {550, "", "3 strikes"}, {550, "", "5.7.1 a\n5.7.1\n5.7.1 c"},
		{550, "", "\n\n"}, {550, "5.7.1", "100% %s %%"}, {550, "", "a\r\r\nb"}, {550, "", " \n "}, {550, "4.7.1", ""},
		{421, "4.7.0", "a\r\nb\r\n"}, {250, "", "ok"}, {550, "", "4.7.1 x"}, {550, "5.1.", "x"}, {550, "", "\x1b[31m\x7f"},
		{599, "5.999.999", strings.Repeat("x", 981)}, {599, "", strings.Repeat("\n", 33)},
	} {
		f.Add(tt.code, tt.extended, tt.text)
	}
	f.Fuzz(func(t *testing.T, code int, extended, text string) {
		s, err := reply.NewSMTP(code, extended, text)
		if err != nil {
			if !s.IsZero() || !strings.HasPrefix(err.Error(), "reply: ") {
				t.Errorf("%#v and error %v", s, err)
			}
			return
		}
		if s.Code != code || extended != "" && s.Extended != extended {
			t.Errorf("code %d %q became %#v", code, extended, s)
		}
		checkSMTP(t, s)
	})
}
