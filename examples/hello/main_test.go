package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

// Who is refused, and what the others get.
func TestHello(t *testing.T) {
	const bob, nobody = "<bob@example.com>", "<nobody@example.com>"
	tests := []struct {
		name       string
		recipients []string
		answers    []string
		delivered  []string // nil: to nobody at all
	}{
		{"known", []string{bob}, []string{"continue"}, []string{bob}},
		{"one of two", []string{nobody, bob}, []string{"reject [550]<5.1.1>(Nobody is not here)", "continue"}, []string{bob}},
		{"nobody", []string{nobody}, []string{"reject [550]<5.1.1>(Nobody is not here)"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mta := miltertest.Serve(setup)
			defer mta.Close()
			mail := miltertest.Mail{From: "<alice@example.org>", Body: []byte("Hello\r\n")}
			for _, path := range tt.recipients {
				mail.Recipients = append(mail.Recipients, miltertest.Recipient{Path: path})
			}
			result, err := mta.Deliver(mail)
			if err != nil {
				t.Fatal(err)
			}
			var want []protocol.Header // no mail, no header
			if tt.delivered != nil {
				want = []protocol.Header{{Name: "X-Hello", Value: " seen"}}
			}
			if diff := cmp.Diff(want, result.Mail.Headers); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
			var answers, delivered []string
			for _, a := range result.Recipients {
				answers = append(answers, a.String())
			}
			for _, r := range result.Mail.Recipients {
				delivered = append(delivered, r.Path)
			}
			if diff := cmp.Diff(tt.answers, answers); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.delivered, delivered); diff != "" {
				t.Errorf("delivered to (-want +got):\n%s", diff)
			}
		})
	}
}
