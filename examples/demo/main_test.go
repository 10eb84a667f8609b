package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden file anew")

const golden = "testdata/demo.golden"

// TestDemo compares the whole output with the golden file, and measures the time
// that it takes on the clock of a synctest bubble, where only waiting takes time.
func TestDemo(t *testing.T) {
	text, err := os.ReadFile("../../testdata/multipart.eml")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := demo(&screen{w: &got}, newMilter(), bytes.NewReader(text)); err != nil {
			t.Error(err)
		}
		if elapsed := time.Since(start); elapsed < 500*time.Millisecond || elapsed > 5*time.Second {
			t.Errorf("the demo takes %v, want half a second to five", elapsed)
		}
	})
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	// A checkout on Windows may have CRLF.
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), got.String()); diff != "" {
		t.Errorf("output (-want +got); -update writes the golden file anew:\n%s", diff)
	}
	for line := range strings.Lines(got.String()) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > 100 || strings.TrimRight(line, " ") != line {
			t.Errorf("line of %d characters, or with blanks at the end: %q", n, line)
		}
	}
	if strings.Contains(got.String(), "\x1b") {
		t.Error("colours, although it is no terminal")
	}
}

// A mail can contain anything; the terminal must not see it.
func TestHostileMail(t *testing.T) {
	const text = "Subject: \x1b]0;owned\x07 \x1b[31m \u202e " + "\xff" + "\n\nHello \x1b[2J\a\b\n"
	for _, colour := range []bool{false, true} {
		var got strings.Builder
		synctest.Test(t, func(t *testing.T) {
			if err := demo(&screen{w: &got, colour: colour}, newMilter(), strings.NewReader(text)); err != nil {
				t.Error(err)
			}
		})
		plain := got.String()
		for _, code := range []string{bold, red, green, cyan, "0"} {
			plain = strings.ReplaceAll(plain, "\x1b["+code+"m", "")
		}
		if colour != (plain != got.String()) {
			t.Errorf("colour %v: %q", colour, got.String())
		}
		if i := strings.IndexFunc(plain, func(r rune) bool { return r < ' ' && r != '\n' || r == '\u202e' }); i >= 0 {
			t.Errorf("the mail's control characters are printed: %q", plain[i:min(i+20, len(plain))])
		}
	}
}

func TestNoMail(t *testing.T) {
	var got strings.Builder
	if err := demo(&screen{w: &got}, newMilter(), strings.NewReader("this is no mail\n")); err == nil {
		t.Errorf("no error, but:\n%s", got.String())
	}
}
