package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

func TestAnswers(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string // the event that decided, and how; then the recipients that were refused
	}{
		{"nothing", nil, "end-of-message: continue"},
		{"negotiate", []string{"--status=negotiate=temporary-failure"}, "negotiate: temporary-failure"},
		{"negotiate late", []string{"--status=negotiate=reject", "--delay=negotiate=1ms"}, "negotiate: reject"},
		{"connect", []string{"--status=connect=reject"}, "connect: reject"},
		{"connect by name", []string{"--status=connect:MX.*=accept"}, "connect: accept"},
		{"connect by address", []string{"--status=connect:inet:*@[[]192.0.2.1]=reject", "--status=connect:inet:*@?192.0.2.1]=accept", "--reply=connect:inet:*@[192.0.2.1]=421 4.3.2 not now"},
			"connect: temporary-failure [421]<4.3.2>(not now)"},
		{"helo", []string{"--reply=helo=550 we know each other"}, "helo: reject [550](we know each other)"},
		{"sender", []string{"--reply=envelope-from:<sender@example.com>=450 4.7.1 grey\\nlisted"}, "envelope-from: temporary-failure [450]<4.7.1>(grey\nlisted)"},
		{"other sender", []string{"--status=envelope-from:sender@example.org=reject", "--status=envelope-from:<>=reject"}, "end-of-message: continue"},
		{"recipient without brackets, in other case", []string{"--status=envelope-recipient:nobody@EXAMPLE.com=reject"}, "end-of-message: continue; reject"},
		{"all recipients", []string{"--reply=envelope-recipient=550 5.1.1 no 100% sure"}, "envelope-recipient: reject [550]<5.1.1>(no 100% sure); reject [550]<5.1.1>(no 100% sure); reject [550]<5.1.1>(no 100% sure)"},
		{"the first rule counts", []string{"--status=envelope-recipient:*@example.org=temporary-failure", "--reply=envelope-recipient=550", "--status=envelope-recipient=discard"},
			"envelope-recipient: temporary-failure; temporary-failure; reject [550]"},
		{"data", []string{"--status=data=discard"}, "data: discard"},
		{"header", []string{"--status=header:X-Number: 2=accept"}, "header: accept"},
		{"folded header", []string{"--status=header:subject: a*folded*subject=reject"}, "header: reject"},
		{"equals signs", []string{"--reply=header:X-Number: 1=551 a=b", "--status=header:a=b=reject"}, "header: reject [551](a=b)"},
		{"end of header", []string{"--status=end-of-header=temporary-failure"}, "end-of-header: temporary-failure"},
		{"body", []string{"--status=body:*second*=reject"}, "body: reject"},
		{"skip", []string{"--status=body=skip"}, "end-of-message: continue"},
		{"end of message", []string{"--reply=end-of-message=554 5.7.1 spam"}, "end-of-message: reject [554]<5.7.1>(spam)"},
		{"no-reply where it was not agreed on", []string{"--status=helo=no-reply"}, "end-of-message: continue"},
		{"late answers", []string{"--delay=connect=1ms", "--delay=header:X-Number: 2=1ms", "--status=header:X-Number: 2=reject", "--delay=envelope-from=1ms"}, "header: reject"},
		{"never", []string{"--status=end-of-message=progress", "--reply-timeout=300ms", "--delay=end-of-message=1h"}, "end-of-message: temporary-failure"},
		{"too late", []string{"--delay=end-of-message=1h", "--reply-timeout=300ms"}, "end-of-message: temporary-failure"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, tt.args...)
			r, err := p.dial(t).Deliver(sampleMail())
			must(t, err)
			got := fmt.Sprintf("%v: %v", r.Event, r)
			for _, a := range r.Recipients {
				if !a.IsPass() {
					got += fmt.Sprintf("; %v", a)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			p.stop(t)
		})
	}
}

// A reply belongs to one answer: the next refusal has none.
func TestReplyIsNotKept(t *testing.T) {
	p := start(t, "--reply=envelope-recipient:a=550 5.1.1 gone", "--status=envelope-recipient:b=reject", "--status=unknown:VRFY*=temporary-failure")
	s := p.dial(t)
	_, err := s.Negotiate()
	must(t, err)
	_, err = s.EnvelopeFrom("<>")
	must(t, err)
	var got []string
	for _, path := range []string{"<a>", "<b>", "<c>"} {
		a, err := s.EnvelopeRecipient(path)
		must(t, err)
		got = append(got, a.String())
	}
	a, err := s.Unknown("vrfy x")
	must(t, err)
	got = append(got, a.String())
	if diff := cmp.Diff([]string{"reject [550]<5.1.1>(gone)", "reject", "continue", "temporary-failure"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	must(t, s.Quit())
	p.stop(t)
}

func TestClose(t *testing.T) {
	for _, args := range [][]string{{"--status=data=close"}, {"--status=data=close", "--delay=data=1ms"}} {
		p := start(t, args...)
		s := p.dial(t)
		_, err := s.Send(sampleMail())
		if !errors.Is(err, io.EOF) {
			t.Errorf("%v: error %v, want EOF", args, err)
		}
		p.stop(t)
	}
}

// The MTA hangs up while a late answer is due: nothing is answered, all is ended.
func TestDelayIsCutShort(t *testing.T) {
	p := start(t, "--delay=data=1h", "-v")
	s := p.dial(t)
	_, err := s.Negotiate()
	must(t, err)
	_, err = s.EnvelopeFrom("<>")
	must(t, err)
	_, err = s.EnvelopeRecipient("<b@example.com>")
	must(t, err)
	must(t, s.SendRaw(protocol.Bare(protocol.CommandData).Append(nil)))
	p.stdout.await(t, `(?m)^data$`)
	must(t, s.Cut())
	p.stdout.await(t, `(?m)^data\n(abort\naborted: state=<data>\nmessage-processed: .*\nfinished\n)$`)
	p.stop(t)
}

func TestProgress(t *testing.T) {
	p := start(t, "--progress=5ms", "--delay=end-of-message=100ms", "--add-header=X: y")
	r, err := p.dial(t).Deliver(sampleMail())
	must(t, err)
	if r.Progress == 0 || len(r.Changes) != 1 || r.Status != protocol.StatusContinue {
		t.Errorf("%d progress, changes %v, status %v; want some progress, the header and continue", r.Progress, r.Changes, r.Status)
	}
	p.stop(t)
}

func TestChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "body")
	must(t, os.WriteFile(file, []byte("from a file\r\nand more\n"), 0o644))
	tests := []struct {
		name string
		args []string
		want []reply.Message
	}{
		{"headers", []string{"--add-header=X-1: a", "--add-header", "X-2:b\\n\\tc", "--insert-header=3:X-3:  d", "--change-header=Subject: new",
			"--change-header=X-Number[2]:", "--delete-header=X-Number[7]", "--delete-header=X"}, []reply.Message{
			reply.AddHeader{Name: "X-1", Value: "a"}, reply.AddHeader{Name: "X-2", Value: "b\n\tc"},
			reply.InsertHeader{Index: 3, Name: "X-3", Value: " d"}, reply.ChangeHeader{Index: 1, Name: "Subject", Value: "new"},
			reply.ChangeHeader{Index: 2, Name: "X-Number"}, reply.ChangeHeader{Index: 7, Name: "X-Number"}, reply.ChangeHeader{Index: 1, Name: "X"},
		}},
		{"headers with leading space", []string{"--leading-space", "--add-header=X-1: a", "--change-header=Subject:new"}, []reply.Message{
			reply.AddHeader{Name: "X-1", Value: " a"}, reply.ChangeHeader{Index: 1, Name: "Subject", Value: "new"},
		}},
		{"envelope", []string{"--change-from=<x@example.com> SIZE=1 BODY=7BIT", "--add-recipient=a@example.com", "--add-recipient=<b@example.com> NOTIFY=NEVER",
			"--delete-recipient=<receiver@example.org>"}, []reply.Message{
			reply.ChangeFrom{Path: "<x@example.com>", Parameters: "SIZE=1 BODY=7BIT"}, reply.AddRecipient{Path: "a@example.com"},
			reply.AddRecipient{Path: "<b@example.com>", Parameters: "NOTIFY=NEVER"}, reply.DeleteRecipient{Path: "<receiver@example.org>"},
		}},
		{"body", []string{"--replace-body=a\\tb\\nc\\\\n"}, []reply.Message{reply.ReplaceBody{Chunk: []byte("a\tb\r\nc\\n")}}},
		{"body from a file", []string{"--replace-body=@" + file}, []reply.Message{reply.ReplaceBody{Chunk: []byte("from a file\r\nand more\r\n")}}},
		{"empty body", []string{"--replace-body="}, []reply.Message{reply.ReplaceBody{}}},
		{"quarantine goes last", []string{"--quarantine=why", "--add-header=X: y", "--packet-buffer-size=0"}, []reply.Message{
			reply.AddHeader{Name: "X", Value: "y"}, reply.Quarantine{Reason: "why"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, tt.args...)
			r, err := p.dial(t).Deliver(sampleMail())
			must(t, err)
			empty := cmp.Transformer("bytes", func(b []byte) string { return string(b) }) // nil is empty
			if diff := cmp.Diff(tt.want, r.Changes, empty); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if _, stderr := p.stop(t); stderr != "" {
				t.Errorf("stderr:\n%s", stderr)
			}
		})
	}
}

// A change that was not agreed on is reported; the others are made.
func TestChangeNotAllowed(t *testing.T) {
	p := start(t, "--quarantine=why", "--add-header=X: y")
	s := p.dial(t)
	s.Offer = option.Option{Version: 6, Actions: option.ActionAddHeaders, Steps: option.AllSteps}
	r, err := s.Deliver(sampleMail())
	must(t, err)
	if diff := cmp.Diff([]reply.Message{reply.AddHeader{Name: "X", Value: "y"}}, r.Changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	want := "milter-test-client: session 1: action was not negotiated: quarantine"
	if _, stderr := p.stop(t); !strings.HasPrefix(stderr, want) {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
}

// Two sessions at once: a late answer to one does not hold up the other.
func TestSessionsAtOnce(t *testing.T) {
	p := start(t, "--delay=helo:slow=1h", "-n")
	slow, quick := p.dial(t), p.dial(t)
	_, err := slow.Negotiate()
	must(t, err)
	must(t, slow.SendRaw(protocol.Helo{Name: "slow"}.Append(nil)))
	p.stdout.await(t, `\[\d\] helo: <slow>`)
	_, err = quick.Deliver(sampleMail())
	must(t, err)
	must(t, slow.Cut())
	p.stdout.await(t, `(?s)\] finished\n.*\] finished\n`)
	stdout, _ := p.stop(t)
	for line := range strings.Lines(stdout) {
		if !strings.HasPrefix(line, "[1] ") && !strings.HasPrefix(line, "[2] ") {
			t.Errorf("a line without its session: %q", line)
		}
	}
}

func TestFits(t *testing.T) {
	tests := []struct {
		pattern, text string
		want          bool
	}{
		{"a", "A", true}, {"a", "ab", false}, {"*", "", true}, {"*", "x\ny", true}, {"a*", "ab", true}, {"a*", "ba", false},
		{"*b", "ab", true}, {"*b", "ba", false}, {"a*b", "ab", true}, {"a*a", "a", false}, {"a*b*c", "a-b-c", true},
		{"a*b*c", "acb", false}, {"*b*b*", "ab", false}, {"*b*b*", "abb", true}, {"?", "a", false}, {"[a]", "[a]", true}, {"ä*", "Äb", true},
	}
	for _, tt := range tests {
		if got := fits(tt.pattern, tt.text); got != tt.want {
			t.Errorf("fits(%q, %q) = %v, want %v", tt.pattern, tt.text, got, tt.want)
		}
	}
}

func TestOneEntry(t *testing.T) {
	tests := []struct{ text, want string }{
		{"helo: <x>\nfinished>", `helo: <x>\nfinished>`},
		{"header: <Subject: a\n b\n\tc>", "header: <Subject: a\n b\n\tc>"},
		{"\n\n x\n", `\n` + "\n x" + `\n`},
		{"", ""},
	}
	for _, tt := range tests {
		if got := oneEntry(tt.text); got != tt.want {
			t.Errorf("oneEntry(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	tests := []struct{ text, want string }{
		{"a\tb\r\nc", "a\tb\r\nc"}, {"\x1b[2J", `\x1b[2J`}, {"\x00\x7f\u009b", `\x00\x7f\x9b`}, {"f\xfcr Ä\x1b", "f\xfcr Ä\\x1b"},
	}
	for _, tt := range tests {
		if got := printable(tt.text); got != tt.want {
			t.Errorf("printable(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}
