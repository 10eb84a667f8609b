//go:build interop

package interop_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// buildFilter compiles the filter on libmilter.
func buildFilter(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "filter")
	cc := exec.Command("gcc", "-std=gnu11", "-Wall", "-Wextra", "-O1", "-o", path,
		"peers/libmilter/filter.c", "-lmilter", "-lpthread")
	if out, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return path
}

// libmilterVersion returns the version of the package.
func libmilterVersion() string {
	out, _ := exec.Command("dpkg-query", "-W", "-f", "${Version}", "libmilter-dev").Output() // empty without dpkg
	return string(out)
}

// TestLibmilter lets filters on libmilter, which are Sendmail's, judge the MTA's
// side of the library.
func TestLibmilter(t *testing.T) {
	skip := missing("INTEROP_SKIP_LIBMILTER", "gcc")
	if _, err := os.Stat("/usr/include/libmilter/mfapi.h"); err != nil && skip == "" {
		skip = "not installed: libmilter/mfapi.h"
	}
	j := newJudge(t, "libmilter", libmilterVersion(), skip)
	path := buildFilter(t)
	for _, group := range []struct {
		name string
		test func(t *testing.T, j *judge, path string)
	}{
		{"changes", testLibmilterChanges},
		{"printed", testLibmilterPrinted},
		{"events", testLibmilterEvents},
		{"statuses", testLibmilterStatuses},
		{"negotiation", testLibmilterNegotiation},
		{"sizes", testLibmilterSizes},
		{"times", testLibmilterTimes},
		{"ends", testLibmilterEnds},
	} {
		t.Run(group.name, func(t *testing.T) { group.test(t, j, path) })
	}
}

// A filter is a running filter on libmilter.
type filter struct {
	*process
	spec string
}

func (f *filter) connect() *miltertest.Session { return f.meet(f.spec) }

// startFilter starts the filter with what it is to do, see filter.c.
func startFilter(t *testing.T, path string, words ...string) *filter {
	t.Helper()
	spec := "unix:" + filepath.Join(shortDir(t), "s")
	f := &filter{launch(t, path, append([]string{spec}, words...)...), spec}
	f.until("ready")
	return f
}

// testLibmilterChanges sends whole mails through filters that we did not write:
// what comes out is what the change means, byte for byte, from the package and
// from the printed output of the command alike.
func testLibmilterChanges(t *testing.T, j *judge, path string) {
	server := build(t, "milter-test-server")
	for _, tt := range libmilterChanges(t) {
		j.run(t, tt.name, func(t *testing.T) {
			mail := sampleMail()
			if tt.edit != nil {
				tt.edit(&mail)
			}
			f := startFilter(t, path, tt.filter...)
			s := f.connect()
			r, err := s.Deliver(mail)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "result", tt.want, outcome(r, mail))
			f.until("close")
			output := playServer(t, server, f.spec, mail)
			same(t, "output of milter-test-server, put together", readable(tt.want), printedOutcome(t, output))
			f.until("close")
			for _, line := range f.seen {
				if strings.HasPrefix(line, "failed ") {
					t.Errorf("libmilter refused what the filter wanted: %s", line)
				}
			}
		})
	}
}

// testLibmilterPrinted holds what milter-test-server prints of a filter's work,
// to the last byte, and its exit status.
func testLibmilterPrinted(t *testing.T, j *judge, path string) {
	server := build(t, "milter-test-server")
	const mail = `  To: <bob@example.net>, <carol@example.net>
Body:----------------------------------
  one
  two
`
	for _, tt := range []struct {
		name   string
		filter []string
		status int // of the exit
		want   string
	}{
		{"changes", []string{"change", "1", "From", "<new@example.org>", "insert", "2", "X-New", "folded\n\there", "drop", "<bob@example.net>",
			"from", "<new@example.org>", "ENVID=x"}, 0, `status: pass

Envelope:------------------------------
- MAIL FROM:<alice@example.org> SIZE=9
+ MAIL FROM:<new@example.org> ENVID=x
- RCPT TO:<bob@example.net>
  RCPT TO:<carol@example.net>
Header:--------------------------------
- From: <alice@example.org>
+ From: <new@example.org>
+ X-New: folded
+ 	here
` + mail},
		{"quarantine", []string{"quarantine", "why not"}, 13, `status: quarantine
Quarantine reason: <why not>

Envelope:------------------------------
  MAIL FROM:<alice@example.org> SIZE=9
  RCPT TO:<bob@example.net>
  RCPT TO:<carol@example.net>
Header:--------------------------------
  From: <alice@example.org>
` + mail},
		{"one recipient refused", []string{"refuse", "<bob@example.net>", "550", "5.1.1", "gone\nfor good"}, 0, `status: pass
refused: <bob@example.net>: reject [550]<5.1.1>(gone\nfor good)

Envelope:------------------------------
  MAIL FROM:<alice@example.org> SIZE=9
- RCPT TO:<bob@example.net>
  RCPT TO:<carol@example.net>
Header:--------------------------------
  From: <alice@example.org>
` + mail},
		{"reject", []string{"reply", "eom", "554", "", "no"}, 10, "status: reject [554](no)\n"},
		{"tempfail", []string{"answer", "mail", "tempfail"}, 11, "status: temporary-failure\n"},
		{"discard", []string{"answer", "body", "discard"}, 12, "status: discard\n"},
	} {
		j.run(t, tt.name, func(t *testing.T) {
			f := startFilter(t, path, tt.filter...)
			cmd := exec.Command(server, "-s", f.spec, "--output-message", "--verdict-as-status", "-f", "alice@example.org SIZE=9",
				"-r", "bob@example.net", "-r", "carol@example.net", "-b", "one\r\n", "-b", "two\r\n")
			out, err := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != tt.status {
				t.Errorf("exit status %d (%v), want %d", got, err, tt.status)
			}
			steady := regexp.MustCompile(`(?m)^elapsed-time: \d+\.\d{6} seconds\n`).ReplaceAllString(string(out), "")
			same(t, "output without the elapsed time", tt.want, steady)
		})
	}
}

// testLibmilterEvents holds the MTA's side to what the callbacks of libmilter
// get to see, and to what it makes of libmilter's answers.
func testLibmilterEvents(t *testing.T, j *judge, path string) {
	for _, tt := range libmilterEvents {
		j.run(t, tt.name, func(t *testing.T) {
			f := startFilter(t, path, tt.filter...)
			s := f.connect()
			tt.play(t, s)
			if err := s.Quit(); err != nil {
				t.Error(err)
			}
			want := strings.Split(strings.TrimSuffix(strings.TrimPrefix(tt.want, "\n"), "\n"), "\n")
			sameLines(t, "what the filter saw", append(want, "close"), f.until("close"))
		})
	}
}

// testLibmilterStatuses lets libmilter answer every event with every status that
// it can.
func testLibmilterStatuses(t *testing.T, j *judge, path string) {
	for _, event := range []struct {
		name    string
		command protocol.Command
		accept  bool // allows accept
		discard bool
	}{
		{"connect", protocol.CommandConnect, true, false},
		{"helo", protocol.CommandHelo, true, false},
		{"mail", protocol.CommandEnvelopeFrom, true, true},
		{"rcpt", protocol.CommandEnvelopeRecipient, true, true},
		{"data", protocol.CommandData, true, true},
		{"header", protocol.CommandHeader, true, true},
		{"eoh", protocol.CommandEndOfHeader, true, true},
		{"body", protocol.CommandBody, true, true},
		{"eom", protocol.CommandEndOfMessage, true, true},
	} {
		for _, answer := range []struct {
			word   []string
			allow  bool
			status protocol.Status
			want   string // of the result
		}{
			{[]string{"answer", event.name, "continue"}, true, protocol.StatusContinue, "continue"},
			{[]string{"answer", event.name, "accept"}, event.accept, protocol.StatusAccept, "accept"},
			{[]string{"answer", event.name, "discard"}, event.discard, protocol.StatusDiscard, "discard"},
			{[]string{"answer", event.name, "reject"}, true, protocol.StatusReject, "reject"},
			{[]string{"answer", event.name, "tempfail"}, true, protocol.StatusTemporaryFailure, "temporary-failure"},
			{[]string{"reply", event.name, "550", "5.7.1", "100%% no"}, true, protocol.StatusReject, "reject [550]<5.7.1>(100% no)"},
			{[]string{"reply", event.name, "451", "", "later"}, true, protocol.StatusTemporaryFailure, "temporary-failure [451](later)"},
			{[]string{"reply", event.name, "421", "4.7.0", "a\nb\nc"}, true, protocol.StatusTemporaryFailure, "temporary-failure [421]<4.7.0>(a\nb\nc)"},
			{[]string{"answer", event.name, "skip"}, event.name == "body", protocol.StatusContinue, "continue"},
		} {
			j.run(t, strings.Join(answer.word, " "), func(t *testing.T) {
				f := startFilter(t, path, answer.word...)
				s := f.connect()
				r, err := s.Send(sampleMail())
				var fault *miltertest.ProtocolError
				if !answer.allow {
					if !errors.As(err, &fault) || fault.Event != event.command {
						t.Errorf("got %v, %v; want a ProtocolError at %v", r, err, event.command)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				wantEvent := event.command
				if answer.status == protocol.StatusContinue {
					wantEvent = protocol.CommandEndOfMessage
				}
				if r.String() != answer.want || r.Event != wantEvent {
					t.Errorf("got %v at %v, want %s at %v", r, r.Event, answer.want, wantEvent)
				}
				// The connection is in order: what follows is answered as well.
				again, err := s.Send(sampleMail())
				if err != nil || again.String() != r.String() {
					t.Errorf("second mail: got %v, %v; want %v", again, err, r)
				}
				if err := s.Quit(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// testLibmilterNegotiation negotiates as MTAs of other versions do.
func testLibmilterNegotiation(t *testing.T, j *judge, path string) {
	for _, tt := range []struct {
		name   string
		filter []string
		offer  option.Option
		want   string // what is agreed on, or why there is no agreement
	}{
		{"everything", nil, option.All(), "6 1ff 400"},
		{"all steps", []string{"steps", "1fffff"}, option.All(), "6 1ff 1fffff"},
		{"few actions", []string{"actions", "11"}, option.All(), "6 11 400"},
		{"without callbacks", []string{"without", "connect", "without", "helo", "without", "data", "without", "unknown"}, option.All(), "6 1ff 703"},
		{"version 7 is more than there is", nil, option.Option{Version: 7, Actions: 0x1ff, Steps: 0x1fffff}, "6 1ff 400"},
		{"version 4", []string{"actions", "3f"}, option.Option{Version: 4, Actions: 0x3f, Steps: 0x37f}, "4 3f 0"},
		{"version 2", []string{"actions", "3f"}, option.Option{Version: 2, Actions: 0x3f, Steps: 0x7f}, "2 3f 0"},
		{"offer of zeros", []string{"actions", "f"}, option.Option{Version: 2}, "2 f 0"},
		{"no-reply that was not offered is left out", []string{"steps", "ff080"}, option.Option{Version: 6, Actions: 0x1ff, Steps: 0x7ff}, "6 1ff 480"},
		// What the negotiate callback gives must be in the offer, which it was cut to.
		{"fewer actions offered than registered", nil, option.Option{Version: 6, Actions: 1, Steps: 0x1fffff}, "6 1 400"},
		{"version 1", nil, option.Option{Version: 1, Actions: 0xf, Steps: 0x3f}, "EOF"},
	} {
		j.run(t, tt.name, func(t *testing.T) {
			f := startFilter(t, path, tt.filter...)
			s := f.connect()
			s.Offer = tt.offer
			_, err := s.Negotiate()
			if tt.want == "EOF" {
				if !errors.Is(err, io.EOF) {
					t.Errorf("got %v, want the connection to be closed", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := s.Option()
			if text := optionText(got); text != tt.want {
				t.Errorf("agreed on %s, want %s", text, tt.want)
			}
			r, err := s.Deliver(sampleMail())
			if err != nil || r.String() != "continue" {
				t.Errorf("a mail after it: got %v, %v; want continue", r, err)
			}
		})
	}
}
