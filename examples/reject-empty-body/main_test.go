package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

func mailWith(body string) miltertest.Mail {
	return miltertest.Mail{
		From:       "<alice@example.org>",
		Recipients: []miltertest.Recipient{{Path: "<bob@example.com>"}},
		Headers:    []protocol.Header{{Name: "Subject", Value: " hello"}},
		Body:       []byte(body),
	}
}

func TestBody(t *testing.T) {
	const refused = "reject [554]<5.7.1>(The mail has no text)"
	tests := []struct {
		name, body, want string
	}{
		{"text", "Hello\r\n", "continue"},
		{"none", "", refused},
		{"white space", " \t\r\n\v\f\r\n", refused},
		{"after a mail with text, white space again", "\r\n", refused},
		{"white space in several chunks", strings.Repeat(" \r\n", 100_000), refused},
		{"text in the third chunk", strings.Repeat("\r\n", 2*protocol.MaxChunk/2) + "x\r\n", "continue"},
		{"a NUL is text", "\x00", "continue"},
	}
	mta := miltertest.Serve(setup)
	defer mta.Close()
	for _, tt := range tests { // all in one session
		t.Run(tt.name, func(t *testing.T) {
			mail := mailWith(tt.body)
			result, err := mta.Send(mail)
			if err != nil {
				t.Fatal(err)
			}
			if got := result.String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if result.IsDelivered() && !bytes.Equal(result.Mail.Body, mail.Body) {
				t.Error("the body was changed")
			}
		})
	}
}

// A mail that was dropped half way must not lend its text to the next one.
func TestAbort(t *testing.T) {
	mta := miltertest.Serve(setup)
	defer mta.Close()
	if _, err := mta.Negotiate(); err != nil {
		t.Fatal(err)
	}
	if _, err := mta.EnvelopeFrom("<alice@example.org>"); err != nil {
		t.Fatal(err)
	}
	if a, err := mta.Body([]byte("Hello\r\n")); err != nil || a.Status != protocol.StatusSkip {
		t.Fatalf("body: %v, %v; want skip, there is no need to see more", a, err)
	}
	if err := mta.Abort(); err != nil {
		t.Fatal(err)
	}
	result, err := mta.Deliver(mailWith(" \r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if result.Status != protocol.StatusReject {
		t.Errorf("got %v after an aborted mail with text, want reject", result)
	}
}

// The end of message may bring the last bytes of the body.
func TestLastBytes(t *testing.T) {
	mta := miltertest.Serve(setup)
	defer mta.Close()
	if _, err := mta.Negotiate(); err != nil {
		t.Fatal(err)
	}
	if _, err := mta.EnvelopeFrom("<alice@example.org>"); err != nil {
		t.Fatal(err)
	}
	if a, err := mta.EndOfMessage([]byte("Hello\r\n")...); err != nil || a.Status != protocol.StatusContinue {
		t.Errorf("got %v, %v; want continue", a, err)
	}
}
