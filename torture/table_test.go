package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMarkdown(t *testing.T) {
	rows := []row{
		{attack: "a", done: "x | y", want: "w", outcome: "as required", figure: "1 MiB", ok: true},
		{attack: "b", done: "two\nlines", want: "w", outcome: "dead"},
	}
	want := strings.Join([]string{
		`| attack | what was done | required | outcome | measured | verdict |`,
		`| --- | --- | --- | --- | --- | --- |`,
		`| a | x \| y | w | as required | 1 MiB | ok |`,
		`| b | two lines | w | dead |  | **fails** |`,
		``,
	}, "\n")
	if diff := cmp.Diff(want, markdown(rows)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := failed(rows); got != 1 {
		t.Errorf("failed = %d, want 1", got)
	}
}

func TestReplaceBetween(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"in the middle", "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n", "a\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nb\n"},
		{"empty", "<!-- begin x -->\n<!-- end x -->", "<!-- begin x -->\n\nnew\n\n<!-- end x -->"},
		{"another part stays", "<!-- begin y -->\n1\n<!-- end y -->\n<!-- begin x -->\n2\n<!-- end x -->", "<!-- begin y -->\n1\n<!-- end y -->\n<!-- begin x -->\n\nnew\n\n<!-- end x -->"},
		{"no begin", "<!-- end x -->", ""},
		{"no end", "<!-- begin x -->\n", ""},
		{"the end is before the begin", "<!-- end x -->\n<!-- begin x -->\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := replaceBetween(tt.text, "x", "new\n")
			if diff := cmp.Diff(tt.want, got); diff != "" || (err != nil) != (tt.want == "") {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
			if err == nil {
				if again, err := replaceBetween(got, "x", "new\n"); again != got || err != nil {
					t.Errorf("a second time it is %q, %v", again, err)
				}
			}
		})
	}
}

// The document has a place for each part that is written into it.
func TestDocumentHasParts(t *testing.T) {
	text, err := os.ReadFile("../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "copy.md")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeParts(file, map[string]string{"torture": "T\n", "soak": "S\n"}); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"\nT\n\n<!-- end torture -->", "\nS\n\n<!-- end soak -->"} {
		if !strings.Contains(string(written), part) {
			t.Errorf("no %q in it", part)
		}
	}
	if err := writeParts(file, map[string]string{"nothing": ""}); err == nil {
		t.Error("a part that is not there: no error")
	}
}

func TestComparison(t *testing.T) {
	rows := []row{
		{id: "length-0", outcome: "as required", figure: "closed", ok: true},
		{id: "connect-no-nul", outcome: "crashed"},
		{id: "macro-odd", ok: true},
		{id: "panic-now", figure: "9", ok: true}, {id: "panic-later", figure: "9", ok: true},
	}
	text := markdownComparison(rows)
	for _, want := range []string{
		"| packet length 0 | ok; closed | CRASH | CRASH | CRASH | ok | CRASH | ok | ok |\n",
		"| CONNECT without NUL | **crashed** | CRASH |",
		"| MAIL without NUL | not run | ok |",
		"| odd macro list | ok | CRASH |",
		"| a handler panics | ok | CRASH |",
		"- d--j: github.com/d--j/go-milter 7483ed5 (July 2026)\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
