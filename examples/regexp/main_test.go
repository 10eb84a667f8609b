package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

func TestRegexp(t *testing.T) {
	const (
		subject = "reject [554]<5.7.1>(The subject is not wanted here)"
		text    = "reject [554]<5.7.1>(The text is not wanted here)"
	)
	// One byte of "free" is in the first chunk.
	filler := strings.Repeat("x", protocol.MaxChunk-1)
	tests := []struct {
		name, header, body, want string
	}{
		{"no match", "Subject: hello", "Hello\r\n", "continue"},
		{"subject", "Subject: Free  money", "Hello\r\n", subject},
		{"encoded subject", "Subject: =?utf-8?q?free_mon=65y?=", "Hello\r\n", subject},
		{"encoded in an unknown charset", "Subject: =?x-none?q?=ff?= free money", "Hello\r\n", subject},
		{"folded subject", "Subject: free\n money", "Hello\r\n", subject},
		{"second subject", "Subject: a\nSubject: free money", "Hello\r\n", subject},
		{"another header", "X-Subject: free money", "Hello\r\n", "continue"},
		{"body", "Subject: hello", "Get free money now\r\n", text},
		{"body over two lines", "Subject: hello", "Get free\r\nmoney now\r\n", text},
		{"body over two chunks", "Subject: hello", filler + "free money\r\n", text},
		{"behind the limit", "Subject: hello", strings.Repeat("x", limit) + "free money\r\n", "continue"},
		{"no body", "Subject: hello", "", "continue"},
	}
	mta := miltertest.Serve(filter{regexp.MustCompile(`(?i)free\s+money`)}.setup)
	defer mta.Close()
	for _, tt := range tests { // all in one session
		t.Run(tt.name, func(t *testing.T) {
			mail, err := miltertest.ParseMail(strings.NewReader(tt.header + "\n\n" + tt.body))
			if err != nil {
				t.Fatal(err)
			}
			mail.From, mail.Recipients = "<alice@example.org>", []miltertest.Recipient{{Path: "<bob@example.com>"}}
			result, err := mta.Send(mail)
			if err != nil {
				t.Fatal(err)
			}
			if got := result.String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
