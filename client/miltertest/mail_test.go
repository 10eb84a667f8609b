package miltertest_test

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

func TestParseMail(t *testing.T) {
	tests := []struct {
		name     string
		text     string
		want     miltertest.Mail
		wantText string // "": as it was
	}{
		{"CRLF", "From: a\r\nSubject: hello\r\n\r\nbody\r\n",
			miltertest.Mail{Headers: []protocol.Header{header("From", " a"), header("Subject", " hello")}, Body: []byte("body\r\n")}, ""},
		{"LF, the last line without", "Subject: hello\n\nb1\n\nb2",
			miltertest.Mail{Headers: []protocol.Header{header("Subject", " hello")}, Body: []byte("b1\r\n\r\nb2\r\n")},
			"Subject: hello\r\n\r\nb1\r\n\r\nb2\r\n"},
		{"values are kept as they are", "A:b\r\nC:  d \r\nE:\tf\r\nG:\r\nH: \xff:\r\n\r\n",
			miltertest.Mail{Headers: []protocol.Header{header("A", "b"), header("C", "  d "), header("E", "\tf"), header("G", ""), header("H", " \xff:")}}, ""},
		{"folded", "A: b\r\n c\r\n\t d\r\nE:\r\n f\r\n\r\n",
			miltertest.Mail{Headers: []protocol.Header{header("A", " b\n c\n\t d"), header("E", "\n f")}}, ""},
		{"From_ line of an mbox", "From someone@example.com Mon Jan  1 00:00:00 2024\nA: b\n\nx\n",
			miltertest.Mail{Headers: []protocol.Header{header("A", " b")}, Body: []byte("x\r\n")}, "A: b\r\n\r\nx\r\n"},
		{"header only", "A: b\r\n", miltertest.Mail{Headers: []protocol.Header{header("A", " b")}}, "A: b\r\n\r\n"},
		{"body only", "\r\nx\r\n", miltertest.Mail{Body: []byte("x\r\n")}, ""},
		{"dots and bare CRs in the body", "\r\n.\r\nx\ry\r\n\r\n", miltertest.Mail{Body: []byte(".\r\nx\ry\r\n\r\n")}, ""},
		{"nothing", "", miltertest.Mail{}, "\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := miltertest.ParseMail(strings.NewReader(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, m); diff != "" {
				t.Errorf("Mail (-want +got):\n%s", diff)
			}
			want := tt.wantText
			if want == "" {
				want = tt.text
			}
			if diff := cmp.Diff(want, m.String()); diff != "" {
				t.Errorf("String (-want +got):\n%s", diff)
			}
			var b strings.Builder
			if n, err := m.WriteTo(&b); err != nil || n != int64(len(want)) || b.String() != want {
				t.Errorf("WriteTo = %d, %v and %q, want %q", n, err, b.String(), want)
			}
		})
	}
}

func TestParseMailErrors(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"no colon", "A: b\nhello\n\n", `miltertest: line 2 of the mail is no header field: "hello"`},
		{"no name", ": b\n", `miltertest: line 1 of the mail is no header field: ": b"`},
		{"blank in the name", "A b: c\n", `miltertest: line 1 of the mail is no header field: "A b: c"`},
		{"name of other characters", "Ä: c\n", `miltertest: line 1 of the mail is no header field: "Ä: c"`},
		{"From_ line in the middle", "A: b\nFrom c\n", `miltertest: line 2 of the mail is no header field: "From c"`},
		{"continuation of nothing", " A: b\n", `miltertest: line 1 of the mail continues no header field: " A: b"`},
		{"NUL", "A: b\x00\n", `miltertest: line 1 of the mail has a NUL: "A: b\x00"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := miltertest.ParseMail(strings.NewReader(tt.text))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error = %v, want %s", err, tt.want)
			}
		})
	}
	fault := errors.New("disk on fire")
	if _, err := miltertest.ParseMail(iotest.ErrReader(fault)); err != fault {
		t.Errorf("error = %v, want the reader's", err)
	}
}

func TestHeaderValues(t *testing.T) {
	m := miltertest.Mail{Headers: []protocol.Header{header("X", " 1"), header("Y", " 2"), header("x", "\t3\n 4 ")}}
	for name, want := range map[string][]string{"X": {"1", "3\n 4"}, "y": {"2"}, "z": nil} {
		if diff := cmp.Diff(want, m.HeaderValues(name)); diff != "" {
			t.Errorf("HeaderValues(%q) (-want +got):\n%s", name, diff)
		}
	}
}

func FuzzParseMail(f *testing.F) {
	for _, seed := range []string{"A: b\r\n c\r\n\r\nx\r\n", "From x\nA:\n\n\n", "\n", "A: b\r\r\n\r\n\r", ":", " "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := miltertest.ParseMail(strings.NewReader(text))
		if err != nil {
			return
		}
		again, err := miltertest.ParseMail(strings.NewReader(m.String()))
		if err != nil {
			t.Fatalf("the text of the mail does not parse: %v\n%q", err, m.String())
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Errorf("its text parses as another mail (-first +second):\n%s", diff)
		}
	})
}
