package main

import (
	"strings"
	"testing"

	"github.com/milter-go/milter/client/miltertest"
)

func TestSender(t *testing.T) {
	const refused = "reject [554]<5.7.1>(The sender is nil)"
	tests := []struct {
		name, header, want string
	}{
		{"no sender", "From: nil@example.org\n", "continue"},
		{"another sender", "Sender: alice@example.org\n", "continue"},
		{"nil", "Sender: nil@example.org\n", refused},
		{"any case", "SENDER: Mr. Nil <x@example.org>\n", refused},
		{"folded", "Sender: Alice\n\t<nil@example.org>\n", refused},
		{"the second of two", "Sender: a@example.org\nFrom: b@example.org\nSender: nil@example.org\n", refused},
		{"empty", "Sender:\n", "continue"},
		{"no header at all", "", "continue"},
	}
	mta := miltertest.Serve(setup)
	defer mta.Close()
	for _, tt := range tests { // all in one session
		t.Run(tt.name, func(t *testing.T) {
			mail, err := miltertest.ParseMail(strings.NewReader(tt.header + "\nHello\n"))
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
			if result.IsDelivered() && miltertest.Diff(mail, result.Mail).Changed() {
				t.Errorf("the mail was changed:\n%s", miltertest.Diff(mail, result.Mail))
			}
		})
	}
}
