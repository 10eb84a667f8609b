package context_test

import (
	"fmt"
	"strings"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// What claims to come from this host was written by the sender.
func ExampleClientContext_DeleteHeaders() {
	ctx := context.New(print{}, context.DefaultConfig())
	ctx.WatchHeader(func(*context.ClientContext, string, string) {})
	ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
		n, err := ctx.DeleteHeaders("Authentication-Results", func(value string) bool {
			host, _, _ := strings.Cut(value, ";")
			return strings.EqualFold(strings.TrimSpace(host), "mx.example.com")
		})
		fmt.Println("forged:", n)
		return ctx.Check(err, ctx.AddHeader("Authentication-Results", "mx.example.com; spf=none"))
	})
	var b []byte
	b = protocol.Negotiate{Option: option.All()}.Append(b)
	b = protocol.EnvelopeFrom{Path: "<from@example.com>"}.Append(b)
	b = protocol.EnvelopeRecipient{Path: "<to@example.com>"}.Append(b)
	b = protocol.Header{Name: "Authentication-Results", Value: "mx.example.com; spf=pass"}.Append(b)
	b = protocol.Header{Name: "Authentication-Results", Value: "mx.example.net; spf=pass"}.Append(b)
	b = protocol.Header{Name: "authentication-results", Value: "MX.example.com; dkim=pass"}.Append(b)
	b = protocol.EndOfMessage{}.Append(b)
	if err := ctx.Feed(b); err != nil {
		fmt.Println(err)
	}
	// Output:
	// to the MTA: O
	// to the MTA: c
	// to the MTA: c
	// forged: 2
	// to the MTA: m
	// to the MTA: m
	// to the MTA: h
	// to the MTA: c
}
