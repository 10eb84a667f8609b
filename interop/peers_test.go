//go:build interop

package interop_test

import (
	"bufio"
	"bytes"
	stdcontext "context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// missing says why a program cannot be had: for the reason in the environment
// variable, which interop/run sets, or because it is not installed.
func missing(variable string, paths ...string) string {
	if why := os.Getenv(variable); why != "" {
		return why
	}
	for _, path := range paths {
		if _, err := exec.LookPath(path); err != nil {
			return "not installed: " + path
		}
	}
	return ""
}

// version returns the first line that a program prints about itself.
func version(name string, args ...string) string {
	out, _ := exec.Command(name, args...).CombinedOutput() // some end with a failure after it
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// build builds a command of this module and returns its path.
func build(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", path, "../cmd/"+name).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// shortDir returns a new folder whose name is short enough for a unix socket in
// it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A process is a program that a test has started. It ends with the test.
type process struct {
	t   *testing.T
	cmd *exec.Cmd

	lines  chan string   // of its standard output; closed at the end
	ended  chan struct{} // closed at the end
	stderr bytes.Buffer
	seen   []string
}

// launch starts a program.
func launch(t *testing.T, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(path, args...), lines: make(chan string, 1<<16), ended: make(chan struct{})}
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		defer close(p.lines)
		in := bufio.NewReader(out)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				_, _ = io.Copy(io.Discard, in)
				return
			}
			p.lines <- strings.TrimSuffix(line, "\n")
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		for line := range p.lines {
			p.seen = append(p.seen, line)
		}
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Logf("%s printed:\n%s\nand on standard error:\n%s", filepath.Base(path), strings.Join(p.seen, "\n"), &p.stderr)
		}
	})
	return p
}

// until returns what the program prints up to the line last, which it must print.
func (p *process) until(last string) []string {
	p.t.Helper()
	var lines []string
	timeout := time.After(deadline)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("%s ended and did not print %q", p.cmd.Path, last)
			}
			p.seen = append(p.seen, line)
			lines = append(lines, line)
			if line == last {
				return lines
			}
		case <-timeout:
			p.t.Fatalf("%s did not print %q within %v", p.cmd.Path, last, deadline)
		}
	}
}

// meet connects to the milter, which listens at spec or will soon.
func (p *process) meet(spec string) *miltertest.Session {
	p.t.Helper()
	var s *miltertest.Session
	eventually(p.t, "connected to "+spec, func() bool {
		var err error
		s, err = miltertest.Dial(stdcontext.Background(), spec)
		if err == nil {
			return true
		}
		select {
		case <-p.ended:
			p.t.Fatalf("%s has ended", p.cmd.Path)
		default:
		}
		return false
	})
	p.t.Cleanup(func() { s.Close() })
	return s
}

// same compares a text, line by line.
func same(t *testing.T, what, want, got string) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// sameLines compares lists of lines.
func sameLines(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// outcome returns a result as text, see letter: the status, what was refused, and
// if it is delivered the mail with its envelope.
func outcome(r miltertest.Result, before miltertest.Mail) string {
	verdict := func(text string, pass bool) string {
		if pass {
			return "pass"
		}
		return strings.ReplaceAll(text, "\n", `\n`)
	}
	lines := []string{"status: " + verdict(r.String(), r.Status.IsPass())}
	if r.Quarantine != "" {
		lines = append(lines, "Quarantine reason: <"+r.Quarantine+">")
	}
	for i, a := range r.Recipients {
		if !a.IsPass() {
			lines = append(lines, "refused: "+before.Recipients[i].Path+": "+verdict(a.String(), false))
		}
	}
	if !r.IsDelivered() {
		return strings.Join(lines, "\n") + "\n"
	}
	return strings.Join(lines, "\n") + "\n" + letter(r.Mail)
}

// letter returns a mail with its envelope as text with LF lines. What is not a
// whole CRLF shows as an escape.
func letter(m miltertest.Mail) string {
	words := append([]string{"MAIL FROM:" + m.From}, m.FromParameters...)
	lines := []string{strings.Join(words, " ")}
	for _, r := range m.Recipients {
		words := append([]string{"RCPT TO:" + r.Path}, r.Parameters...)
		lines = append(lines, strings.Join(words, " "))
	}
	text := strings.NewReplacer("\r\n", "\n", "\r", `\r`, "\n", `\n`).Replace(m.String())
	return strings.Join(lines, "\n") + "\n" + text
}

// playServer runs milter-test-server, built at program, with a mail and returns its output.
func playServer(t *testing.T, program, spec string, mail miltertest.Mail, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mail")
	if err := os.WriteFile(file, []byte(mail.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	words := func(path string, parameters []string) string {
		return strings.Join(slices.Concat([]string{path}, parameters), " ")
	}
	args = slices.Concat([]string{"-s", spec, "-m", file, "--output-message", "--color=no", "-f", words(mail.From, mail.FromParameters)}, args)
	for _, r := range mail.Recipients {
		args = append(args, "-r", words(r.Path, r.Parameters))
	}
	cmd := exec.Command(program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("milter-test-server: %v\n%s%s", err, out, &stderr)
	}
	return string(out)
}

// printedOutcome makes an outcome of what milter-test-server has printed.
func printedOutcome(t *testing.T, output string) string {
	t.Helper()
	head, dump, delivered := strings.Cut(output, "\nEnvelope:------------------------------\n")
	var lines []string
	for line := range strings.Lines(head) {
		if !strings.HasPrefix(line, "elapsed-time: ") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	if !delivered {
		return strings.Join(lines, "\n") + "\n"
	}
	for line := range strings.Lines(dump) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "Header:--------------------------------":
		case line == "Body:----------------------------------":
			lines = append(lines, "")
		case strings.HasPrefix(line, "  "), strings.HasPrefix(line, "+ "):
			lines = append(lines, line[2:])
		case !strings.HasPrefix(line, "- "):
			t.Errorf("milter-test-server printed %q", line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// isHangUp reports whether err says that the other end has closed the connection.
func isHangUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// optionText returns a version, actions and steps as numbers.
func optionText(o option.Option) string {
	return fmt.Sprintf("%d %x %x", o.Version, uint32(o.Actions), uint32(o.Steps))
}

// sampleMail is the mail of most cases: with all that is odd in headers and
// bodies and still allowed.
func sampleMail() miltertest.Mail {
	return miltertest.Mail{
		From:           "<alice@example.org>",
		FromParameters: protocol.Parameters{"SIZE=1000", "BODY=8BITMIME"},
		Recipients: []miltertest.Recipient{
			{Path: "<bob@example.net>", Parameters: protocol.Parameters{"NOTIFY=FAILURE,DELAY"}},
			{Path: "<carol@example.net>"},
		},
		Headers: []protocol.Header{
			{Name: "From", Value: " Alice <alice@example.org>"},
			{Name: "Subject", Value: " caf\xc3\xa9,\n\tfolded,\n  twice"},
			{Name: "X-Two", Value: " first"},
			{Name: "x-two", Value: "  second, two blanks"},
			{Name: "X-Tight", Value: "no blank"},
			{Name: "X-Tab", Value: "\ttab"},
			{Name: "X-Empty", Value: ""},
		},
		Body: []byte("Hello,\r\n.a line with a dot\r\n\r\nlast \xe9 line\r\n"),
	}
}

// sampleText is sampleMail as letter shows it.
const sampleText = sampleEnvelope + "\n" + sampleHeader + "\n" + sampleBody

const (
	sampleEnvelope   = "MAIL FROM:<alice@example.org> SIZE=1000 BODY=8BITMIME\n" + sampleRecipients
	sampleRecipients = "RCPT TO:<bob@example.net> NOTIFY=FAILURE,DELAY\nRCPT TO:<carol@example.net>"
	sampleHeader     = `From: Alice <alice@example.org>
Subject: café,
	folded,
  twice
X-Two: first
x-two:  second, two blanks
X-Tight:no blank
X-Tab:	tab
X-Empty:
`
	sampleBody = "Hello,\n.a line with a dot\n\nlast \xe9 line\n"
)

// readable returns text as milter-test-server prints it: a byte that is no UTF-8
// shows as one that cannot be read.
func readable(text string) string {
	return strings.Map(func(r rune) rune { return r }, text)
}

// line returns the next line that the program prints.
func (p *process) line() string {
	p.t.Helper()
	select {
	case line := <-p.lines: // "" at the end
		p.seen = append(p.seen, line)
		return line
	case <-time.After(deadline):
		p.t.Fatalf("%s printed nothing within %v", p.cmd.Path, deadline)
		return ""
	}
}

// interrupt tells the program to end, and waits until it has.
func (p *process) interrupt() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(os.Interrupt)
	timeout := time.After(deadline)
	for {
		select {
		case line, ok := <-p.lines:
			if ok {
				p.seen = append(p.seen, line)
				continue
			}
			if err := p.cmd.Wait(); err != nil {
				p.t.Errorf("%s: %v", p.cmd.Path, err)
			}
			return
		case <-timeout:
			p.t.Fatalf("%s did not end within %v of a signal", p.cmd.Path, deadline)
		}
	}
}
