package context_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// The strings that have broken a milter or an MTA before.
var hostile = []string{
	"", " ", "x", "\x00", "a\x00b", "a\rb", "a\nb", "a\r\nb", "a\n b", "a\r\n\tb", "a\n", "\n ", "a\r\nBcc: evil@example.com\r\n\r\nbody", "X:", "X Y", "ü", "\xff\xfe",
	"<>", "<a@example.com>", "<a@example.com> NOTIFY=NEVER", "<a@example.com>\r\nRCPT TO:<b@example.com>", "NOTIFY=NEVER", "RET=HDRS", "ENVID=\r\n", "SIZE", "SIZE=1",
	"ORCPT=rfc822;a+40b", "%", "%s%n", "%%", "550 x", "5.7.1", "4.7.1", "5.7.1 x", "2.0.0", "one\ntwo", "one\r\ntwo\r\n", "\t", "\x7f", "\x1b[2J",
	strings.Repeat("x", 980), strings.Repeat("x", 981), strings.Repeat("x\n", 31), strings.Repeat("x\n", 33), strings.Repeat("é", 500),
}

// The changes a fuzzed call can make.
const (
	callAddHeader = iota
	callInsertHeader
	callChangeHeader
	callDeleteHeader
	callAddRecipient
	callDeleteRecipient
	callChangeFrom
	callReplaceBody
	callQuarantine
	numCalls
)

// FuzzChanges makes a change with any arguments, between two that are harmless, and
// reads the wire as the weakest MTA would: what a milter can say must never become
// another header field, recipient, line or packet than the call's one.
func FuzzChanges(f *testing.F) {
	for kind := range numCalls {
		for i, a := range hostile {
			f.Add(byte(kind), a, "value", i-2)
			f.Add(byte(kind), "X-Name", a, 1<<31-3+i)
			f.Add(byte(kind), a, hostile[(i*7+3)%len(hostile)], i)
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, a, b string, n int) {
		kind %= numCalls
		ctx, out := dueSession(t)
		before := ctx.AddHeader("X-Before", "1")
		err := makeCall(ctx, kind, a, b, n)
		after := ctx.AddHeader("X-After", "2")
		if before != nil || after != nil {
			t.Fatalf("harmless changes: %v, %v", before, after)
		}
		if kind == callReplaceBody && err != nil || err != nil && !errors.Is(err, context.ErrInvalidArgument) {
			t.Fatalf("call %d of %q, %q: %v, want ErrInvalidArgument or none", kind, a, b, err)
		}
		if err := ctx.EndOfMessageResponse(protocol.StatusContinue); err != nil {
			t.Fatal(err)
		}
		mail, fault := readChanges(out.Bytes())
		if fault != nil {
			t.Fatalf("call %d of %q, %q, %d: %v", kind, a, b, n, fault)
		}
		if fault := mail.judge(kind, a, b, err == nil); fault != nil {
			t.Fatalf("call %d of %q, %q, %d, error %v: %v", kind, a, b, n, err, fault)
		}
	})
}

// dueSession returns a session in which the reply to end-of-message is due.
func dueSession(t *testing.T) (*context.ClientContext, *bytes.Buffer) {
	out := new(bytes.Buffer)
	config := forever()
	config.Logger = slog.New(slog.DiscardHandler)
	ctx := context.New(out, config)
	ctx.OnEndOfMessage(func(*context.ClientContext, []byte) protocol.Status { return protocol.StatusProgress })
	if err := ctx.Feed(append(letters['O'][:len(letters['O']):len(letters['O'])], letters['E']...)); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	return ctx, out
}

func makeCall(ctx *context.ClientContext, kind byte, a, b string, n int) error {
	switch kind {
	case callAddHeader:
		return ctx.AddHeader(a, b)
	case callInsertHeader:
		return ctx.InsertHeader(n, a, b)
	case callChangeHeader:
		return ctx.ChangeHeader(a, n, b)
	case callDeleteHeader:
		return ctx.DeleteHeader(a, n)
	case callAddRecipient:
		return ctx.AddRecipient(a, b)
	case callDeleteRecipient:
		return ctx.DeleteRecipient(a)
	case callChangeFrom:
		return ctx.ChangeFrom(a, b)
	case callReplaceBody:
		return ctx.ReplaceBody([]byte(a + b))
	default:
		return ctx.Quarantine(a)
	}
}

// A changedMail is what a naive MTA makes of the changes.
type changedMail struct {
	header   strings.Builder // as it would stand in a queue file
	fields   int             // changes of the header
	commands []string        // what would go on as SMTP: a line for each address
	body     []byte
	bodies   int
	reason   []string
}

// readChanges reads the wire without any of the code that has written it.
func readChanges(wire []byte) (*changedMail, error) {
	m := &changedMail{}
	last := byte(0)
	for len(wire) > 0 {
		if len(wire) < 5 {
			return nil, fmt.Errorf("%d bytes at the end", len(wire))
		}
		n := int64(binary.BigEndian.Uint32(wire))
		if n < 1 || n > int64(len(wire)-4) || n > 65536 {
			return nil, fmt.Errorf("a packet of %d bytes, %d are there", n, len(wire)-4)
		}
		letter, payload := wire[4], wire[5:4+n]
		wire = wire[4+n:]
		if last == 'c' {
			return nil, fmt.Errorf("%c after the answer", letter)
		}
		last = letter
		if letter == 'b' {
			m.bodies++
			m.body = append(m.body, payload...)
			continue
		}
		if letter == 'i' || letter == 'm' {
			if len(payload) < 4 || payload[0] >= 0x80 {
				return nil, fmt.Errorf("index of %c %q", letter, payload)
			}
			payload = payload[4:]
		}
		if letter == 'c' {
			if len(payload) > 0 {
				return nil, fmt.Errorf("payload %q of the answer", payload)
			}
			continue
		}
		// C strings: as many as the change has, and nothing behind them.
		if len(payload) == 0 || payload[len(payload)-1] != 0 {
			return nil, fmt.Errorf("no NUL at the end of %c %q", letter, payload)
		}
		list := strings.Split(string(payload[:len(payload)-1]), "\x00")
		want := map[byte]int{'h': 2, 'i': 2, 'm': 2, '+': 1, '2': 2, '-': 1, 'q': 1, 'e': len(list)}[letter]
		if len(list) != want || len(list) > 2 || list[0] == "" {
			return nil, fmt.Errorf("%d strings in %c %q", len(list), letter, payload)
		}
		switch letter {
		case 'h', 'i', 'm':
			m.fields++
			fmt.Fprintf(&m.header, "%s: %s\n", list[0], list[1])
		case '+', '2', '-', 'e':
			m.commands = append(m.commands, string(letter)+":"+strings.Join(list, " "))
		case 'q':
			m.reason = append(m.reason, list[0])
		default:
			return nil, fmt.Errorf("an unknown change %c", letter)
		}
	}
	if last != 'c' {
		return nil, errors.New("no answer")
	}
	return m, nil
}

// judge says what is wrong with the mail after one call between two others.
func (m *changedMail) judge(kind byte, a, b string, made bool) error {
	fields, commands, reasons := 2, 0, 0
	switch {
	case !made:
	case kind <= callDeleteHeader:
		fields++
	case kind <= callChangeFrom:
		commands++
	case kind == callQuarantine:
		reasons++
	}
	got := 0
	for line := range strings.SplitSeq(strings.TrimSuffix(m.header.String(), "\n"), "\n") {
		if line != "" && (line[0] == ' ' || line[0] == '\t') && got > 0 {
			continue // RFC 5322 section 2.2.3
		}
		name, _, ok := strings.Cut(line, ":")
		for _, c := range []byte(name) {
			ok = ok && c > ' ' && c < 0x7f
		}
		if !ok || name == "" {
			return fmt.Errorf("line %q in the header is no field", line)
		}
		got++
	}
	all := m.header.String() + strings.Join(m.commands, "") + strings.Join(m.reason, "")
	switch {
	case m.fields != fields || got != fields:
		return fmt.Errorf("%d changes made a header of %d fields, want %d: %q", m.fields, got, fields, m.header.String())
	case len(m.commands) != commands || len(m.reason) != reasons:
		return fmt.Errorf("addresses %q, reasons %q", m.commands, m.reason)
	case strings.ContainsAny(all, "\r\x00") || strings.Contains(strings.Join(m.commands, "")+strings.Join(m.reason, ""), "\n"):
		return fmt.Errorf("CR, NUL or LF in %q", all)
	case kind == callReplaceBody && (string(m.body) != a+b || m.bodies == 0) || kind != callReplaceBody && m.bodies > 0:
		return fmt.Errorf("%d pieces of body %q", m.bodies, m.body)
	}
	return nil
}

// FuzzSetReply sets any reply, and reads what the SMTP client gets as RFC 5321
// section 4.2 has it.
func FuzzSetReply(f *testing.F) {
	for i, a := range hostile {
		for _, code := range []int{550, 451, 421, 250, 0, -1, 1000, 599, 400} {
			f.Add(code, "", a)
			f.Add(code, a, "text")
			f.Add(code, fmt.Sprintf("%d.7.%d", code/100, i), a)
		}
	}
	f.Fuzz(func(t *testing.T, code int, extended, text string) {
		for _, refuse := range []bool{false, true} {
			ctx, out := dueSession(t)
			status := protocol.StatusReject
			if code/100 == 4 {
				status = protocol.StatusTemporaryFailure
			}
			err := error(nil)
			if !refuse {
				err = ctx.SetReply(code, extended, text)
			} else if code/100 == 4 {
				status = ctx.TemporaryFailure(code, extended, text)
			} else {
				status = ctx.Reject(code, extended, text)
			}
			if err != nil && !errors.Is(err, context.ErrInvalidArgument) {
				t.Fatalf("SetReply: %v", err)
			}
			seen := ctx.FormatReply()
			if err := ctx.EndOfMessageResponse(status); err != nil {
				t.Fatal(err)
			}
			wire := out.String()
			if err != nil || refuse && seen == "" {
				// Never is a mail let through because its reply was refused.
				if want := map[protocol.Status]string{protocol.StatusReject: "\x00\x00\x00\x01r", protocol.StatusTemporaryFailure: "\x00\x00\x00\x01t"}[status]; want == "" || wire != want {
					t.Fatalf("SetReply(%d, %q, %q): %v, wire %q", code, extended, text, err, wire)
				}
				continue
			}
			if err := strictReply(wire, code, seen); err != nil {
				t.Fatalf("SetReply(%d, %q, %q), wire %q: %v", code, extended, text, wire, err)
			}
		}
	})
}

var enhancedCode = regexp.MustCompile(`^[0-9]\.[0-9]{1,3}\.[0-9]{1,3}$`)

// strictReply reads a reply-code packet as an SMTP client reads what the MTA makes
// of it: with each %% a single %.
func strictReply(wire string, code int, seen string) error {
	if len(wire) < 6 || int(binary.BigEndian.Uint32([]byte(wire))) != len(wire)-4 || wire[4] != 'y' || wire[len(wire)-1] != 0 {
		return errors.New("not one whole reply-code packet")
	}
	payload := wire[5 : len(wire)-1]
	if strings.Contains(strings.ReplaceAll(payload, "%%", ""), "%") {
		return errors.New("a single %, for which Sendmail drops the text")
	}
	text := strings.ReplaceAll(payload, "%%", "%")
	if text != seen && text != seen+" " { // a code alone
		return fmt.Errorf("FormatReply says %q", seen)
	}
	lines := strings.Split(text, "\r\n")
	class := ""
	for i, line := range lines {
		mark := byte('-')
		if i == len(lines)-1 {
			mark = ' '
		}
		switch {
		case len(line) < 4 || line[:3] != fmt.Sprint(code) || line[3] != mark:
			return fmt.Errorf("line %q should begin with %d%c", line, code, mark)
		case len(line) > 1000: // RFC 5321 section 4.5.3.1.5 says 512; MTAs take what libmilter sends
			return fmt.Errorf("line of %d bytes", len(line))
		}
		for _, c := range []byte(line) {
			if c < ' ' && c != '\t' || c >= 0x7f { // Sendmail drops the eighth bit
				return fmt.Errorf("byte %#x in %q", c, line)
			}
		}
		if word, _, _ := strings.Cut(line[4:], " "); i == 0 && enhancedCode.MatchString(word) {
			class = word[:1]
		}
	}
	if len(lines) > 32 || code < 400 || code > 599 {
		return fmt.Errorf("%d lines, code %d", len(lines), code)
	}
	if class != "" && class != fmt.Sprint(code/100) {
		return fmt.Errorf("the enhanced code of %q is of another class: Postfix refuses it", lines[0])
	}
	return nil
}
