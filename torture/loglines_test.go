package main

import (
	stdcontext "context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

func TestLogLines(t *testing.T) {
	tests := []struct {
		name   string
		before []string // the writes before the mark
		after  []string
		want   []string
	}{
		{"nothing", nil, nil, nil},
		{"one line", nil, []string{"a\n"}, []string{"a"}},
		{"several in one write", nil, []string{"a\nb\nc\n"}, []string{"a", "b", "c"}},
		{"one in several writes", nil, []string{"a", "b", "c\nd"}, []string{"abc"}},
		{"a line that began before the mark", []string{"x\nbeg"}, []string{"un\n"}, []string{"begun"}},
		{"an empty line counts", nil, []string{"\n\n"}, []string{"", ""}},
		{"only what is no log is left out", nil, []string{"@mark \na @mark\n"}, []string{"a @mark"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := new(logLines)
			write(l, tt.before)
			mark := l.mark()
			write(l, tt.after)
			if diff := cmp.Diff(tt.want, l.since(mark)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func write(l *logLines, texts []string) {
	for _, text := range texts {
		_, _ = l.Write([]byte(text)) // never fails
	}
}

// A log that a milter in a loop writes is not kept whole, and marks stay true.
func TestLogLinesAreBounded(t *testing.T) {
	l := new(logLines)
	var last int
	for i := range 3 * keptLines {
		last = l.mark()
		write(l, []string{fmt.Sprintf("%d\n", i)})
		if len(l.lines) > keptLines {
			t.Fatalf("%d lines are kept", len(l.lines))
		}
	}
	if l.mark() != 3*keptLines {
		t.Errorf("mark = %d, want %d", l.mark(), 3*keptLines)
	}
	if diff := cmp.Diff([]string{fmt.Sprint(3*keptLines - 1)}, l.since(last)); diff != "" {
		t.Errorf("after the last mark (-want +got):\n%s", diff)
	}
	if got := l.since(0); len(got) == 0 || len(got) > keptLines {
		t.Errorf("%d lines since the start", len(got))
	}
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(logLines)
		write(l, []string{"@stats old\n"})
		mark := l.mark()
		go write(l, []string{"@other\n", "@sta", "ts new\n"})
		if got, err := l.await(t.Context(), mark, "@stats "); got != "new" || err != nil {
			t.Errorf("await = %q, %v, want the one after the mark", got, err)
		}
		ctx, cancel := stdcontext.WithCancelCause(t.Context())
		over := errors.New("over")
		go cancel(over)
		if _, err := l.await(ctx, mark, "never"); !errors.Is(err, over) {
			t.Errorf("error %v, want %v", err, over)
		}
	})
}

func TestAboveDebug(t *testing.T) {
	lines := []string{`time=x level=DEBUG msg=a`, `time=x level=INFO msg="b level=DEBUG c"`, `time=x level=ERROR msg=c`, `panic: d`}
	// What stands in the text is no level.
	if diff := cmp.Diff(lines[1:], aboveDebug(lines)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := aboveDebug([]string{"x"}); strings.Join(got, "") != "x" {
		t.Errorf("got %q: a line without a level counts", got)
	}
}
