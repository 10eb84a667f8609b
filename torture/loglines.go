package main

import (
	stdcontext "context"
	"fmt"
	"strings"
	"sync"
)

// keptLines is how many lines of a log are kept, the newest ones.
const keptLines = 5000

// A logLines takes what a process prints, as an io.Writer, and counts lines. A
// line is what ends in LF, whatever it means to whoever wrote it.
type logLines struct {
	mu      sync.Mutex // guards what follows
	lines   []string
	dropped int           // lines that are not kept any more
	bytes   int64         // of all lines
	rest    []byte        // of the line that has begun
	changed chan struct{} // closed at the next line; nil if nobody waits
}

// Write adds what the process prints. It never fails.
func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes += int64(len(p))
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := strings.Cut(string(l.rest), "\n")
		if !ok {
			break
		}
		l.rest = []byte(rest)
		l.lines = append(l.lines, line)
		if len(l.lines) > keptLines {
			l.dropped += len(l.lines) - keptLines/2
			l.lines = append([]string(nil), l.lines[len(l.lines)-keptLines/2:]...)
		}
		if l.changed != nil {
			close(l.changed)
			l.changed = nil
		}
	}
	return len(p), nil
}

// mark returns how many lines there are.
func (l *logLines) mark() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped + len(l.lines)
}

// since returns the lines after a mark, as far as they are kept, without those
// that begin with @: they are no log.
func (l *logLines) since(mark int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, line := range l.lines[max(mark-l.dropped, 0):] {
		if !strings.HasPrefix(line, "@") {
			lines = append(lines, line)
		}
	}
	return lines
}

// await returns the first line after a mark that begins with prefix, without it.
func (l *logLines) await(ctx stdcontext.Context, mark int, prefix string) (string, error) {
	for {
		l.mu.Lock()
		for _, line := range l.lines[max(mark-l.dropped, 0):] {
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				l.mu.Unlock()
				return rest, nil
			}
		}
		mark = l.dropped + len(l.lines)
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("no line %q: %w", prefix, stdcontext.Cause(ctx))
		}
	}
}

// aboveDebug returns the lines of a slog text log whose level is not debug. A
// line without a level counts: it should not be there.
func aboveDebug(lines []string) []string {
	var loud []string
	for _, line := range lines {
		if fields := strings.Fields(line); len(fields) < 2 || fields[1] != "level=DEBUG" {
			loud = append(loud, line)
		}
	}
	return loud
}
