package context_test

import (
	stdcontext "context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// onAll registers a handler for every event, each of which returns status(ctx).
func onAll(ctx *context.ClientContext, status func(*context.ClientContext) protocol.Status) {
	ctx.OnConnect(func(ctx *context.ClientContext, _ string, _ net.Addr) protocol.Status { return status(ctx) })
	ctx.OnHelo(func(ctx *context.ClientContext, _ string) protocol.Status { return status(ctx) })
	ctx.OnEnvelopeFrom(func(ctx *context.ClientContext, _ string, _ protocol.Parameters) protocol.Status { return status(ctx) })
	ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, _ string, _ protocol.Parameters) protocol.Status { return status(ctx) })
	ctx.OnData(status)
	ctx.OnUnknown(func(ctx *context.ClientContext, _ string) protocol.Status { return status(ctx) })
	ctx.OnHeader(func(ctx *context.ClientContext, _, _ string) protocol.Status { return status(ctx) })
	ctx.OnEndOfHeader(status)
	ctx.OnBody(func(ctx *context.ClientContext, _ []byte) protocol.Status { return status(ctx) })
	ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status { return status(ctx) })
}

// watchAll registers a handler that looks at every event, and one for the last.
func watchAll(ctx *context.ClientContext) {
	ctx.WatchConnect(func(*context.ClientContext, string, net.Addr) {})
	ctx.WatchHelo(func(*context.ClientContext, string) {})
	ctx.WatchEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) {})
	ctx.WatchEnvelopeRecipient(func(*context.ClientContext, string, protocol.Parameters) {})
	ctx.WatchData(func(*context.ClientContext) {})
	ctx.WatchUnknown(func(*context.ClientContext, string) {})
	ctx.WatchHeader(func(*context.ClientContext, string, string) {})
	ctx.WatchEndOfHeader(func(*context.ClientContext) {})
	ctx.WatchBody(func(*context.ClientContext, []byte) {})
	ctx.OnEndOfMessage(func(*context.ClientContext, []byte) protocol.Status { return protocol.StatusAccept })
}

// bodyOnly registers what a filter of bodies needs.
func bodyOnly(ctx *context.ClientContext) {
	ctx.OnData(pass)
	ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status { return protocol.StatusContinue })
	ctx.OnEndOfMessage(func(*context.ClientContext, []byte) protocol.Status { return protocol.StatusContinue })
}

func pass(*context.ClientContext) protocol.Status { return protocol.StatusContinue }

func later(ctx *context.ClientContext) protocol.Status {
	return ctx.Later(func(stdcontext.Context) protocol.Status { return protocol.StatusContinue })
}

// changeAll makes ten changes and a new body of 64 KiB.
func changeAll(body []byte) func(*context.ClientContext, []byte) protocol.Status {
	return func(ctx *context.ClientContext, _ []byte) protocol.Status {
		return ctx.Check(
			ctx.AddHeader("X-1", "one"), ctx.AddHeader("X-2", "two"), ctx.InsertHeader(0, "X-3", "three"),
			ctx.ChangeHeader("Subject", 1, "changed"), ctx.DeleteHeader("X-4", 1),
			ctx.ChangeFrom("<a@example.com>", ""), ctx.AddRecipient("<b@example.com>", ""),
			ctx.DeleteRecipient("<c@example.com>"), ctx.AddHeader("X-5", "five"), ctx.AddHeader("X-6", "six"),
			ctx.ReplaceBody(body))
	}
}

// BenchmarkMessage is what one mail costs without a socket, with the macros that
// Postfix sends.
func BenchmarkMessage(b *testing.B) {
	for _, bm := range []struct {
		name  string
		size  int
		setup func(ctx *context.ClientContext)
	}{
		{"status/4KiB", 4 << 10, func(ctx *context.ClientContext) { onAll(ctx, pass) }},
		{"status/64KiB", 64 << 10, func(ctx *context.ClientContext) { onAll(ctx, pass) }},
		{"status/1MiB", 1 << 20, func(ctx *context.ClientContext) { onAll(ctx, pass) }},
		{"body/4KiB", 4 << 10, bodyOnly},
		{"watch/4KiB", 4 << 10, watchAll},
		{"changes/4KiB", 4 << 10, func(ctx *context.ClientContext) { ctx.OnEndOfMessage(changeAll(make([]byte, 64<<10))) }},
	} {
		b.Run(bm.name, func(b *testing.B) {
			ctx := context.New(io.Discard, context.DefaultConfig())
			bm.setup(ctx)
			begin(b, ctx)
			mail := benchmarkMail(bm.size)
			b.ReportAllocs()
			for b.Loop() {
				if err := ctx.Feed(mail); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEvent is what one command costs.
func BenchmarkEvent(b *testing.B) {
	for _, bm := range []struct {
		name    string
		message protocol.Message
		setup   func(ctx *context.ClientContext)
	}{
		{"header/status", protocol.Header{Name: "Received", Value: received}, func(ctx *context.ClientContext) { onAll(ctx, pass) }},
		{"header/watch", protocol.Header{Name: "Received", Value: received}, watchAll},
		{"header/nobody", protocol.Header{Name: "Received", Value: received}, bodyOnly},
		{"unknown/status", unknownMsg, func(ctx *context.ClientContext) { onAll(ctx, pass) }},
		{"macros", protocol.DefineMacro{For: protocol.CommandData, Macros: []protocol.Macro{queueID}}, func(*context.ClientContext) {}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			ctx := context.New(io.Discard, context.DefaultConfig())
			bm.setup(ctx)
			begin(b, ctx, mailMsg, rcptMsg)
			packet := bm.message.Append(nil)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				if n++; n%1000 == 0 { // a session keeps the headers of its mail
					_ = ctx.Feed(rcptMsg.Append(mailMsg.Append(abortMsg.Append(nil))))
				}
				if err := ctx.Feed(packet); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSocket is one mail over a unix socket, of which each command awaits its
// reply: answered at once, by a goroutine each, and with no-reply steps.
func BenchmarkSocket(b *testing.B) {
	for _, bm := range []struct {
		name  string
		setup func(ctx *context.ClientContext)
	}{
		{"at once", func(ctx *context.ClientContext) { onAll(ctx, pass) }},
		{"late", func(ctx *context.ClientContext) { onAll(ctx, later) }},
		{"watch", watchAll},
	} {
		b.Run(bm.name, func(b *testing.B) {
			milter, mta := unixPair(b)
			ctx := context.New(milter, context.DefaultConfig())
			bm.setup(ctx)
			go func() { _ = ctx.Serve(milter) }()
			var in protocol.Buffer
			play := func(packets []byte) {
				if _, err := mta.Write(packets); err != nil {
					b.Fatal(err)
				}
				if _, err := in.ReadPacket(mta); err != nil {
					b.Fatal(err)
				}
			}
			play(negotiateMsg.Append(nil))
			steps := commandsOf(benchmarkMail(4 << 10))
			if bm.name == "watch" {
				steps = [][]byte{benchmarkMail(4 << 10)}
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, step := range steps {
					play(step)
				}
			}
		})
	}
}

// BenchmarkRegister is what it costs to make a session and register handlers for
// all events.
func BenchmarkRegister(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		onAll(context.New(io.Discard, context.DefaultConfig()), pass)
	}
}

// BenchmarkSession is a whole session without a mail.
func BenchmarkSession(b *testing.B) {
	whole := quitMsg.Append(heloMsg.Append(connectMsg.Append(negotiateMsg.Append(nil))))
	b.ReportAllocs()
	for b.Loop() {
		ctx := context.New(io.Discard, context.DefaultConfig())
		onAll(ctx, pass)
		if err := ctx.Feed(whole); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAllocations: what a mail allocates does not depend on the machine, so it is
// held to what docs/performance.md promises.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector a sync.Pool forgets at random")
	}
	for _, tt := range []struct {
		name  string
		size  int
		setup func(*context.ClientContext)
		most  float64
	}{
		// MAIL, RCPT and twenty headers hand out strings; MAIL has parameters, too.
		{"all status handlers", 4 << 10, func(ctx *context.ClientContext) { onAll(ctx, pass) }, 23},
		{"all watchers", 4 << 10, watchAll, 23},
		{"data, body and end of message", 4 << 10, bodyOnly, 0},
		{"the same with a large body", 1 << 20, bodyOnly, 0},
		{"changes and a new body", 4 << 10, func(ctx *context.ClientContext) { ctx.OnEndOfMessage(changeAll(make([]byte, 64<<10))) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := context.New(io.Discard, context.DefaultConfig())
			tt.setup(ctx)
			begin(t, ctx)
			mail := benchmarkMail(tt.size)
			if got := testing.AllocsPerRun(100, func() {
				if err := ctx.Feed(mail); err != nil {
					t.Fatal(err)
				}
			}); got > tt.most {
				t.Errorf("%v allocations per mail, want at most %v", got, tt.most)
			}
		})
	}
}

// begin feeds a session its beginning.
func begin(tb testing.TB, ctx *context.ClientContext, messages ...protocol.Message) {
	b := negotiateMsg.Append(nil)
	for _, m := range messages {
		b = m.Append(b)
	}
	if err := ctx.Feed(b); err != nil {
		tb.Fatal(err)
	}
}

var queueID = protocol.Macro{Name: "i", Value: "4ZJ8Qk1T6Yz9sRK"}

const received = "from mail.example.com by mx.example.org with ESMTP id 4711"

// benchmarkMail is one mail with twenty headers, as Postfix sends it.
func benchmarkMail(size int) []byte {
	var b []byte
	add := func(m protocol.Message, macros ...protocol.Macro) {
		if macros != nil {
			b = protocol.DefineMacro{For: m.Command(), Macros: macros}.Append(b)
		}
		b = m.Append(b)
	}
	add(protocol.EnvelopeFrom{Path: "<sender@example.com>", Parameters: protocol.Parameters{"SIZE=4000"}}, queueID)
	add(protocol.EnvelopeRecipient{Path: "<receiver@example.org>"}, queueID)
	add(dataMsg, queueID)
	for i := range 20 {
		add(protocol.Header{Name: "Received", Value: fmt.Sprint(received, i)})
	}
	add(eohMsg, queueID)
	for body := []byte(strings.Repeat("x", size)); len(body) > 0; {
		n := min(len(body), protocol.MaxChunk)
		add(protocol.Body{Chunk: body[:n]})
		body = body[n:]
	}
	add(eomMsg, queueID)
	return b
}

// commandsOf cuts a stream behind each command, macros going before theirs.
func commandsOf(stream []byte) (commands [][]byte) {
	var in protocol.Buffer
	_, _ = in.Write(stream)
	from := 0
	for at := 0; at < len(stream); {
		p, _, _ := in.Next()
		if at += 5 + len(p.Payload); p.Letter != byte(protocol.CommandDefineMacro) {
			commands = append(commands, stream[from:at])
			from = at
		}
	}
	return commands
}
