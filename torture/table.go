package main

import (
	"fmt"
	"os"
	"strings"
)

// A row is the result of one attack.
type row struct {
	id      string // joins it with the rows of comparison
	attack  string
	done    string // what was done
	want    string // what is required
	outcome string
	figure  string // what was measured, in a few words
	ok      bool
}

func (r row) verdict() string {
	if r.ok {
		return "ok"
	}
	return "**fails**"
}

// markdown returns rows as a table.
func markdown(rows []row) string {
	var b strings.Builder
	writeLine(&b, "attack", "what was done", "required", "outcome", "measured", "verdict")
	writeLine(&b, "---", "---", "---", "---", "---", "---")
	for _, r := range rows {
		writeLine(&b, r.attack, r.done, r.want, r.outcome, r.figure, r.verdict())
	}
	return b.String()
}

func writeLine(b *strings.Builder, cells ...string) {
	for _, cell := range cells {
		cell = strings.Join(strings.Fields(cell), " ")
		b.WriteString("| " + strings.ReplaceAll(cell, "|", `\|`) + " ")
	}
	b.WriteString("|\n")
}

// replaceBetween puts content between the markers of a generated part of text.
func replaceBetween(text, part, content string) (string, error) {
	begin, end := "<!-- begin "+part+" -->\n", "<!-- end "+part+" -->"
	before, rest, ok := strings.Cut(text, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", fmt.Errorf("torture: no %q and %q", strings.TrimSpace(begin), end)
	}
	return before + begin + "\n" + content + "\n" + end + after, nil
}

// writeParts replaces the generated parts of a file.
func writeParts(file string, parts map[string]string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text := string(old)
	for part, content := range parts {
		if text, err = replaceBetween(text, part, content); err != nil {
			return fmt.Errorf("%w in %s", err, file)
		}
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// failed returns how many rows are not as required.
func failed(rows []row) int {
	n := 0
	for _, r := range rows {
		if !r.ok {
			n++
		}
	}
	return n
}
