package context_test

import (
	"bytes"
	stdcontext "context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// TestHeadersInARow: header fields that come together are served like those that
// come one by one, whatever a watcher does at the third of them.
func TestHeadersInARow(t *testing.T) {
	type log func(format string, args ...any)
	tests := []struct {
		name string
		odd  protocol.Message                          // in place of the third field
		do   func(ctx *context.ClientContext, log log) // at the third field
	}{
		{name: "looks"},
		{name: "asks for the result", do: func(ctx *context.ClientContext, log log) { log("result %v", ctx.MessageResult().Headers) }},
		{name: "drops the data of the mail", do: func(ctx *context.ClientContext, _ log) { ctx.ResetMessageRelatedData() }},
		{name: "sets the result", do: func(ctx *context.ClientContext, _ log) {
			ctx.SetMessageResult(&context.MessageResult{From: "<set@example.com>"})
		}},
		{name: "panics", do: func(*context.ClientContext, log) { panic("at the third") }},
		{name: "closes", do: func(ctx *context.ClientContext, _ log) { ctx.Close() }},
		{name: "shuts down", do: func(ctx *context.ClientContext, _ log) { ctx.Shutdown() }},
		{name: "adds a watcher", do: func(ctx *context.ClientContext, log log) {
			ctx.WatchHeader(func(_ *context.ClientContext, name, value string) { log("added: %s=%s", name, value) })
		}},
		{name: "adds a handler that decides", do: func(ctx *context.ClientContext, log log) {
			ctx.OnHeader(func(_ *context.ClientContext, name, value string) protocol.Status {
				log("decides: %s=%s", name, value)
				return protocol.StatusReject
			})
		}},
		{name: "adds a handler of another event", do: func(ctx *context.ClientContext, log log) {
			ctx.WatchEndOfHeader(func(*context.ClientContext) { log("added: end of header") })
		}},
		{name: "answers, which nobody awaits", do: func(ctx *context.ClientContext, log log) {
			log("answer: %v", ctx.HeaderResponse(protocol.StatusReject))
		}},
		{name: "changes the mail too early", do: func(ctx *context.ClientContext, log log) { log("change: %v", ctx.AddHeader("X", "y")) }},
		{name: "sets the state", do: func(ctx *context.ClientContext, _ log) { ctx.SetState(context.StateBody) }},
		{name: "sets a state in which nothing is due", do: func(ctx *context.ClientContext, _ log) { ctx.SetState(context.StateStart) }},
		{name: "answers later, which nobody awaits", do: func(ctx *context.ClientContext, _ log) {
			ctx.Later(func(stdcontext.Context) protocol.Status { return protocol.StatusReject })
		}},
		{name: "sets the status", do: func(ctx *context.ClientContext, _ log) { ctx.SetStatus(protocol.StatusSkip) }},
		{name: "a third string", odd: packet('L', "Name\x00value\x00third\x00")},
		{name: "no second string", odd: packet('L', "Name\x00")},
		{name: "no NUL at the end", odd: packet('L', "Name\x00value")},
		{name: "no name", odd: packet('L', "\x00value\x00")},
		{name: "nothing", odd: packet('L', "")},
		{name: "an empty value", odd: packet('L', "Name\x00\x00")},
		{name: "a large value", odd: protocol.Header{Name: "Large", Value: strings.Repeat("v", 5000)}},
		{name: "a length of zero", odd: raw("\x00\x00\x00\x00L")},
		{name: "a length above the limit", odd: raw("\x7f\xff\xff\xffL")},
		{name: "a macro", odd: macros(protocol.CommandHeader, "i", "4711")},
		{name: "an unknown command", odd: unknownMsg},
		{name: "a recipient, out of order", odd: rcptMsg},
		{name: "an abort", odd: abortMsg},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play := func(together bool) []string {
				var events []string
				log := func(format string, args ...any) { events = append(events, fmt.Sprintf(format, args...)) }
				var out bytes.Buffer
				ctx := context.New(&out, context.DefaultConfig())
				fields := 0
				ctx.WatchEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) {})
				ctx.WatchEnvelopeRecipient(func(*context.ClientContext, string, protocol.Parameters) {})
				ctx.WatchHeader(func(ctx *context.ClientContext, name, value string) {
					log("%v, last %v, status %v: %s=%.40s", ctx.State(), ctx.LastState(), ctx.Status(), name, value)
					if fields++; fields == 3 && tt.do != nil {
						tt.do(ctx, log)
					}
				})
				ctx.WatchUnknown(func(_ *context.ClientContext, line string) { log("unknown %s", line) })
				ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status { return protocol.StatusAccept })
				ctx.OnMessageProcessed(func(_ *context.ClientContext, r *context.MessageResult) {
					log("processed: %s %v %v, incomplete %t", r.From, r.Headers, r.Status, r.Incomplete)
				})
				ctx.OnAbort(func(_ *context.ClientContext, state context.State) protocol.Status {
					log("abort in %v", state)
					return protocol.StatusContinue
				})
				ctx.OnError(func(_ *context.ClientContext, err error) { log("error: %v", err) })
				ctx.OnFinished(func(ctx *context.ClientContext) { log("finished in %v", ctx.LastState()) })
				begin(t, ctx, connectMsg, heloMsg, mailMsg, rcptMsg)
				var packets [][]byte
				for i := range 6 {
					var m protocol.Message = protocol.Header{Name: fmt.Sprint("Name-", i), Value: fmt.Sprint("value ", i)}
					if i == 2 && tt.odd != nil {
						m = tt.odd
					}
					packets = append(packets, m.Append(nil))
				}
				packets = append(packets, eohMsg.Append(nil), eomMsg.Append(nil), quitMsg.Append(nil))
				if together {
					packets = [][]byte{bytes.Join(packets, nil)}
				}
				for _, p := range packets {
					_ = ctx.Feed(p) // after the end it says so
				}
				return append(append(events, ctx.State().String()), showAll(t, out.Bytes())...)
			}
			want := play(false)
			if diff := cmp.Diff(want, play(true)); diff != "" {
				t.Errorf("one by one (-) and together (+) differ:\n%s", diff)
			}
		})
	}
}
