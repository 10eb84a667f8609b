package context_test

import (
	stdcontext "context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// counts are what Counters say.
type counts struct{ Panics, BadPeers, ProtocolErrors, Timeouts, ReplyTimeouts uint64 }

// counted checks what n says.
func counted(t *testing.T, n *context.Counters, want counts) {
	t.Helper()
	got := counts{n.Panics.Load(), n.BadPeers.Load(), n.ProtocolErrors.Load(), n.Timeouts.Load(), n.ReplyTimeouts.Load()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// TestCountersOfPanics: each panic counts once wherever it is, and as nothing else
// whatever it is.
func TestCountersOfPanics(t *testing.T) {
	for _, p := range panicPlaces() {
		for _, value := range []any{"oops", context.ErrTimeout, context.ErrProtocol, context.ErrReplyTimeout} {
			t.Run(fmt.Sprintf("%s %v", p.name, value), func(t *testing.T) {
				config := forever()
				config.Counters = new(context.Counters)
				p.run(t, config, new(lockedBuffer), func() { panic(value) })
				want := counts{Panics: 1}
				if p.name == "error" {
					want.ProtocolErrors = 1 // what OnError was to be told of
				}
				counted(t, config.Counters, want)
			})
		}
	}
}

// TestCounters: what a session ends with counts as what it is, and once.
func TestCounters(t *testing.T) {
	later := func(ctx *context.ClientContext, f func()) {
		ctx.OnConnect(func(ctx *context.ClientContext, _ string, _ netAddr) protocol.Status {
			return ctx.Later(func(stdcontext.Context) protocol.Status { f(); return protocol.StatusContinue })
		})
	}
	oldOffer := protocol.Negotiate{}
	oldOffer.Option.Version = 1
	for _, test := range []struct {
		name  string
		setup func(*context.ClientContext) // nil: record
		play  func(s *session)
		want  counts
	}{
		{"quit", nil, func(s *session) { s.play(quitMsg) }, counts{}},
		{"hang-up", nil, func(s *session) { s.play(connectMsg, heloMsg, mailMsg); s.hangUp() }, counts{}},
		{"hang-up before the negotiation", nil, func(s *session) { s.hangUp() }, counts{}},
		{"hang-up within a packet", nil, func(s *session) { s.send(raw("\x00\x00")); s.hangUp() }, counts{}},
		{"Close", nil, func(s *session) { s.play(mailMsg); s.ctx.Close() }, counts{}},
		{"Shutdown", nil, func(s *session) { s.play(connectMsg); s.ctx.Shutdown() }, counts{}},

		{"HTTP", nil, func(s *session) { s.send(raw("GET / HTTP/1.1\r\n\r\n")) }, counts{BadPeers: 1}},
		{"length zero", nil, func(s *session) { s.send(raw{0, 0, 0, 0, 0}) }, counts{BadPeers: 1}},
		{"no negotiation", nil, func(s *session) { s.send(connectMsg) }, counts{BadPeers: 1}},
		{"version 1", nil, func(s *session) { s.send(oldOffer) }, counts{BadPeers: 1}},

		{"malformed", nil, func(s *session) { s.play(packet('H', "no NUL")) }, counts{ProtocolErrors: 1}},
		{"out of order", nil, func(s *session) { s.play(rcptMsg, negotiateMsg) }, counts{ProtocolErrors: 1}},
		{"HTTP after a quit-new-connection", nil, func(s *session) {
			s.play(quitNCMsg)
			_ = s.ctx.Next().Feed(raw("GET / HTTP/1.1\r\n\r\n"))
		}, counts{ProtocolErrors: 1}},

		{"silent from the beginning", nil, func(s *session) { time.Sleep(30 * time.Second) }, counts{Timeouts: 1}},
		{"silent within a packet", nil, func(s *session) { s.play(raw("\x00\x00")); time.Sleep(30 * time.Second) }, counts{Timeouts: 1}},
		{"silent", nil, func(s *session) { s.play(connectMsg); time.Sleep(7210 * time.Second) }, counts{Timeouts: 1}},

		{"late, in time", func(ctx *context.ClientContext) { later(ctx, func() { time.Sleep(time.Minute - 1) }) },
			func(s *session) { s.play(connectMsg); time.Sleep(time.Hour) }, counts{}},
		{"late", func(ctx *context.ClientContext) { later(ctx, func() { time.Sleep(2 * time.Minute) }) },
			func(s *session) { s.play(connectMsg); time.Sleep(time.Hour) }, counts{ReplyTimeouts: 1}},
		{"late twice", func(ctx *context.ClientContext) { progressAt("envelope-from")(ctx, &journal{}) },
			func(s *session) {
				s.play()
				for range 2 {
					s.send(mailMsg)
					time.Sleep(time.Minute)
				}
			}, counts{ReplyTimeouts: 2}},

		{"a panic and a timeout", func(ctx *context.ClientContext) { ctx.OnTimeout(func(*context.ClientContext) { panic("oops") }) },
			func(s *session) { time.Sleep(time.Minute) }, counts{Panics: 1, Timeouts: 1}},
		{"panics of two handlers", func(ctx *context.ClientContext) {
			for range 2 {
				ctx.OnFinished(func(*context.ClientContext) { panic("oops") })
			}
		}, func(s *session) { s.play(quitMsg) }, counts{Panics: 2}},
		{"a watcher's panic", func(ctx *context.ClientContext) {
			ctx.WatchConnect(func(*context.ClientContext, string, netAddr) { panic("oops") })
		}, func(s *session) { s.play(connectMsg) }, counts{Panics: 1}},
		{"Later ends its goroutine", func(ctx *context.ClientContext) { later(ctx, runtime.Goexit) },
			func(s *session) { s.play(connectMsg) }, counts{Panics: 1}},
	} {
		bubble(t, test.name, func(t *testing.T) {
			config := defaults()
			config.ReplyTimeout = time.Minute
			config.Counters = new(context.Counters)
			s := start(t, config, func(ctx *context.ClientContext, j *journal) {
				if test.setup == nil {
					record(ctx, j, nil)
					return
				}
				test.setup(ctx)
			})
			test.play(s)
			synctest.Wait()
			counted(t, config.Counters, test.want)
		})
	}
}

// TestCountersAreShared: sessions that are given the same counters add to them,
// also at the same time.
func TestCountersAreShared(t *testing.T) {
	config := forever()
	config.Counters = new(context.Counters)
	const sessions = 20
	ended := make(chan bool)
	for range sessions {
		f := feed(t, config)
		f.ctx.OnFinished(func(*context.ClientContext) { panic("oops") })
		go func() {
			_ = f.ctx.Feed(raw("GET / HTTP/1.1\r\n\r\n"))
			ended <- true
		}()
	}
	for range sessions {
		<-ended
	}
	counted(t, config.Counters, counts{Panics: sessions, BadPeers: sessions})
}
