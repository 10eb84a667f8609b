//go:build interop

package interop_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// The python of Debian's package python3-milter; another one may come first in
// the path.
const python = "/usr/bin/python3"

func findPymilter() (version, skip string) {
	if skip := missing("INTEROP_SKIP_PYMILTER", python); skip != "" {
		return "", skip
	}
	out, err := exec.Command(python, "-c", "import Milter; print(Milter.__version__)").Output()
	if err != nil {
		return "", "not installed: the module Milter of " + python
	}
	return strings.TrimSpace(string(out)), ""
}

// TestPymilter lets filters in Python judge the MTA's side, see filter.py. Below
// pymilter is libmilter, but it negotiates in its own way.
func TestPymilter(t *testing.T) {
	version, skip := findPymilter()
	j := newJudge(t, "pymilter", version, skip)
	server := build(t, "milter-test-server")
	start := func(t *testing.T, class string) (*process, string) {
		spec := "unix:" + filepath.Join(shortDir(t), "s")
		return launch(t, python, "peers/python/filter.py", spec, class), spec
	}
	for _, tt := range []struct {
		class string
		steps string // that the filter negotiates
		want  string // see outcome
	}{
		{"See", "400", "status: pass\n" + sampleText},
		{"End", "77f", "status: pass\n" + sampleText},
		{"Headers", "77f", "status: accept\n" + sampleEnvelope + "\nX-Top: a fold\n\tand its rest\nFrom: Alice <alice@example.org>\n" +
			"X-Second: second\nSubject: café\nX-Two: first\nX-Two: changed\nX-Empty:\nX-Added: at the end\n\n" + sampleBody},
		{"Spaces", "100400", passed(sampleEnvelope, sampleHeader+"X-None:none\nX-One: one\nX-Tab:\ttab\n", sampleBody)},
		{"Envelope", "77f", passed("MAIL FROM:<new@example.org> ENVID=x1\nRCPT TO:<carol@example.net>\nRCPT TO:<dave@example.net>\n"+
			"RCPT TO:<erin@example.net> NOTIFY=NEVER", sampleHeader, sampleBody)},
		{"Body", "77f", passed(sampleEnvelope, sampleHeader, "new \xff\ntext €\ntext €\n")},
		{"LongBody", "77f", passed(sampleEnvelope, sampleHeader, strings.Repeat("0123456789abcd\n", 20000))},
		{"Hold", "77f", "status: quarantine\nQuarantine reason: <on hold for a while>\n" + sampleText},
		{"Refuse", "777", "status: temporary-failure [450]<4.2.0>(later)\n" +
			`refused: <bob@example.net>: reject [550]<5.1.1>(Bob has gone.\nAsk Carol.\n100% sure)` + "\n" +
			"refused: <carol@example.net>: temporary-failure [450]<4.2.0>(later)\n"},
		{"Broken", "75f", "status: temporary-failure [451]<4.3.0>(pymilter: untrapped exception in filter)\n"},
		{"Silent", "ff480", "status: pass\n" + sampleText},
		{"Skip", "76f", "status: pass\n" + sampleText},
		{"Discard", "77b", "status: discard\n"},
	} {
		j.run(t, tt.class, func(t *testing.T) {
			p, spec := start(t, tt.class)
			s := p.meet(spec)
			r, err := s.Deliver(sampleMail())
			if err != nil {
				t.Fatal(err)
			}
			if got := optionText(s.Option()); got != "6 1ff "+tt.steps {
				t.Errorf("negotiated %s, want 6 1ff %s", got, tt.steps)
			}
			same(t, "result", tt.want, outcome(r, sampleMail()))
			seen := p.until("close")
			switch tt.class {
			case "See", "Silent":
				sameLines(t, "what the filter saw", pythonEvents("mx.example.net ('192.0.2.1', 50443)", "mx.example.net"), seen)
			case "Skip":
				sameLines(t, "what the filter saw", []string{"body 43", "close"}, seen)
			case "Hold":
				if r.Progress != 2 {
					t.Errorf("%d times progress, want 2", r.Progress)
				}
			}
			same(t, "output of milter-test-server, put together", readable(tt.want), printedOutcome(t, playServer(t, server, spec, sampleMail())))
			p.until("close")
		})
	}
	j.run(t, "two mails, an abort, an unknown command", func(t *testing.T) {
		p, spec := start(t, "See")
		s := p.meet(spec)
		sendSample(t, s)
		if a, err := s.Unknown("XYZZY"); err != nil || !a.IsPass() {
			t.Errorf("unknown: got %v, %v; want continue", a, err)
		}
		if _, err := s.EnvelopeFrom("<>"); err != nil {
			t.Fatal(err)
		}
		if err := s.Abort(); err != nil {
			t.Fatal(err)
		}
		sendSample(t, s)
		if err := s.Quit(); err != nil {
			t.Fatal(err)
		}
		all := pythonEvents("mx.example.net ('192.0.2.1', 50443)", "mx.example.net")
		mail := all[2 : len(all)-1]
		var want []string
		for _, part := range [][]string{all[:2], mail, {"unknown XYZZY", "mail <>", "abort"}, mail, {"close"}} {
			want = append(want, part...)
		}
		sameLines(t, "what the filter saw", want, p.until("close"))
	})
	j.run(t, "macros", func(t *testing.T) {
		p, spec := start(t, "Macros")
		s := p.meet(spec)
		s.Macros = sampleMacros
		mail := sampleMail()
		mail.Recipients = mail.Recipients[1:]
		if _, err := s.Deliver(mail); err != nil {
			t.Fatal(err)
		}
		if !s.Option().Steps.Has(option.StepEnvelopeRecipientRejected) {
			t.Errorf("negotiated %v, want the refused recipients", s.Option().Steps)
		}
		if names, _ := s.MacroRequests().Get(option.MacroStageEnvelopeRecipient); strings.Join(names, " ") != "{rcpt_addr} {auth_authen}" {
			t.Errorf("macros asked for at envelope-recipient: %q", names)
		}
		sameLines(t, "what the filter saw", []string{
			"connect j=mta.example.net",
			"rcpt {rcpt_addr}=carol@example.net {auth_authen}=alice i=ID1",
			"close",
		}, p.until("close"))
	})
	j.run(t, "printed by milter-test-server", func(t *testing.T) {
		p, spec := start(t, "Refuse")
		p.meet(spec).Close()
		mail := miltertest.Mail{From: "<a@example.org>", Recipients: []miltertest.Recipient{{Path: "<bob@example.net>"}},
			Headers: []protocol.Header{{Name: "Subject", Value: " hello"}}}
		got := playServer(t, server, spec, mail)
		head, _, _ := strings.Cut(got, "elapsed-time: ")
		want := `status: reject [550]<5.1.1>(Bob has gone.\nAsk Carol.\n100% sure)` + "\n"
		same(t, "output", want, head)
	})
}

// pythonEvents is what the class See prints of the sample mail.
func pythonEvents(connect, helo string) []string {
	return []string{
		"connect " + connect, "helo " + helo,
		"mail <alice@example.org> SIZE=1000 BODY=8BITMIME",
		"rcpt <bob@example.net> NOTIFY=FAILURE,DELAY", "rcpt <carol@example.net>",
		"data",
		"header From b'Alice <alice@example.org>'",
		`header Subject b'caf\xc3\xa9,\n\tfolded,\n  twice'`,
		"header X-Two b'first'", "header x-two b' second, two blanks'",
		"header X-Tight b'no blank'", `header X-Tab b'\ttab'`, "header X-Empty b''",
		"eoh",
		`body b'Hello,\r\n.a line with a dot\r\n\r\nlast \xe9 line\r\n'`,
		"eom", "close",
	}
}
