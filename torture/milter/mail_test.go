package main

import (
	"fmt"
	"hash/crc32"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

// The sender of a mail says what becomes of it.
func TestPlans(t *testing.T) {
	const sum = "X-Sum SUM" // SUM is that of what the milter is told
	tests := []struct {
		plan string
		want string // the answer, then the new headers
	}{
		{"plain", "continue " + sum},
		{"accept", "accept"},
		{"reject", "reject [554]<5.7.1>(100% spam\nreally)"},
		{"tempfail", "temporary-failure [451]<4.7.1>(not now)"},
		{"discard", "discard"},
		{"inject", "continue X-Refused 13 of 13"},
		{"inject-reply-crlf", "reject [550]<5.7.1>(no\n250 ok)"},
		{"inject-reply-cr", "temporary-failure"},
		{"panic-end-of-message", "temporary-failure"},
		{"panic-later-end-of-message", "temporary-failure"},
		{"panic-nothing", "continue " + sum},
	}
	for _, late := range []string{"", "late-"} {
		for _, tt := range tests {
			if late != "" && strings.HasPrefix(tt.plan, "panic") {
				continue
			}
			t.Run(late+tt.plan, func(t *testing.T) {
				m := &milter{client: client.New()}
				m.client.OnConnectionEstablished(m.register)
				m.client.Logger = slog.New(slog.DiscardHandler)
				s := miltertest.Start(m.client)
				defer s.Close()
				from := "<" + late + tt.plan + "@x>"
				r, err := s.Send(miltertest.Mail{
					From: from, Recipients: []miltertest.Recipient{{Path: "<y@x>"}},
					Headers: []protocol.Header{{Name: "Subject", Value: " s"}}, Body: []byte("text\r\n"),
				})
				if err != nil {
					t.Fatal(err)
				}
				got := r.String()
				for _, h := range r.Mail.Headers {
					if strings.HasPrefix(h.Name, "X-") {
						got += " " + h.Name + h.Value
					}
				}
				told := crc32.ChecksumIEEE([]byte(from + "<y@x>" + "Subject" + "s" + "text\r\n"))
				want := strings.ReplaceAll(tt.want, "SUM", fmt.Sprint(told))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				s.Close()
				if m.counts.Finished.Load() != 1 || m.counts.Begun.Load() != 1 || m.counts.Processed.Load() != 1 || m.counts.Faults.Load() != 0 {
					t.Errorf("counts: %+v", &m.counts)
				}
			})
		}
	}
}
