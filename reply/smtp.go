package reply

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// MaxLines is how many lines an SMTP reply may have (libmilter smfi.c).
	MaxLines = 32
	// MaxLineLength is how long the text of one line may be, in bytes
	// (libmilter smfi.c).
	MaxLineLength = 980
)

// An SMTP is the reply that the MTA gives to the SMTP client when a milter
// refuses something.
type SMTP struct {
	// Code is the reply code: 400 to 599 (RFC 5321 section 4.2.1).
	Code int
	// Extended is the enhanced status code (RFC 3463), such as "5.7.1"; its
	// class is the one of Code. It may be empty.
	Extended string
	// Text is what is said to the client; several lines are separated by LF. It
	// may be empty. A percent sign stands for itself.
	Text string
}

// NewSMTP returns the reply with the given parts, or an error that names the
// part that cannot be sent: a code outside 400 to 599, an extended code that is
// malformed or of another class, a line above 980 bytes, more than 32 lines, a
// control character other than tab, LF and CRLF, or a character beyond ASCII. A
// newline at the end of the text is dropped.
//
// Sendmail drops the eighth bit of a reply: the second byte of "Ê" reaches the
// SMTP client as a line feed, and what follows it as a line of its own. (RFC 6531
// section 3.5 would allow UTF-8 after SMTPUTF8, which a milter does not see.)
//
// A text that begins with an extended code is split from it. When there is none,
// the unspecific one (4.0.0 or 5.0.0) is put in where one is needed: for several
// lines, as libmilter does, and for a text that begins with a digit, which
// Postfix would take for a malformed extended code.
func NewSMTP(code int, extended, text string) (SMTP, error) {
	lines := splitLines(text)
	if err := check(code, lines); err != nil {
		return SMTP{}, err
	}
	for i, line := range lines {
		if j := strings.IndexFunc(line, isBeyondASCII); j >= 0 {
			return SMTP{}, fmt.Errorf("reply: line %d of the text should be ASCII: %q at byte %d", i+1, line, j+1)
		}
	}
	s := SMTP{Code: code, Extended: extended}
	if extended == "" {
		first, rest, _ := strings.Cut(lines[0], " ")
		if checkExtended(code, first) == nil {
			s.Extended, lines[0] = first, rest
			for i := range lines[1:] {
				if start, rest, _ := strings.Cut(lines[i+1], " "); start == first {
					lines[i+1] = rest
				}
			}
		} else if len(lines) > 1 || startsWithDigit(lines[0]) {
			s.Extended = strconv.Itoa(code/100) + ".0.0"
		}
	} else if err := checkExtended(code, extended); err != nil {
		return SMTP{}, err
	}
	s.Text = strings.Join(lines, "\n")
	return s, nil
}

// IsZero reports whether s is no reply at all.
func (s SMTP) IsZero() bool { return s.Code == 0 }

// String returns s as it goes to the SMTP client, its lines joined by CRLF:
// "550-5.7.1 go" CRLF "550 5.7.1 away". A code alone has no blank behind it. It
// returns "" for the zero value.
func (s SMTP) String() string {
	if s.IsZero() {
		return ""
	}
	text := strings.ReplaceAll(string(s.appendWire(nil)), "%%", "%")
	if s.Extended == "" && (s.Text == "" || strings.HasSuffix(s.Text, "\n")) {
		text = strings.TrimSuffix(text, " ")
	}
	return text
}

// appendWire appends s as the payload of a reply code: percent signs are doubled
// (Sendmail formats the text, Postfix drops a single one), and a bare code is
// followed by a blank, as in libmilter.
func (s SMTP) appendWire(dst []byte) []byte {
	lines := strings.Split(s.Text, "\n")
	for i, line := range lines {
		separator, end := byte('-'), "\r\n"
		if i == len(lines)-1 {
			separator, end = ' ', ""
		}
		dst = strconv.AppendInt(dst, int64(s.Code), 10)
		dst = append(dst, separator)
		dst = append(dst, s.Extended...)
		if s.Extended != "" && line != "" {
			dst = append(dst, ' ')
		}
		dst = append(dst, strings.ReplaceAll(line, "%", "%%")...)
		dst = append(dst, end...)
	}
	return dst
}

// ParseSMTP is the inverse of [SMTP.String]: it reads one or several lines, all
// with the same code and extended code; a CRLF may end the last one. Nothing is
// put in, and nothing is dropped but a blank behind the code or the extended code
// that has no text behind it. A malformed reply is an error that quotes it.
func ParseSMTP(text string) (SMTP, error) {
	var code, extended string
	var out []string
	lines := strings.Split(strings.TrimSuffix(text, "\r\n"), "\r\n")
	for i, line := range lines {
		last := i == len(lines)-1
		if len(line) < 3 || !allDigits(line[:3]) {
			return SMTP{}, fmt.Errorf("reply: line %d does not begin with a three-digit code: %q", i+1, text)
		}
		c, rest := line[:3], line[3:]
		switch {
		case rest == "" && last:
		case rest != "" && (rest[0] == ' ') == last && (rest[0] == ' ' || rest[0] == '-'):
			rest = rest[1:]
		default:
			return SMTP{}, fmt.Errorf("reply: line %d: the code should be followed by %q: %q", i+1, map[bool]string{true: " ", false: "-"}[last], text)
		}
		n, _ := strconv.Atoi(c)
		first, after, _ := strings.Cut(rest, " ")
		if checkExtended(n, first) != nil {
			first, after = "", rest
		}
		if i == 0 {
			code, extended = c, first
		} else if c != code || first != extended {
			return SMTP{}, fmt.Errorf("reply: line %d has another code than the first: %q", i+1, text)
		}
		out = append(out, after)
	}
	n, _ := strconv.Atoi(code)
	if err := check(n, out); err != nil {
		return SMTP{}, fmt.Errorf("%w: in %q", err, text)
	}
	return SMTP{Code: n, Extended: extended, Text: strings.Join(out, "\n")}, nil
}

// parseWire reads the payload of a reply code. Postfix wants a blank or a hyphen
// behind the first code, and behind that a digit only if an extended code of the
// same class begins there (Postfix milter8.c).
func parseWire(text string) (SMTP, error) {
	if strings.Count(text, "%") != 2*strings.Count(text, "%%") {
		return SMTP{}, errors.New("single %")
	}
	if len(text) == 3 {
		return SMTP{}, errors.New("no blank behind the code")
	}
	if len(text) > 4 && startsWithDigit(text[4:]) && text[4] != text[0] {
		return SMTP{}, errors.New("text begins with a digit that is not the class of the code")
	}
	return ParseSMTP(strings.ReplaceAll(text, "%%", "%"))
}

// splitLines splits text at LF and CRLF, without a newline at its end.
func splitLines(text string) []string {
	return strings.Split(strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n"), "\n")
}

// check says what is wrong with a code and the lines behind it.
func check(code int, lines []string) error {
	if code < 400 || code > 599 {
		return fmt.Errorf("reply: code should be 4XX or 5XX: %d", code)
	}
	if len(lines) > MaxLines {
		return fmt.Errorf("reply: text should have at most %d lines: %d", MaxLines, len(lines))
	}
	for i, line := range lines {
		if len(line) > MaxLineLength {
			return fmt.Errorf("reply: line %d of the text should have at most %d bytes, not %d; it begins with %q", i+1, MaxLineLength, len(line), line[:40])
		}
		if j := strings.IndexFunc(line, isControl); j >= 0 {
			return fmt.Errorf("reply: line %d of the text should not contain %q: %q", i+1, line[j], line)
		}
	}
	return nil
}

// checkExtended says what is wrong with an extended code: class "." subject "."
// detail, the last two of one to three digits (RFC 3463 section 2).
func checkExtended(code int, extended string) error {
	class, rest, ok := strings.Cut(extended, ".")
	if !ok || class != "2" && class != "4" && class != "5" {
		return fmt.Errorf("reply: class of extended code should be '4' or '5', a subject and a detail should follow: %q", extended)
	}
	subject, detail, ok := strings.Cut(rest, ".")
	if !ok {
		return fmt.Errorf("reply: detail of extended code is missing: %q", extended)
	}
	if !isUpToThreeDigits(subject) {
		return fmt.Errorf("reply: subject of extended code should be a number from 0 to 999: %q", extended)
	}
	if !isUpToThreeDigits(detail) {
		return fmt.Errorf("reply: detail of extended code should be a number from 0 to 999: %q", extended)
	}
	if int(class[0]-'0') != code/100 {
		return fmt.Errorf("reply: extended code should have the class of the code: %d: %q", code, extended)
	}
	return nil
}

// isControl and isBeyondASCII report whether c may not stand in a line of a reply
// (RFC 5321 section 4.2, textstring). Only our own replies keep to the second:
// other milters send what it refuses.
func isControl(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }

func isBeyondASCII(c rune) bool { return c > 0x7f }

func allDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func isUpToThreeDigits(s string) bool { return len(s) >= 1 && len(s) <= 3 && allDigits(s) }

func startsWithDigit(s string) bool { return s != "" && allDigits(s[:1]) }
