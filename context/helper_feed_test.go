package context_test

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A fed is a session without a socket.
type fed struct {
	*journal
	t   testing.TB
	ctx *context.ClientContext
	out *bytes.Buffer
}

func feed(t testing.TB, config context.Config) *fed {
	out := new(bytes.Buffer)
	config.Logger = slog.New(slog.DiscardHandler)
	return &fed{&journal{}, t, context.New(out, config), out}
}

// negotiated returns a session that records all events, in which actions and
// steps were negotiated.
func negotiated(t testing.TB, actions option.Action, steps option.Step, decide func(string) protocol.Status) *fed {
	f := feed(t, forever())
	record(f.ctx, f.journal, decide)
	f.negotiate(actions, steps)
	return f
}

func (f *fed) negotiate(actions option.Action, steps option.Step) {
	f.t.Helper()
	f.ctx.OnNegotiate(func(_ *context.ClientContext, offer *option.Option, _ *option.MacroRequests) protocol.Status {
		offer.Actions, offer.Steps = actions, steps
		return protocol.StatusContinue
	})
	if err := f.feed(negotiateMsg); err != nil {
		f.t.Fatal(err)
	}
	f.replies()
}

func (f *fed) feed(messages ...protocol.Message) error {
	var b []byte
	for _, m := range messages {
		b = m.Append(b)
	}
	return f.ctx.Feed(b)
}

// replies returns what has been written since the last call.
func (f *fed) replies() []string {
	f.t.Helper()
	list := showAll(f.t, f.out.Bytes())
	f.out.Reset()
	return list
}

func (f *fed) expect(why string, want ...string) {
	f.t.Helper()
	if diff := cmp.Diff(orEmpty(want), orEmpty(f.replies())); diff != "" {
		f.t.Errorf("%s: replies (-want +got):\n%s", why, diff)
	}
}

func (f *fed) happened(why string, want ...string) {
	f.t.Helper()
	if diff := cmp.Diff(orEmpty(want), orEmpty(f.take())); diff != "" {
		f.t.Errorf("%s: events (-want +got):\n%s", why, diff)
	}
}
