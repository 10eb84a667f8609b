package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/milter-go/milter/client/miltertest"
)

const (
	width  = 96 // of a line
	middle = 60 // where the milter's half begins
)

// The colours of ECMA-48.
const (
	bold  = "1"
	red   = "31"
	green = "32"
	cyan  = "36"
)

// A screen takes lines. What two goroutines print is not mixed.
type screen struct {
	w      io.Writer
	colour bool

	mu     sync.Mutex
	open   bool // the MTA's half of a line is there and waits for the milter's
	column int  // how long that half is
	err    error
}

func (s *screen) print(colour, text string) {
	if s.colour && colour != "" {
		line, end := strings.CutSuffix(text, "\n")
		text = "\x1b[" + colour + "m" + line + "\x1b[0m"
		if end {
			text += "\n"
		}
	}
	if _, err := io.WriteString(s.w, text); err != nil && s.err == nil {
		s.err = err
	}
}

func (s *screen) title(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLine()
	s.print("", "\n")
	s.print(bold, text+"\n")
	s.print("", "\n")
}

func (s *screen) text(lines string) {
	for line := range strings.SplitSeq(lines, "\n") {
		s.print("", "  "+line+"\n")
	}
}

func (s *screen) endLine() {
	if s.open {
		s.print("", "\n")
	}
	s.open, s.column = false, 0
}

// event shows what the MTA tells.
func (s *screen) event(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLine()
	text = "  " + shorten(text, middle-4)
	s.print(cyan, text)
	s.open, s.column = true, utf8.RuneCountInString(text)
}

// answer shows what the milter answers.
func (s *screen) answer(colour, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.print("", strings.Repeat(" ", middle-s.column))
	s.print(colour, shorten(text, width-middle)+"\n")
	s.open, s.column = false, 0
}

// dump shows a mail. Of a long paragraph of the body that is the same before and
// after, such as an attachment, it shows the first two lines.
func (s *screen) dump(dump miltertest.Dump) {
	const shown, least = 2, 7
	body := slices.IndexFunc(dump, func(l miltertest.Line) bool {
		return l.Mark == 0 && strings.HasPrefix(l.Text, "Body:")
	})
	for i := 0; i < len(dump); i++ {
		s.line(dump[i])
		if i < body {
			continue
		}
		n := 0
		for _, l := range dump[i:] {
			if l.Mark != ' ' || l.Text == "" {
				break
			}
			n++
		}
		if n >= least {
			s.line(dump[i+1])
			s.line(miltertest.Line{Mark: ' ', Text: fmt.Sprintf("... (%d lines)", n-shown)})
			i += n - 1
		}
	}
}

func (s *screen) line(l miltertest.Line) {
	colour := ""
	switch l.Mark {
	case '-':
		colour = red
	case '+':
		colour = green
	}
	s.print(colour, strings.TrimRight("  "+shorten(l.String(), width-2), " ")+"\n")
}

// shorten returns text in at most n characters, all of which can be printed.
func shorten(text string, n int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return '?'
	}, text)
	if runes := []rune(text); len(runes) > n {
		return string(runes[:n-4]) + " ..."
	}
	return text
}

// isTerminal reports whether f shows colours.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 &&
		os.Getenv("TERM") != "dumb" && os.Getenv("NO_COLOR") == "" // no-color.org
}
