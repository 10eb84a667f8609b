package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/milter-go/milter/cmd/internal/console"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// A printer writes for all sessions. What belongs together leaves in one write.
type printer struct {
	mu      sync.Mutex
	w       io.Writer
	errors  io.Writer
	numbers bool
}

// session returns the number of a session as text.
func session(ctx *context.ClientContext) string { return fmt.Sprint(ctx.ID()) }

// event prints text and the macros of the current event.
func (p *printer) event(ctx *context.ClientContext, text string) {
	var lines []string
	switch ctx.State() {
	case context.StateNegotiate, context.StateAbort, context.StateFinished:
		// They have no macros of their own.
	default:
		lines = macroLines(ctx.Macros())
	}
	var b strings.Builder
	b.WriteString(text + "\n")
	if len(lines) > 0 {
		b.WriteString("macros:\n" + strings.Join(lines, ""))
	}
	p.print(session(ctx), b.String())
}

func macroLines(macros []protocol.Macro) []string {
	var lines []string
	for _, m := range macros {
		lines = append(lines, "  "+protocol.MacroName(m.Name)+"="+oneEntry(m.Value)+"\n")
	}
	slices.Sort(lines)
	return lines
}

// oneEntry returns text with the line feeds that do not continue a folded header
// as "\n": what the MTA sends must not look like another event.
func oneEntry(text string) string {
	for i := 0; i < len(text); i++ {
		if text[i] == '\n' && (i+1 == len(text) || text[i+1] != ' ' && text[i+1] != '\t') {
			text = text[:i] + `\n` + text[i+1:]
		}
	}
	return text
}

// print writes text, which ends in LF.
func (p *printer) print(session, text string) {
	text = printable(text)
	if p.numbers && session != "" {
		var b strings.Builder
		for line := range strings.Lines(text) {
			b.WriteString("[" + session + "] " + line)
		}
		text = b.String()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// Whoever reads it is gone if it fails.
	_, _ = io.WriteString(p.w, text)
}

// fault prints an error of a session, or of the whole program.
func (p *printer) fault(session string, err error) {
	if session != "" {
		session = "session " + session + ": "
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.errors, "%s: %s%s\n", name, session, printable(console.Plain(err).Error()))
}

// printable returns text with the control characters that could harm a terminal
// as hexadecimal numbers.
func printable(text string) string {
	harmful := func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r'
	}
	if !strings.ContainsFunc(text, harmful) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if harmful(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteString(text[:size]) // bytes that are no UTF-8 as they are
		}
		text = text[size:]
	}
	return b.String()
}
