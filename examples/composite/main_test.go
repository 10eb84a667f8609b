package main

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

func TestMostSevere(t *testing.T) {
	accept, discard := answer{Status: protocol.StatusAccept}, answer{Status: protocol.StatusDiscard}
	reject := answer{protocol.StatusReject, 550, "5.1.1", "no"}
	later := answer{protocol.StatusTemporaryFailure, 450, "4.2.0", "later"}
	const rejected, deferred = "reject [550]<5.1.1>(no)", "temporary-failure [450]<4.2.0>(later)"
	tests := []struct {
		name    string
		answers []answer
		want    string
	}{
		{"no filter", nil, "continue"},
		{"pass", []answer{pass, pass}, "continue"},
		{"reject first", []answer{reject, later, pass}, rejected},
		{"reject last", []answer{pass, later, reject}, rejected},
		{"one passes", []answer{pass, later}, deferred},
		{"all are asked after an accept", []answer{accept, later}, deferred},
		{"discard", []answer{reject, discard, later}, "discard"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var filters []func(*context.ClientContext, string, protocol.Parameters) answer
			asked := 0
			for _, a := range tt.answers {
				filters = append(filters, func(*context.ClientContext, string, protocol.Parameters) answer {
					asked++
					return a
				})
			}
			mta := miltertest.Serve(func(ctx *context.ClientContext) { ctx.OnEnvelopeFrom(mostSevere(filters...)) })
			defer mta.Close()
			if _, err := mta.Negotiate(); err != nil {
				t.Fatal(err)
			}
			got, err := mta.EnvelopeFrom("<alice@example.org>")
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != tt.want || asked != len(tt.answers) {
				t.Errorf("got %v from %d filters, want %s from %d", got, asked, tt.want, len(tt.answers))
			}
		})
	}
}

func TestMail(t *testing.T) {
	const bob, nobody = "<bob@example.com>", "<Nobody@example.com>"
	tests := []struct {
		name       string
		parameters protocol.Parameters
		recipients []string
		header     protocol.Header
		want       string
		delivered  []string
	}{
		{"fine", protocol.Parameters{"SIZE=1000"}, []string{bob}, protocol.Header{Name: "Subject", Value: " hi"}, "continue", []string{bob}},
		{"one recipient less", nil, []string{nobody, bob}, protocol.Header{Name: "Subject", Value: " hi"}, "continue", []string{bob}},
		{"too large", protocol.Parameters{"size=20971521"}, []string{bob}, protocol.Header{}, "reject [552]<5.3.4>(The mail is too large)", nil},
		{"no size", protocol.Parameters{"SIZE=x"}, []string{bob}, protocol.Header{Name: "Subject"}, "continue", []string{bob}},
		{"spam", nil, []string{bob}, protocol.Header{Name: "x-spam-flag", Value: " YES"}, "reject [554]<5.7.1>(The sender says that it is spam)", nil},
	}
	mta := miltertest.Serve(setup)
	defer mta.Close()
	for _, tt := range tests { // all in one session
		t.Run(tt.name, func(t *testing.T) {
			mail := miltertest.Mail{From: "<alice@example.org>", FromParameters: tt.parameters, Body: []byte("Hello\r\n")}
			if tt.header.Name != "" {
				mail.Headers = []protocol.Header{tt.header}
			}
			for _, path := range tt.recipients {
				mail.Recipients = append(mail.Recipients, miltertest.Recipient{Path: path})
			}
			result, err := mta.Send(mail)
			if err != nil {
				t.Fatal(err)
			}
			var delivered []string
			for _, r := range result.Mail.Recipients {
				delivered = append(delivered, r.Path)
			}
			if result.String() != tt.want || !cmp.Equal(tt.delivered, delivered) {
				t.Errorf("got %v, delivered to %v; want %s, %v", result, delivered, tt.want, tt.delivered)
			}
		})
	}
}

// In each mail the first hundred recipients are taken; one that does not exist is
// refused for good even behind them.
func TestTooMany(t *testing.T) {
	mta := miltertest.Serve(setup)
	defer mta.Close()
	mail := miltertest.Mail{From: "<alice@example.org>"}
	for i := range maxRecipients + 1 {
		mail.Recipients = append(mail.Recipients, miltertest.Recipient{Path: fmt.Sprintf("<%d@example.com>", i)})
	}
	mail.Recipients = append(mail.Recipients, miltertest.Recipient{Path: "<nobody@example.com>"})
	for range 2 {
		result, err := mta.Send(mail)
		if err != nil {
			t.Fatal(err)
		}
		var refused []string
		for _, a := range result.Recipients {
			if !a.IsPass() {
				refused = append(refused, a.String())
			}
		}
		want := []string{
			"temporary-failure [452]<4.5.3>(Too many recipients in one mail)",
			"reject [550]<5.1.1>(Nobody is not here)",
		}
		if diff := cmp.Diff(want, refused); diff != "" || len(result.Mail.Recipients) != maxRecipients {
			t.Errorf("delivered to %d; refused (-want +got):\n%s", len(result.Mail.Recipients), diff)
		}
	}
}

func TestBusy(t *testing.T) {
	c := client.New()
	c.OnConnectionEstablished(setup)
	for range maxSessions {
		mta := miltertest.Start(c)
		defer mta.Close()
		if _, err := mta.Negotiate(); err != nil { // it is served
			t.Fatal(err)
		}
	}
	mta := miltertest.Start(c)
	defer mta.Close()
	for _, tt := range []struct{ size, want string }{
		{"SIZE=1", "temporary-failure [451]<4.3.2>(Busy, try again later)"},
		{"SIZE=99999999", "reject [552]<5.3.4>(The mail is too large)"}, // the more severe answer
	} {
		result, err := mta.Send(miltertest.Mail{
			From:           "<alice@example.org>",
			FromParameters: protocol.Parameters{tt.size},
			Recipients:     []miltertest.Recipient{{Path: "<bob@example.com>"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if result.String() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.size, result, tt.want)
		}
	}
}
