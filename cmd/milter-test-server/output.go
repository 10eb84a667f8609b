package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

// An output prints for all sessions. What belongs together leaves in one write.
type output struct {
	options *options
	color   bool

	mu sync.Mutex
	w  io.Writer
}

func (out *output) print(text string) {
	out.mu.Lock()
	defer out.mu.Unlock()
	// Whoever reads it is gone if it fails.
	_, _ = io.WriteString(out.w, text)
}

// result prints what became of a mail.
func (out *output) result(r miltertest.Result) {
	var b strings.Builder
	fmt.Fprintf(&b, "status: %s\n", verdictText(r.Status, r.String()))
	fmt.Fprintf(&b, "elapsed-time: %.6f seconds\n", r.Elapsed.Seconds())
	if r.Quarantine != "" {
		fmt.Fprintf(&b, "Quarantine reason: <%s>\n", printable(r.Quarantine))
	}
	for i, a := range r.Recipients {
		if a.Status == protocol.StatusReject || a.Status == protocol.StatusTemporaryFailure {
			fmt.Fprintf(&b, "refused: %s: %s\n", printable(out.options.mail.Recipients[i].Path), verdictText(a.Status, a.String()))
		}
	}
	if out.options.outputMessage && r.IsDelivered() {
		b.WriteString("\n")
		for _, line := range miltertest.Diff(out.options.mail, r.Mail) {
			b.WriteString(out.colored(line.Mark, printable(line.String())) + "\n")
		}
	}
	out.print(b.String())
}

// verdictText returns a status, with its SMTP reply, in one line.
func verdictText(status protocol.Status, text string) string {
	if status.IsPass() {
		return "pass"
	}
	return printable(strings.ReplaceAll(text, "\n", `\n`))
}

func (out *output) colored(mark byte, text string) string {
	const red, green, plain = "\x1b[31m", "\x1b[32m", "\x1b[0m"
	switch {
	case out.color && mark == '-':
		return red + text + plain
	case out.color && mark == '+':
		return green + text + plain
	}
	return text
}

// summary prints what became of many sessions.
func (out *output) summary(t *tally) {
	var b strings.Builder
	fmt.Fprintf(&b, "sessions: %d\n", out.options.sessions)
	fmt.Fprintf(&b, "failed: %d\n", t.failed())
	if t.early > 0 {
		fmt.Fprintf(&b, "closed before quit: %d\n", t.early)
	}
	fmt.Fprintf(&b, "messages: %d\n", t.messages())
	for _, s := range t.statuses() {
		fmt.Fprintf(&b, "status: %s: %d\n", verdictText(s, s.String()), t.verdicts[s])
	}
	fmt.Fprintf(&b, "elapsed-time: %.6f seconds\n", t.elapsed.Seconds())
	fmt.Fprintf(&b, "rate: %.1f messages/second\n", float64(t.messages())/t.elapsed.Seconds())
	out.print(b.String())
}

// printable returns a line without the control characters that could harm a
// terminal; each is shown as one that cannot be read.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return '\uFFFD'
		}
		return r
	}, line)
}
