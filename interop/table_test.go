//go:build interop

package interop_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A table is a file of what each MTA does in each case, to be read and compared:
//
//	envelope-from, reject
//	    postfix   C H U M | mail: 550 5.7.1 Command rejected
//	    sendmail  …
//
// Lines that begin with # are for the reader.
type table struct {
	path string

	sync.Mutex
	comment string
	cases   []string // in the order of the file
	rows    map[string]map[string]string
	loaded  bool
}

// replies are the answers of an SMTP client and the events of a milter for each
// verdict at each event.
var replies = &table{path: "testdata/replies.txt"}

func (tb *table) load() error {
	if tb.loaded {
		return nil
	}
	tb.loaded = true
	tb.rows = make(map[string]map[string]string)
	text, err := os.ReadFile(tb.path)
	if err != nil {
		return err
	}
	title := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"):
			tb.comment += line + "\n"
		case line == "":
		case line[0] != ' ':
			title = line
			tb.cases = append(tb.cases, title)
			tb.rows[title] = make(map[string]string)
		default:
			name, row, _ := strings.Cut(strings.TrimSpace(line), " ")
			tb.rows[title][name] = strings.TrimSpace(row)
		}
	}
	return nil
}

// check compares what was seen with the row of an MTA, or keeps it for -update.
func (tb *table) check(t *testing.T, title, mta, got string) {
	t.Helper()
	tb.Lock()
	defer tb.Unlock()
	if err := tb.load(); err != nil && !*update {
		t.Fatal(err)
	}
	if *update {
		if tb.rows[title] == nil {
			tb.cases = append(tb.cases, title)
			tb.rows[title] = make(map[string]string)
		}
		tb.rows[title][mta] = got
		return
	}
	want, ok := tb.rows[title][mta]
	if !ok {
		t.Fatalf("%s has no row for %q, %s; got:\n%s", tb.path, title, mta, got)
	}
	if got != want {
		t.Errorf("%s, %s\nwant %s\ngot  %s", title, mta, want, got)
	}
}

// save writes the table, after -update.
func (tb *table) save() error {
	tb.Lock()
	defer tb.Unlock()
	if !tb.loaded {
		return nil
	}
	var out strings.Builder
	out.WriteString(tb.comment)
	only := func(title string) int { // cases that Postfix does not have come last
		if _, ok := tb.rows[title]["postfix"]; ok {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(tb.cases, func(a, b string) int { return only(a) - only(b) })
	for _, title := range tb.cases {
		fmt.Fprintf(&out, "\n%s\n", title)
		for _, mta := range []string{"postfix", "sendmail"} {
			if row, ok := tb.rows[title][mta]; ok {
				fmt.Fprintf(&out, "    %-9s %s\n", mta, row)
			}
		}
	}
	return os.WriteFile(tb.path, []byte(out.String()), 0o644)
}
