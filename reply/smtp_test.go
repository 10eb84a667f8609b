package reply_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

func TestNewSMTP(t *testing.T) {
	long := strings.Repeat("x", reply.MaxLineLength)
	for _, tt := range []struct {
		name           string
		code           int
		extended, text string
		want           reply.SMTP
		wantText       string // of String
	}{
		{"all", 550, "5.7.1", "go away", reply.SMTP{Code: 550, Extended: "5.7.1", Text: "go away"}, "550 5.7.1 go away"},
		{"code alone", 550, "", "", reply.SMTP{Code: 550}, "550"},
		{"code and extended code", 450, "4.2.0", "", reply.SMTP{Code: 450, Extended: "4.2.0"}, "450 4.2.0"},
		{"code and text", 421, "", "bye", reply.SMTP{Code: 421, Text: "bye"}, "421 bye"},
		{"smallest", 400, "4.0.0", "x", reply.SMTP{Code: 400, Extended: "4.0.0", Text: "x"}, "400 4.0.0 x"},
		{"largest", 599, "5.999.999", "x", reply.SMTP{Code: 599, Extended: "5.999.999", Text: "x"}, "599 5.999.999 x"},
		{"blanks stay", 550, "5.7.1", " a  b ", reply.SMTP{Code: 550, Extended: "5.7.1", Text: " a  b "}, "550 5.7.1  a  b "},
		{"tab", 550, "", "a\tb", reply.SMTP{Code: 550, Text: "a\tb"}, "550 a\tb"},
		{"percent signs", 550, "5.7.1", "100% %s %%", reply.SMTP{Code: 550, Extended: "5.7.1", Text: "100% %s %%"}, "550 5.7.1 100% %s %%"},
		{"two lines", 550, "5.7.1", "go\naway", reply.SMTP{Code: 550, Extended: "5.7.1", Text: "go\naway"}, "550-5.7.1 go\r\n550 5.7.1 away"},
		{"CRLF", 550, "5.7.1", "go\r\naway\r\n", reply.SMTP{Code: 550, Extended: "5.7.1", Text: "go\naway"}, "550-5.7.1 go\r\n550 5.7.1 away"},
		{"newline at the end", 550, "", "go\n", reply.SMTP{Code: 550, Text: "go"}, "550 go"},
		{"empty lines", 550, "5.7.1", "\n\nx", reply.SMTP{Code: 550, Extended: "5.7.1", Text: "\n\nx"}, "550-5.7.1\r\n550-5.7.1\r\n550 5.7.1 x"},
		{"nothing but newlines", 450, "", "\n\n", reply.SMTP{Code: 450, Extended: "4.0.0", Text: "\n"}, "450-4.0.0\r\n450 4.0.0"},
		{"lines get an extended code, 5xx", 550, "", "a\nb", reply.SMTP{Code: 550, Extended: "5.0.0", Text: "a\nb"}, "550-5.0.0 a\r\n550 5.0.0 b"},
		{"lines get an extended code, 4xx", 450, "", "a\nb", reply.SMTP{Code: 450, Extended: "4.0.0", Text: "a\nb"}, "450-4.0.0 a\r\n450 4.0.0 b"},
		{"extended code in the text", 550, "", "5.1.1 not here", reply.SMTP{Code: 550, Extended: "5.1.1", Text: "not here"}, "550 5.1.1 not here"},
		{"extended code is the text", 550, "", "5.1.1", reply.SMTP{Code: 550, Extended: "5.1.1"}, "550 5.1.1"},
		{
			"extended code in each line", 550, "", "5.1.1 a\n5.1.1\n5.1.1 c\nd",
			reply.SMTP{Code: 550, Extended: "5.1.1", Text: "a\n\nc\nd"}, "550-5.1.1 a\r\n550-5.1.1\r\n550-5.1.1 c\r\n550 5.1.1 d",
		},
		{"extended code in both", 550, "5.7.1", "5.1.1 x", reply.SMTP{Code: 550, Extended: "5.7.1", Text: "5.1.1 x"}, "550 5.7.1 5.1.1 x"},
		{"text begins with a digit", 550, "", "3 strikes", reply.SMTP{Code: 550, Extended: "5.0.0", Text: "3 strikes"}, "550 5.0.0 3 strikes"},
		{"text begins with a code of another class", 550, "", "4.7.1 x", reply.SMTP{Code: 550, Extended: "5.0.0", Text: "4.7.1 x"}, "550 5.0.0 4.7.1 x"},
		{"text begins with the digit of the class", 550, "", "5 strikes", reply.SMTP{Code: 550, Extended: "5.0.0", Text: "5 strikes"}, "550 5.0.0 5 strikes"},
		{"longest line", 550, "", long, reply.SMTP{Code: 550, Text: long}, "550 " + long},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := reply.NewSMTP(tt.code, tt.extended, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("NewSMTP (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.wantText, got.String()); diff != "" {
				t.Errorf("String (-want +got):\n%s", diff)
			}
			if got.IsZero() {
				t.Error("IsZero is true for a reply")
			}
			checkSMTP(t, got)
		})
	}
}

func TestNewSMTPMostLines(t *testing.T) {
	lines := slices.Repeat([]string{strings.Repeat("%", reply.MaxLineLength)}, reply.MaxLines)
	s, err := reply.NewSMTP(550, "5.999.999", strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	checkSMTP(t, s)
	// The largest reply there is fits into a packet.
	if n := len(unframe(t, reply.ReplyCode{SMTP: s}.Append(nil)).Payload); n > protocol.MaxChunk {
		t.Errorf("the payload has %d bytes, want at most %d", n, protocol.MaxChunk)
	}
}

func TestNewSMTPErrors(t *testing.T) {
	const class = "reply: class of extended code should be '4' or '5', a subject and a detail should follow: "
	long := strings.Repeat("x", reply.MaxLineLength+1)
	for _, tt := range []struct {
		name           string
		code           int
		extended, text string
		want           string
	}{
		{"code of success", 250, "", "ok", "reply: code should be 4XX or 5XX: 250"},
		{"code below", 399, "", "", "reply: code should be 4XX or 5XX: 399"},
		{"code above", 600, "", "", "reply: code should be 4XX or 5XX: 600"},
		{"no code", 0, "", "x", "reply: code should be 4XX or 5XX: 0"},
		{"code of two digits", 55, "", "", "reply: code should be 4XX or 5XX: 55"},
		{"negative code", -550, "", "", "reply: code should be 4XX or 5XX: -550"},
		{"extended code without dots", 550, "571", "", class + `"571"`},
		{"extended code with another class", 550, "3.7.1", "", class + `"3.7.1"`},
		{"extended code with a blank", 550, " 5.7.1", "", class + `" 5.7.1"`},
		{"extended code without detail", 550, "5.7", "", `reply: detail of extended code is missing: "5.7"`},
		{"extended code with an empty detail", 550, "5.7.", "", `reply: detail of extended code should be a number from 0 to 999: "5.7."`},
		{"extended code with an empty subject", 550, "5..1", "", `reply: subject of extended code should be a number from 0 to 999: "5..1"`},
		{"extended code with a long subject", 550, "5.1000.1", "", `reply: subject of extended code should be a number from 0 to 999: "5.1000.1"`},
		{"extended code with a long detail", 550, "5.1.1000", "", `reply: detail of extended code should be a number from 0 to 999: "5.1.1000"`},
		{"extended code with a letter", 550, "5.7.x", "", `reply: detail of extended code should be a number from 0 to 999: "5.7.x"`},
		{"extended code with both wrong", 550, "5.y.x", "", `reply: subject of extended code should be a number from 0 to 999: "5.y.x"`},
		{"extended code of four parts", 550, "5.7.1.2", "", `reply: detail of extended code should be a number from 0 to 999: "5.7.1.2"`},
		{"extended code with text", 550, "5.7.1 x", "", `reply: detail of extended code should be a number from 0 to 999: "5.7.1 x"`},
		{"extended code of the other class", 550, "4.7.1", "", `reply: extended code should have the class of the code: 550: "4.7.1"`},
		{"extended code of success", 450, "2.0.0", "", `reply: extended code should have the class of the code: 450: "2.0.0"`},
		{"NUL", 550, "", "a\x00b", `reply: line 1 of the text should not contain '\x00': "a\x00b"`},
		{"CR", 550, "", "a\rb", `reply: line 1 of the text should not contain '\r': "a\rb"`},
		{"CR CR LF", 550, "", "a\r\r\nb", `reply: line 1 of the text should not contain '\r': "a\r"`},
		{"control character in the second line", 550, "", "a\nb\x1b[31m", `reply: line 2 of the text should not contain '\x1b': "b\x1b[31m"`},
		{"DEL", 550, "", "\x7f", `reply: line 1 of the text should not contain '\x7f': "\x7f"`},
		{"UTF-8", 550, "", "a\ncafé", `reply: line 2 of the text should be ASCII: "café" at byte 4`},
		{"8 bits", 550, "", "\x8a250 ok", `reply: line 1 of the text should be ASCII: "\x8a250 ok" at byte 1`},
		{"33 lines", 550, "", strings.Repeat("\n", 32) + "x", "reply: text should have at most 32 lines: 33"},
		{"long line", 550, "", "a\n" + long, `reply: line 2 of the text should have at most 980 bytes, not 981; it begins with "` + long[:40] + `"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := reply.NewSMTP(tt.code, tt.extended, tt.text)
			if err == nil {
				t.Fatalf("no error, but %#v", got)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" || !got.IsZero() {
				t.Errorf("with %#v (-want +got):\n%s", got, diff)
			}
		})
	}
}

func TestZeroSMTP(t *testing.T) {
	var s reply.SMTP
	if !s.IsZero() || s.String() != "" {
		t.Errorf("the zero value: IsZero %t, String %q; want true and nothing", s.IsZero(), s)
	}
}

func TestParseSMTP(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       reply.SMTP
	}{
		{"all", "550 5.7.1 go away", reply.SMTP{Code: 550, Extended: "5.7.1", Text: "go away"}},
		{"CRLF at the end", "550 5.7.1 go away\r\n", reply.SMTP{Code: 550, Extended: "5.7.1", Text: "go away"}},
		{"code alone", "550", reply.SMTP{Code: 550}},
		{"code and blank", "550 ", reply.SMTP{Code: 550}},
		{"extended code alone", "450 4.2.0", reply.SMTP{Code: 450, Extended: "4.2.0"}},
		{"text alone", "421 bye", reply.SMTP{Code: 421, Text: "bye"}},
		{"nothing is put in", "550 3 strikes", reply.SMTP{Code: 550, Text: "3 strikes"}},
		{"extended code of another class is text", "550 4.7.1 x", reply.SMTP{Code: 550, Text: "4.7.1 x"}},
		{"lines", "550-5.7.1 a\r\n550-5.7.1\r\n550 5.7.1 c", reply.SMTP{Code: 550, Extended: "5.7.1", Text: "a\n\nc"}},
		{"lines without extended code", "550-a\r\n550 b", reply.SMTP{Code: 550, Text: "a\nb"}},
		{"empty lines", "550-\r\n550-\r\n550", reply.SMTP{Code: 550, Text: "\n\n"}},
		{"percent signs stay", "550 100%% %s", reply.SMTP{Code: 550, Text: "100%% %s"}},
		{"blanks stay", "550 5.7.1  a ", reply.SMTP{Code: 550, Extended: "5.7.1", Text: " a "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := reply.ParseSMTP(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ParseSMTP (-want +got):\n%s", diff)
			}
			want := strings.TrimSuffix(tt.text, "\r\n")
			if want == "550 " {
				want = "550"
			}
			if diff := cmp.Diff(want, got.String()); diff != "" {
				t.Errorf("String (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseSMTPErrors(t *testing.T) {
	long := strings.Repeat("x", reply.MaxLineLength+1)
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", `reply: line 1 does not begin with a three-digit code: ""`},
		{"newline alone", "\r\n", `reply: line 1 does not begin with a three-digit code: "\r\n"`},
		{"text", "hello", `reply: line 1 does not begin with a three-digit code: "hello"`},
		{"two digits", "55 x", `reply: line 1 does not begin with a three-digit code: "55 x"`},
		{"four digits", "5500 x", `reply: line 1: the code should be followed by " ": "5500 x"`},
		{"tab behind the code", "550\tx", `reply: line 1: the code should be followed by " ": "550\tx"`},
		{"last line with a hyphen", "550-x", `reply: line 1: the code should be followed by " ": "550-x"`},
		{"first line with a blank", "550 a\r\n550 b", `reply: line 1: the code should be followed by "-": "550 a\r\n550 b"`},
		{"first line a code alone", "550\r\n550 b", `reply: line 1: the code should be followed by "-": "550\r\n550 b"`},
		{"second line without code", "550-a\r\nb", `reply: line 2 does not begin with a three-digit code: "550-a\r\nb"`},
		{"two newlines at the end", "550 a\r\n\r\n", `reply: line 1: the code should be followed by "-": "550 a\r\n\r\n"`},
		{"another code", "550-a\r\n551 b", `reply: line 2 has another code than the first: "550-a\r\n551 b"`},
		{"another extended code", "550-5.7.1 a\r\n550 5.7.2 b", `reply: line 2 has another code than the first: "550-5.7.1 a\r\n550 5.7.2 b"`},
		{"extended code in the first line only", "550-5.7.1 a\r\n550 b", `reply: line 2 has another code than the first: "550-5.7.1 a\r\n550 b"`},
		{"extended code in the last line only", "550-a\r\n550 5.7.1 b", `reply: line 2 has another code than the first: "550-a\r\n550 5.7.1 b"`},
		{"success", "250 ok", `reply: code should be 4XX or 5XX: 250: in "250 ok"`},
		{"LF", "550 a\nb", `reply: line 1 of the text should not contain '\n': "a\nb": in "550 a\nb"`},
		{"LF between lines", "550-a\n550 b", `reply: line 1: the code should be followed by " ": "550-a\n550 b"`},
		{"LF at the end", "550 a\n", `reply: line 1 of the text should not contain '\n': "a\n": in "550 a\n"`},
		{"CR", "550 a\rb", `reply: line 1 of the text should not contain '\r': "a\rb": in "550 a\rb"`},
		{"CR CR LF", "550-a\r\r\n550 b", `reply: line 1 of the text should not contain '\r': "a\r": in "550-a\r\r\n550 b"`},
		{"NUL", "550 \x00", `reply: line 1 of the text should not contain '\x00': "\x00": in "550 \x00"`},
		{"33 lines", strings.Repeat("550-\r\n", 32) + "550", `reply: text should have at most 32 lines: 33: in "` + strings.Repeat(`550-\r\n`, 32) + `550"`},
		{"long line", "550 " + long, `reply: line 1 of the text should have at most 980 bytes, not 981; it begins with "` + long[:40] + `": in "550 ` + long + `"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := reply.ParseSMTP(tt.text)
			if err == nil {
				t.Fatalf("no error, but %#v", got)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" || !got.IsZero() {
				t.Errorf("with %#v (-want +got):\n%s", got, diff)
			}
		})
	}
}

// A strictReply is what a client of RFC 5321 section 4.2 reads:
//
//	Reply-line = *( Reply-code "-" [ textstring ] CRLF )
//	             Reply-code [ SP textstring ] CRLF
//
// with the same code in every line (section 4.2.1).
type strictReply struct {
	code  string
	texts []string
}

// readStrict reads a reply without its last CRLF. A bare blank behind the last
// code is allowed, as section 4.2 asks of clients, and so are bytes beyond ASCII
// (RFC 6531); the second digit of the code may be any, as for libmilter.
func readStrict(text string) (r strictReply, err error) {
	for {
		line, rest, more := strings.Cut(text, "\r\n")
		if len(line) < 3 {
			return r, errors.New("a line is too short for a code")
		}
		code, line := line[:3], line[3:]
		if code[0] != '4' && code[0] != '5' || code[1] < '0' || code[1] > '9' || code[2] < '0' || code[2] > '9' {
			return r, fmt.Errorf("%q is no code of a failure", code)
		}
		if r.code != "" && r.code != code {
			return r, fmt.Errorf("code %s follows code %s", code, r.code)
		}
		r.code = code
		if more && !strings.HasPrefix(line, "-") || !more && line != "" && line[0] != ' ' {
			return r, fmt.Errorf("%q is the wrong separator behind the code", line)
		}
		if line != "" {
			line = line[1:]
		}
		for _, c := range []byte(line) {
			if c != '\t' && c < ' ' || c == 0x7f {
				return r, fmt.Errorf("a line contains %q", c)
			}
		}
		r.texts = append(r.texts, line)
		if !more {
			return r, nil
		}
		text = rest
	}
}

// checkSMTP checks a reply that NewSMTP has let through: a strict client can
// read it, and it comes back the same from its text and from the wire.
func checkSMTP(t *testing.T, s reply.SMTP) {
	t.Helper()
	text := s.String()
	strict, err := readStrict(text)
	if err != nil {
		t.Fatalf("%#v is %q, which a strict client refuses: %v", s, text, err)
	}
	if strings.HasSuffix(text, strict.code+" ") {
		t.Errorf("%#v is %q: a blank without a text is behind the last code", s, text)
	}
	var want []string
	for line := range strings.SplitSeq(s.Text, "\n") {
		if s.Extended != "" && line != "" {
			line = s.Extended + " " + line
		} else if s.Extended != "" {
			line = s.Extended
		}
		want = append(want, line)
	}
	if diff := cmp.Diff(strictReply{fmt.Sprint(s.Code), want}, strict, cmp.AllowUnexported(strictReply{})); diff != "" {
		t.Errorf("a strict client reads %q as (-want +got):\n%s", text, diff)
	}
	again, err := reply.ParseSMTP(text)
	if err != nil {
		t.Fatalf("%#v is %q: %v", s, text, err)
	}
	if diff := cmp.Diff(s, again); diff != "" {
		t.Errorf("ParseSMTP(%q) (-want +got):\n%s", text, diff)
	}
	message, err := reply.Decode(unframe(t, reply.ReplyCode{SMTP: s}.Append(nil)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(reply.ReplyCode{SMTP: s}, message); diff != "" {
		t.Errorf("over the wire (-want +got):\n%s", diff)
	}
}
