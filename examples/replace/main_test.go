package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

// deliver lets a mail pass and returns what became of it, the whole text, line
// ends as LF.
func deliver(t *testing.T, f filter, text string) (miltertest.Result, string) {
	t.Helper()
	mta := miltertest.Serve(f.setup)
	defer mta.Close()
	mail, err := miltertest.ParseMail(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	mail.From, mail.Recipients = "<alice@example.org>", []miltertest.Recipient{{Path: "<bob@example.com>"}}
	result, err := mta.Deliver(mail)
	if err != nil {
		t.Fatal(err)
	}
	return result, strings.ReplaceAll(result.Mail.String(), "\r\n", "\n")
}

func TestReplace(t *testing.T) {
	tests := []struct {
		name, pattern, text, mail, want string
	}{
		{
			"nothing", "colou?r", "hue",
			"From: a@example.org\nSubject: hello\n\nHello\n",
			"From: a@example.org\nSubject: hello\n\nHello\n",
		},
		{
			"header and body", "colou?r", "hue",
			"From: color@example.org\nSubject: My colours\n\nA color, a colour\n",
			"From: hue@example.org\nSubject: My hues\n\nA hue, a hue\n",
		},
		{
			"the second of a name, in any case", "color", "hue",
			"X-A: one\nx-b: color\nx-a: color\nX-A: three\n\nHello\n",
			"X-A: one\nx-b: hue\nx-a: hue\nX-A: three\n\nHello\n",
		},
		{
			"several become empty and go", "color", "",
			"X-A: color\nX-A: kept\nX-A: color\nX-A: coloring\n\nHello\n",
			"X-A: kept\nX-A: ing\n\nHello\n",
		},
		{
			"folded", "color", "hue",
			"Subject: one\n\tcolor\n two\n\nHello\n",
			"Subject: one\n\thue\n two\n\nHello\n",
		},
		{
			"group", `(\w+)@example`, "$1@test",
			"From: a@example.org\nTo: b@example.org\n\nHello c@example\n",
			"From: a@test.org\nTo: b@test.org\n\nHello c@test\n",
		},
		{
			"body alone", "Hello", "Bye",
			"Subject: x\n\nHello\n",
			"Subject: x\n\nBye\n",
		},
		{
			"no body", "color", "hue",
			"Subject: color\n\n",
			"Subject: hue\n\n",
		},
		{
			"body becomes empty", `(?s)Hello.*`, "",
			"Subject: x\n\nHello\nand more\n",
			"Subject: x\n\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			result, got := deliver(t, filter{regexp.MustCompile(tt.pattern), tt.text}, tt.mail)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%v (-want +got):\n%s", result, diff)
			}
			if tt.mail == tt.want && len(result.Changes) > 0 {
				t.Errorf("changes although nothing matches: %v", result.Changes)
			}
		})
	}
}

// The new body leaves in several packets; a match may lie across the chunks of
// the old one.
func TestLargeBody(t *testing.T) {
	half := strings.Repeat("x", protocol.MaxChunk-2)
	f := filter{regexp.MustCompile("color"), "a longer text than that"}
	_, got := deliver(t, f, "Subject: x\n\n"+half+"color"+half+"\n")
	if want := "Subject: x\n\n" + half + f.text + half + "\n"; got != want {
		t.Errorf("got a mail of %d bytes, want one of %d with one replacement", len(got), len(want))
	}
}

func TestBodyAboveLimit(t *testing.T) {
	body := append(bytes.Repeat([]byte("x"), limit), "color\n"...)
	result, got := deliver(t, filter{regexp.MustCompile("color"), "hue"}, "Subject: color\n\n"+string(body))
	if want := "Subject: hue\n\n" + string(body); got != want {
		t.Errorf("%v, %d changes: the header should be changed and the body be left alone", result, len(result.Changes))
	}
}

// A field that cannot be written as asked for must not pass unchanged.
func TestInvalidValue(t *testing.T) {
	result, _ := deliver(t, filter{regexp.MustCompile("color"), "a\nBcc: x"}, "Subject: color\n\nHello\n")
	if result.Status != protocol.StatusTemporaryFailure {
		t.Errorf("got %v, want temporary-failure: the new value has a second line", result)
	}
}
