package context_test

import (
	"io"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// BenchmarkMessage is what one mail costs without a socket: 28 commands with the
// macros that Postfix sends, twenty headers, one piece of body, one header added.
func BenchmarkMessage(b *testing.B) {
	pass := func(*context.ClientContext) protocol.Status { return protocol.StatusContinue }
	for _, bm := range []struct {
		name  string
		setup func(ctx *context.ClientContext)
	}{
		{"end-of-message", func(*context.ClientContext) {}},
		{"all events", func(ctx *context.ClientContext) {
			ctx.OnEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) protocol.Status {
				return protocol.StatusContinue
			})
			ctx.OnEnvelopeRecipient(func(*context.ClientContext, string, protocol.Parameters) protocol.Status {
				return protocol.StatusContinue
			})
			ctx.OnData(pass)
			ctx.OnHeader(func(*context.ClientContext, string, string) protocol.Status { return protocol.StatusContinue })
			ctx.OnEndOfHeader(pass)
			ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status { return protocol.StatusContinue })
		}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			ctx := context.New(io.Discard, context.DefaultConfig())
			bm.setup(ctx)
			ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
				return ctx.Check(ctx.AddHeader("X-Seen", "yes"))
			})
			if err := ctx.Feed(negotiateMsg.Append(nil)); err != nil {
				b.Fatal(err)
			}
			mail := benchmarkMail()
			b.ReportAllocs()
			for b.Loop() {
				if err := ctx.Feed(mail); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchmarkMail() []byte {
	id := protocol.Macro{Name: "i", Value: "4ZJ8Qk1T6Yz9sRK"}
	var b []byte
	add := func(m protocol.Message) {
		b = protocol.DefineMacro{For: m.Command(), Macros: []protocol.Macro{id}}.Append(b)
		b = m.Append(b)
	}
	add(protocol.EnvelopeFrom{Path: "<sender@example.com>", Parameters: protocol.Parameters{"SIZE=4000"}})
	add(protocol.EnvelopeRecipient{Path: "<receiver@example.org>"})
	add(protocol.Bare(protocol.CommandData))
	for range 20 {
		add(protocol.Header{Name: "Received", Value: "from mail.example.com by mx.example.org with ESMTP id 4711"})
	}
	add(protocol.Bare(protocol.CommandEndOfHeader))
	add(protocol.Body{Chunk: make([]byte, 4096)})
	add(protocol.EndOfMessage{})
	return b
}
