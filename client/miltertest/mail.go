package miltertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/milter-go/milter/protocol"
)

// A Mail is a message with its envelope.
type Mail struct {
	// From is the sender, usually in angle brackets; "<>" is the null sender.
	From           string
	FromParameters protocol.Parameters
	Recipients     []Recipient
	// Headers are the header fields in order. A value is exactly what stands
	// behind the colon, so " hello" as a rule; the lines of a folded one are
	// joined by LF and keep the white space they begin with. So the mail's text
	// can be made of it again byte for byte.
	Headers []protocol.Header
	// Body has lines that end in CRLF.
	Body []byte
}

// A Recipient is one recipient of a mail.
type Recipient struct {
	Path       string // usually in angle brackets
	Parameters protocol.Parameters
}

// HeaderValues returns the values of all header fields called name, in any case,
// without the white space around them.
func (m Mail) HeaderValues(name string) []string {
	var values []string
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, name) {
			values = append(values, strings.TrimSpace(h.Value))
		}
	}
	return values
}

// ParseMail reads the text of a mail (RFC 5322): its header and body, in lines
// that end in LF or CRLF. The From_ line of an mbox at its beginning is left
// out. The envelope stays empty. A line of the header that is neither a header
// field nor a continuation is an error that quotes it, and so is a NUL in the
// header, which no milter could be told.
func ParseMail(r io.Reader) (Mail, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return Mail{}, err
	}
	var m Mail
	for number := 1; len(text) > 0; number++ {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			break
		}
		if number == 1 && bytes.HasPrefix(line, []byte("From ")) {
			continue
		}
		if err := m.parseHeaderLine(string(line)); err != nil {
			return Mail{}, fmt.Errorf("miltertest: line %d of the mail %w: %q", number, err, line)
		}
	}
	m.Body = crlfLines(text)
	return m, nil
}

func (m *Mail) parseHeaderLine(line string) error {
	if strings.Contains(line, "\x00") {
		return errors.New("has a NUL")
	}
	if line[0] == ' ' || line[0] == '\t' {
		if len(m.Headers) == 0 {
			return errors.New("continues no header field")
		}
		m.Headers[len(m.Headers)-1].Value += "\n" + line
		return nil
	}
	name, value, ok := strings.Cut(line, ":")
	notFtext := func(c rune) bool { return c <= ' ' || c > '~' } // RFC 5322 3.6.8
	if !ok || name == "" || strings.ContainsFunc(name, notFtext) {
		return errors.New("is no header field")
	}
	m.Headers = append(m.Headers, protocol.Header{Name: name, Value: value})
	return nil
}

// crlfLines returns text with lines that all end in CRLF, the last one as well.
// It returns nil for no text.
func crlfLines(text []byte) []byte {
	if len(text) == 0 {
		return nil
	}
	lines := make([]byte, 0, len(text)+len(text)/32+2)
	for line := range bytes.Lines(text) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		lines = append(lines, bytes.TrimSuffix(line, []byte("\r"))...)
		lines = append(lines, "\r\n"...)
	}
	return lines
}

// String returns the text of the mail, without the envelope, in lines that end
// in CRLF.
func (m Mail) String() string { return string(m.appendText(nil)) }

// WriteTo writes the text of the mail, as String returns it, to w.
func (m Mail) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(m.appendText(nil))
	return int64(n), err
}

func (m Mail) appendText(dst []byte) []byte {
	for _, h := range m.Headers {
		dst = append(dst, h.Name...)
		dst = append(dst, ':')
		dst = append(dst, strings.ReplaceAll(h.Value, "\n", "\r\n")...)
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, "\r\n"...)
	return append(dst, m.Body...)
}

// clone returns a copy that shares nothing with m that [Mail.Apply] writes to.
func (m Mail) clone() Mail {
	m.Recipients = slices.Clone(m.Recipients)
	m.Headers = slices.Clone(m.Headers)
	return m
}
