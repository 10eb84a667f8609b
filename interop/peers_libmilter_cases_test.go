//go:build interop

package interop_test

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A changeCase is a mail that a filter changes.
type changeCase struct {
	name   string
	filter []string // its words
	edit   func(*miltertest.Mail)
	want   string // see outcome
}

// passed is the outcome of a sample mail with another envelope, header or body.
func passed(envelope, header, body string) string {
	return "status: pass\n" + envelope + "\n" + header + "\n" + body
}

// replaced is the sample header with one text in it replaced.
func replaced(old, new string) string {
	if strings.Count(sampleHeader, old) != 1 {
		panic("not once in the header: " + old)
	}
	return strings.Replace(sampleHeader, old, new, 1)
}

func libmilterChanges(t *testing.T) []changeCase {
	file := func(content string) string {
		f, err := os.CreateTemp(t.TempDir(), "body")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(content); err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}
	header := func(name, want string, filter ...string) changeCase {
		return changeCase{name, filter, nil, passed(sampleEnvelope, want, sampleBody)}
	}
	body := func(name, content, want string) changeCase {
		return changeCase{name, []string{"body", file(content)}, nil, passed(sampleEnvelope, sampleHeader, want)}
	}
	envelope := func(name, from, to string, filter ...string) changeCase {
		return changeCase{name, filter, nil, passed("MAIL FROM:"+from+"\n"+to, sampleHeader, sampleBody)}
	}
	const from = "<alice@example.org> SIZE=1000 BODY=8BITMIME"
	return []changeCase{
		{"nothing", nil, nil, "status: pass\n" + sampleText},
		header("add a header field", sampleHeader+"X-New: value\n", "add", "X-New", "value"),
		header("add one that is there", sampleHeader+"X-TWO: third\n", "add", "X-TWO", "third"),
		header("add two", sampleHeader+"X-New: a\nX-New: b\n", "add", "X-New", "a", "add", "X-New", "b"),
		header("add a folded one", sampleHeader+"X-New: a\n\tb\n c\n", "add", "X-New", "a\n\tb\n c"),
		header("add a fold without white space", sampleHeader+"X-New: a\n\tInjected: b\n", "add", "X-New", "a\nInjected: b"),
		header("add with CRLF", sampleHeader+"X-New: a\n b\n", "add", "X-New", "a\r\n b"),
		header("add an empty one", sampleHeader+"X-New: \n", "add", "X-New", ""),
		header("add bytes above 127", sampleHeader+"X-New: caf\xe9 \xff\n", "add", "X-New", "caf\xe9 \xff"),
		header("insert above all", "X-New: value\n"+sampleHeader, "insert", "0", "X-New", "value"),
		header("insert below the Received of the MTA", "X-New: value\n"+sampleHeader, "insert", "1", "X-New", "value"),
		header("insert second", replaced("Subject:", "X-New: value\nSubject:"), "insert", "2", "X-New", "value"),
		header("insert behind all", sampleHeader+"X-New: value\n", "insert", "99", "X-New", "value"),
		header("insert two at the top", "X-B: b\nX-A: a\n"+sampleHeader, "insert", "1", "X-A", "a", "insert", "1", "X-B", "b"),
		header("change the first", replaced("X-Two: first", "X-Two: other"), "change", "1", "X-Two", "other"),
		header("change the second, in the new spelling", replaced("x-two:  second, two blanks", "X-TWO: other"), "change", "2", "X-TWO", "other"),
		header("change index 0 is the first", replaced("X-Two: first", "X-Two: other"), "change", "0", "X-Two", "other"),
		header("change one that is not there", sampleHeader+"X-Two: other\n", "change", "3", "X-Two", "other"),
		header("change a folded one", replaced(" café,\n\tfolded,\n  twice", " short"), "change", "1", "Subject", "short"),
		header("delete", replaced("X-Tab:\ttab\n", ""), "delete", "1", "X-Tab"),
		header("delete by an empty value", replaced("X-Tab:\ttab\n", ""), "change", "1", "X-Tab", ""),
		header("delete two, the last one first", replaced("X-Two: first\nx-two:  second, two blanks\n", ""),
			"delete", "2", "X-Two", "delete", "1", "X-Two"),
		header("delete one that is not there", sampleHeader, "delete", "3", "X-Two"),
		header("delete, then change what is first then", replaced("X-Two: first\nx-two:  second, two blanks", "X-Two: other"),
			"delete", "1", "X-Two", "change", "1", "X-Two", "other"),
		header("with leading spaces", replaced("X-Two: first", "X-Two:\tother")+"X-New:none\nX-One: one\n",
			"steps", "100000", "add", "X-New", "none", "add", "X-One", " one", "change", "1", "X-Two", "\tother"),
		body("another body", "one\r\ntwo\r\n", "one\ntwo\n"),
		body("a body in LF lines", "one\ntwo\n", "one\ntwo\n"),
		body("a body without a last line end", "one\r\ntwo", "one\ntwo\n"),
		body("an empty body", "", ""),
		body("a body of dots", ".\r\n..\r\n", ".\n..\n"),
		body("a body of several packets", strings.Repeat("0123456789abcd\r\n", 10_000), strings.Repeat("0123456789abcd\n", 10_000)),
		envelope("another sender", "<new@example.org> SIZE=1000 BODY=8BITMIME", sampleRecipients, "from", "<new@example.org>", ""),
		envelope("another sender, without brackets", "<new@example.org> SIZE=1000 BODY=8BITMIME", sampleRecipients, "from", "new@example.org", ""),
		envelope("another sender with arguments", "<new@example.org> RET=HDRS ENVID=x1", sampleRecipients, "from", "<new@example.org>", "RET=HDRS ENVID=x1"),
		envelope("no sender", "<> SIZE=1000 BODY=8BITMIME", sampleRecipients, "from", "<>", ""),
		envelope("add a recipient", from, sampleRecipients+"\nRCPT TO:<dave@example.net>", "rcpt", "<dave@example.net>"),
		envelope("add one with arguments", from, sampleRecipients+"\nRCPT TO:<dave@example.net> NOTIFY=NEVER ORCPT=rfc822;d@example.net",
			"rcpt-par", "<dave@example.net>", "NOTIFY=NEVER ORCPT=rfc822;d@example.net"),
		envelope("add one with no arguments", from, sampleRecipients+"\nRCPT TO:<dave@example.net>", "rcpt-par", "dave@example.net", ""),
		envelope("delete a recipient", from, "RCPT TO:<carol@example.net>", "drop", "<bob@example.net>"),
		envelope("delete one without brackets", from, "RCPT TO:<carol@example.net>", "drop", "bob@example.net"),
		envelope("delete one that is not there", from, sampleRecipients, "drop", "<BOB@example.net>"),
		envelope("delete one and add another", from, "RCPT TO:<carol@example.net>\nRCPT TO:<dave@example.net>",
			"drop", "<bob@example.net>", "rcpt", "<dave@example.net>"),
		{"quarantine", []string{"quarantine", "looks odd"}, nil, "status: quarantine\nQuarantine reason: <looks odd>\n" + sampleText},
		{"all at once, in any order", []string{"body", file("new\r\n"), "add", "X-A", "a", "from", "<>", "", "delete", "1", "X-Tight",
			"rcpt", "<dave@example.net>", "progress", "insert", "0", "X-Top", "top", "drop", "<carol@example.net>",
			"change", "1", "Subject", "changed", "quarantine", "why", "answer", "eom", "accept"}, nil,
			"status: quarantine\nQuarantine reason: <why>\nMAIL FROM:<> SIZE=1000 BODY=8BITMIME\n" +
				"RCPT TO:<bob@example.net> NOTIFY=FAILURE,DELAY\nRCPT TO:<dave@example.net>\nX-Top: top\n" +
				strings.NewReplacer(" café,\n\tfolded,\n  twice", " changed", "X-Tight:no blank\n", "").Replace(sampleHeader) + "X-A: a\n\nnew\n"},
		{"changes, and then a refusal", []string{"add", "X-A", "a", "reply", "eom", "554", "5.7.1", "no, thanks"}, nil,
			"status: reject [554]<5.7.1>(no, thanks)\n"},
		{"one recipient refused, several lines", []string{"refuse", "<bob@example.net>", "550", "5.1.1", "Bob has gone.\nAsk Carol.\n  100%% sure"}, nil,
			"status: pass\nrefused: <bob@example.net>: reject [550]<5.1.1>(Bob has gone.\\nAsk Carol.\\n  100% sure)\n" +
				passed("MAIL FROM:"+from+"\nRCPT TO:<carol@example.net>", sampleHeader, sampleBody)[len("status: pass\n"):]},
		{"one for now, one for ever", []string{"refuse", "<bob@example.net>", "450", "4.2.0", "later", "refuse", "<carol@example.net>", "550", "", "never"}, nil,
			"status: temporary-failure [450]<4.2.0>(later)\nrefused: <bob@example.net>: temporary-failure [450]<4.2.0>(later)\n" +
				"refused: <carol@example.net>: reject [550](never)\n"},
		{"no recipients left by the filter", []string{"drop", "<bob@example.net>", "drop", "<carol@example.net>"}, nil,
			"status: pass\nMAIL FROM:" + from + "\n" + sampleHeader + "\n" + sampleBody},
		{"a mail without header and body", []string{"add", "X-A", "a", "insert", "5", "X-B", "b"}, func(m *miltertest.Mail) {
			m.Headers, m.Body = nil, nil
		}, passed(sampleEnvelope, "X-A: a\nX-B: b\n", "")},
		{"discard", []string{"answer", "eom", "discard"}, nil, "status: discard\n"},
	}
}

// An eventCase is a session, and what a filter sees of it.
type eventCase struct {
	name   string
	filter []string
	play   func(t *testing.T, s *miltertest.Session)
	want   string
}

// greeting is what the filter sees of a greeting by Send.
const greeting = `
negotiate actions=1ff steps=1fffff
connect <mx.example.net> 192.0.2.1 50443
helo <mx.example.net>
`

// sampleEvents is what it sees of the sample mail.
const sampleEvents = `mail <<alice@example.org>> <SIZE=1000> <BODY=8BITMIME>
rcpt <<bob@example.net>> <NOTIFY=FAILURE,DELAY>
rcpt <<carol@example.net>>
data
header <From> <Alice <alice@example.org>>
header <Subject> <caf\xc3\xa9,\x0a\x09folded,\x0a  twice>
header <X-Two> <first>
header <x-two> < second, two blanks>
header <X-Tight> <no blank>
header <X-Tab> <\x09tab>
header <X-Empty> <>
eoh
body 43 <Hello,\x0d\x0a.a line with a dot\x0d\x0a\x0d\x0alast \xe9 line\x0d\x0a>
eom
`

func sendSample(t *testing.T, s *miltertest.Session) {
	t.Helper()
	if r, err := s.Send(sampleMail()); err != nil || !r.IsDelivered() {
		t.Errorf("got %v, %v; the mail should pass", r, err)
	}
}

var libmilterEvents = []eventCase{
	{"a mail", nil, sendSample, greeting + sampleEvents},
	{"two mails", nil, func(t *testing.T, s *miltertest.Session) { sendSample(t, s); sendSample(t, s) }, greeting + sampleEvents + sampleEvents},
	{"leading spaces", []string{"steps", "100000"}, sendSample, greeting + strings.NewReplacer(
		"<From> <", "<From> < ", "<Subject> <", "<Subject> < ", "<X-Two> <", "<X-Two> < ", "<x-two> <", "<x-two> < ").Replace(sampleEvents)},
	{"no replies but for the end", []string{"steps", "ff080",
		"answer", "connect", "noreply", "answer", "helo", "noreply", "answer", "mail", "noreply", "answer", "rcpt", "noreply", "answer", "data", "noreply",
		"answer", "header", "noreply", "answer", "eoh", "noreply", "answer", "body", "noreply", "add", "X-A", "a"}, func(t *testing.T, s *miltertest.Session) {
		r, err := s.Send(sampleMail())
		if err != nil || len(r.Mail.HeaderValues("X-A")) != 1 {
			t.Errorf("got %v, %v; want a mail with X-A", r, err)
		}
	}, greeting + sampleEvents},
	{"skip the rest of the body", []string{"answer", "body", "skip"}, func(t *testing.T, s *miltertest.Session) {
		mail := sampleMail()
		mail.Headers, mail.Body = nil, []byte(strings.Repeat("x", 70_000))
		mail.Recipients = mail.Recipients[1:]
		if r, err := s.Send(mail); err != nil || len(r.Mail.Body) != 70_000 {
			t.Errorf("got %v, %v; want the whole body", r, err)
		}
	}, greeting + "mail <<alice@example.org>> <SIZE=1000> <BODY=8BITMIME>\nrcpt <<carol@example.net>>\ndata\neoh\nbody 65535 <" +
		strings.Repeat("x", 65535) + ">\neom\n"},
	{"events left out", []string{"without", "connect", "without", "helo", "without", "data", "without", "header", "without", "body"}, sendSample, `
negotiate actions=1ff steps=1fffff
mail <<alice@example.org>> <SIZE=1000> <BODY=8BITMIME>
rcpt <<bob@example.net>> <NOTIFY=FAILURE,DELAY>
rcpt <<carol@example.net>>
eoh
eom
`},
	{"an abort, then a mail", nil, func(t *testing.T, s *miltertest.Session) {
		sendSample(t, s)
		if _, err := s.EnvelopeFrom("<x@example.org>"); err != nil {
			t.Fatal(err)
		}
		if err := s.Abort(); err != nil {
			t.Fatal(err)
		}
		sendSample(t, s)
	}, greeting + sampleEvents + "mail <<x@example.org>>\nabort\n" + sampleEvents},
	{"all recipients refused", []string{"answer", "rcpt", "reject"}, func(t *testing.T, s *miltertest.Session) {
		if r, err := s.Send(sampleMail()); err != nil || r.String() != "reject" {
			t.Errorf("got %v, %v; want reject", r, err)
		}
	}, greeting + "mail <<alice@example.org>> <SIZE=1000> <BODY=8BITMIME>\nrcpt <<bob@example.net>> <NOTIFY=FAILURE,DELAY>\n" +
		"rcpt <<carol@example.net>>\nabort\n"},
	{"an unknown command", nil, func(t *testing.T, s *miltertest.Session) {
		for _, step := range []func() (miltertest.Answer, error){
			s.Negotiate,
			func() (miltertest.Answer, error) { return s.Connect("h", nil) },
			func() (miltertest.Answer, error) { return s.Unknown("XYZZY plugh") },
			func() (miltertest.Answer, error) { return s.Helo("name") },
		} {
			if a, err := step(); err != nil || a.Status != protocol.StatusContinue {
				t.Fatalf("got %v, %v; want continue", a, err)
			}
		}
	}, "negotiate actions=1ff steps=1fffff\nconnect <h> unknown\nunknown <XYZZY plugh>\nhelo <name>\n"},
	address("an IPv6 address", &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 65535}, "2001:db8::1 65535"),
	address("a mapped IPv4 address", &net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.7"), Port: 1}, "192.0.2.7 1"),
	address("a unix socket", &net.UnixAddr{Name: "/run/client.sock", Net: "unix"}, "/run/client.sock"),
	address("no address", nil, "unknown"),
	{"macros", []string{"show", "connect", "j", "show", "connect", "{daemon_name}", "show", "helo", "{daemon_name}",
		"show", "mail", "i", "show", "rcpt", "{rcpt_addr}", "show", "eom", "{rcpt_addr}", "show", "eom", "i",
		"show", "eom", "{late}", "show", "header", "{late}"}, func(t *testing.T, s *miltertest.Session) {
		s.Macros = sampleMacros
		mail := sampleMail()
		mail.Recipients, mail.Headers, mail.Body = mail.Recipients[1:], mail.Headers[:1], nil
		if _, err := s.Send(mail); err != nil {
			t.Error(err)
		}
	}, `
negotiate actions=1ff steps=1fffff
connect <mx.example.net> 192.0.2.1 50443 j=mta.example.net {daemon_name}=MTA one
helo <mx.example.net> {daemon_name}=MTA one
mail <<alice@example.org>> <SIZE=1000> <BODY=8BITMIME> i=ID1
rcpt <<carol@example.net>> {rcpt_addr}=carol@example.net
data
header <From> <Alice <alice@example.org>> {late}=(none)
eoh
eom {rcpt_addr}=carol@example.net i=ID1 {late}=yes
`},
	{"macros asked for", []string{"macros", "0", "j", "macros", "2", "{auth_authen} {none}", "macros", "6", "", "macros", "5", "{late}",
		"show", "connect", "j", "show", "connect", "{daemon_name}", "show", "mail", "i", "show", "mail", "{auth_authen}",
		"show", "rcpt", "{rcpt_addr}", "show", "eom", "{late}"},
		func(t *testing.T, s *miltertest.Session) {
			s.Macros = sampleMacros
			mail := sampleMail()
			mail.Recipients, mail.Headers, mail.Body = mail.Recipients[1:], nil, nil
			if _, err := s.Send(mail); err != nil {
				t.Error(err)
			}
			names, ok := s.MacroRequests().Get(option.MacroStageEnvelopeFrom)
			if !ok || strings.Join(names, " ") != "{auth_authen} {none}" {
				t.Errorf("macros asked for at envelope-from: %q", names)
			}
		}, `
negotiate actions=1ff steps=1fffff
connect <mx.example.net> 192.0.2.1 50443 j=mta.example.net {daemon_name}=(none)
helo <mx.example.net>
mail <<alice@example.org>> <SIZE=1000> <BODY=8BITMIME> i=(none) {auth_authen}=alice
rcpt <<carol@example.net>> {rcpt_addr}=carol@example.net
data
eoh
eom {late}=yes
`},
}

var sampleMacros = map[protocol.Command][]protocol.Macro{
	protocol.CommandConnect:           {{Name: "j", Value: "mta.example.net"}, {Name: "{daemon_name}", Value: "MTA one"}},
	protocol.CommandHelo:              {},
	protocol.CommandEnvelopeFrom:      {{Name: "i", Value: "ID1"}, {Name: "{auth_authen}", Value: "alice"}},
	protocol.CommandEnvelopeRecipient: {{Name: "{rcpt_addr}", Value: "carol@example.net"}},
	protocol.CommandEndOfMessage:      {{Name: "{late}", Value: "yes"}},
}

func address(name string, addr net.Addr, want string) eventCase {
	return eventCase{name, nil, func(t *testing.T, s *miltertest.Session) {
		if _, err := s.Negotiate(); err != nil {
			t.Fatal(err)
		}
		if a, err := s.Connect("h", addr); err != nil || a.Status != protocol.StatusContinue {
			t.Errorf("got %v, %v; want continue", a, err)
		}
	}, "negotiate actions=1ff steps=1fffff\nconnect <h> " + want + "\n"}
}
