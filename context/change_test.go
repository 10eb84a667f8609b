package context_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// A change is one way to change a mail.
type change struct {
	name   string
	action option.Action
	good   func(*context.ClientContext) error
	bad    func(*context.ClientContext) error // with an argument that cannot be sent; nil if there is none
	wire   reply.Message
}

func changes() []change {
	type cc = *context.ClientContext
	return []change{
		{"add header", option.ActionAddHeaders, func(c cc) error { return c.AddHeader("X-A", "a") }, func(c cc) error { return c.AddHeader("X A", "a") },
			reply.AddHeader{Name: "X-A", Value: "a"}},
		{"insert header", option.ActionAddHeaders, func(c cc) error { return c.InsertHeader(1, "X-I", "i") }, func(c cc) error { return c.InsertHeader(-1, "X-I", "i") },
			reply.InsertHeader{Index: 1, Name: "X-I", Value: "i"}},
		{"change header", option.ActionChangeHeaders, func(c cc) error { return c.ChangeHeader("Subject", 1, "m") }, func(c cc) error { return c.ChangeHeader("", 1, "m") },
			reply.ChangeHeader{Index: 1, Name: "Subject", Value: "m"}},
		{"delete header", option.ActionChangeHeaders, func(c cc) error { return c.DeleteHeader("Subject", 2) }, func(c cc) error { return c.DeleteHeader("Subject", -2) },
			reply.ChangeHeader{Index: 2, Name: "Subject"}},
		{"change from", option.ActionChangeEnvelopeFrom, func(c cc) error { return c.ChangeFrom("<f@example.com>", "RET=HDRS") }, func(c cc) error { return c.ChangeFrom("", "") },
			reply.ChangeFrom{Path: "<f@example.com>", Parameters: "RET=HDRS"}},
		{"add recipient", option.ActionAddEnvelopeRecipient, func(c cc) error { return c.AddRecipient("<a@example.com>", "") }, func(c cc) error { return c.AddRecipient("a\nb", "") },
			reply.AddRecipient{Path: "<a@example.com>"}},
		{"add recipient with parameters", option.ActionAddEnvelopeRecipientParameters, func(c cc) error { return c.AddRecipient("<a@example.com>", "NOTIFY=NEVER") },
			func(c cc) error { return c.AddRecipient("<a>", "X=\x00") }, reply.AddRecipient{Path: "<a@example.com>", Parameters: "NOTIFY=NEVER"}},
		{"delete recipient", option.ActionDeleteEnvelopeRecipient, func(c cc) error { return c.DeleteRecipient("<to@example.com>") }, func(c cc) error { return c.DeleteRecipient("") },
			reply.DeleteRecipient{Path: "<to@example.com>"}},
		{"replace body", option.ActionChangeBody, func(c cc) error { return c.ReplaceBody([]byte("new\r\n")) }, nil, reply.ReplaceBody{Chunk: []byte("new\r\n")}},
		{"quarantine", option.ActionQuarantine, func(c cc) error { return c.Quarantine("why") }, func(c cc) error { return c.Quarantine("w\rhy") }, reply.Quarantine{Reason: "why"}},
		{"progress", 0, func(c cc) error { return c.Progress() }, nil, reply.Bare(protocol.ReplyProgress)},
	}
}

// TestChangeEverywhere makes every change in every state, with every set of
// actions: the error is the right one, and nothing is written when there is one.
func TestChangeEverywhere(t *testing.T) {
	list := changes()
	all := option.AllActions
	if testing.Short() {
		all = 0x0ff
	}
	for state := context.StateStart; state <= context.StateFinished; state++ {
		for actions := option.Action(0); actions <= all; actions++ {
			f := feed(t, context.Config{})
			f.ctx.SetOption(option.Option{Version: 6, Actions: actions})
			f.ctx.SetState(state)
			for _, c := range list {
				if c.bad != nil {
					if err := c.bad(f.ctx); !errors.Is(err, context.ErrInvalidArgument) {
						t.Fatalf("%s with a bad argument in state %v with %v: %v, want ErrInvalidArgument before all others", c.name, state, actions, err)
					}
				}
				err := c.good(f.ctx)
				var want error
				switch {
				case state != context.StateEndOfMessage:
					want = context.ErrInvalidState
				case !actions.Has(c.action):
					want = context.ErrInvalidAction
				}
				if !errors.Is(err, want) || want == nil && err != nil {
					t.Fatalf("%s in state %v with %v: %v, want %v", c.name, state, actions, err, want)
				}
				var wire []byte
				if want == nil && c.name != "quarantine" { // which waits for the reply
					wire = c.wire.Append(nil)
				}
				if !bytes.Equal(wire, f.out.Bytes()) {
					t.Fatalf("%s in state %v with %v: wrote %q, want %q", c.name, state, actions, f.out.Bytes(), wire)
				}
				f.out.Reset()
				if c.name == "replace body" && want == nil {
					// What comes after a body waits; begin anew.
					f.ctx.SetState(context.StateEndOfMessage)
					_ = f.ctx.EndOfMessageResponse(protocol.StatusContinue)
					f.out.Reset()
					f.ctx.SetState(context.StateEndOfMessage)
				}
			}
		}
	}
}

// atEndOfMessage returns a session in which the reply to end-of-message is due,
// and whose writes are counted.
func atEndOfMessage(t *testing.T, config context.Config) (*context.ClientContext, *countingWriter) {
	t.Helper()
	w := new(countingWriter)
	ctx := context.New(w, config)
	ctx.OnEndOfMessage(func(*context.ClientContext, []byte) protocol.Status { return protocol.StatusProgress })
	ctx.OnHeader(func(*context.ClientContext, string, string) protocol.Status { return protocol.StatusContinue })
	b := negotiateMsg.Append(nil)
	for _, m := range []protocol.Message{headerMsg, protocol.Header{Name: "Received", Value: "one"}, protocol.Header{Name: "RECEIVED", Value: "two"}, eomMsg} {
		b = m.Append(b)
	}
	if err := ctx.Feed(b); err != nil {
		t.Fatal(err)
	}
	w.Reset()
	w.writes = nil
	return ctx, w
}

type countingWriter struct {
	bytes.Buffer
	writes []int // the size of each
}

func (w *countingWriter) Write(b []byte) (int, error) {
	w.writes = append(w.writes, len(b))
	return w.Buffer.Write(b)
}

// TestChangeOrder: call order is wire order, but for body and quarantine, and all
// leave in one write with the reply.
func TestChangeOrder(t *testing.T) {
	ctx, w := atEndOfMessage(t, forever())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(ctx.Quarantine("first reason"))
	must(ctx.AddHeader("X-1", "1"))
	must(ctx.ReplaceBody([]byte("one ")))
	must(ctx.InsertHeader(0, "X-2", "2"))
	must(ctx.ReplaceBody([]byte("two")))
	must(ctx.ChangeHeader("Subject", 0, "new"))
	must(ctx.Quarantine("second reason"))
	must(ctx.DeleteHeader("Received", 2))
	must(ctx.ChangeFrom("<>", ""))
	must(ctx.AddRecipient("<a@example.com>", ""))
	must(ctx.AddRecipient("<b@example.com>", "NOTIFY=NEVER"))
	must(ctx.DeleteRecipient("<to@example.com>"))
	if len(w.writes) != 0 {
		t.Errorf("%d writes before the reply", len(w.writes))
	}
	if got := ctx.QuarantineReason(); got != "second reason" {
		t.Errorf("QuarantineReason = %q", got)
	}
	must(ctx.SetReply(550, "5.7.1", "no"))
	must(ctx.EndOfMessageResponse(protocol.StatusReject))
	want := []string{
		`h"X-1\x001\x00"`, `b"one "`, `b"two"`, `i"\x00\x00\x00\x00X-2\x002\x00"`, `m"\x00\x00\x00\x00Subject\x00new\x00"`,
		`m"\x00\x00\x00\x02Received\x00\x00"`, `e"<>\x00"`, `+"<a@example.com>\x00"`, `2"<b@example.com>\x00NOTIFY=NEVER\x00"`,
		`-"<to@example.com>\x00"`, `q"second reason\x00"`, `y"550 5.7.1 no\x00"`,
	}
	if diff := cmp.Diff(want, showAll(t, w.Bytes())); diff != "" {
		t.Errorf("wire (-want +got):\n%s", diff)
	}
	if len(w.writes) != 1 {
		t.Errorf("%d writes, want one: an MTA never has changes without a verdict", len(w.writes))
	}
	if got := ctx.QuarantineReason(); got != "" {
		t.Errorf("QuarantineReason = %q after the mail", got)
	}
}

func TestPacketBufferSize(t *testing.T) {
	// Each header is 4+1+2+1+1+1 = 10 bytes, each body 5+5.
	header := func(ctx *context.ClientContext) error { return ctx.AddHeader("X1", "y") }
	body := func(ctx *context.ClientContext) error { return ctx.ReplaceBody([]byte("12345")) }
	type calls []func(*context.ClientContext) error
	tests := []struct {
		name   string
		size   int
		calls  calls
		writes []int // with the reply last
		want   string
	}{
		{"zero: each at once", 0, calls{header, header}, []int{10, 10, 5}, "hhc"},
		{"zero, body", 0, calls{header, body, body}, []int{10, 10, 10, 5}, "hbbc"},
		{"zero, after the body", 0, calls{body, header, body, header}, []int{10, 10, 25}, "bbhhc"},
		{"one below the boundary", 19, calls{header, header, header}, []int{20, 15}, "hhhc"},
		{"exact boundary", 20, calls{header, header}, []int{25}, "hhc"},
		{"one above", 20, calls{header, header, header}, []int{30, 5}, "hhhc"},
		{"body counts too", 25, calls{header, body, body}, []int{30, 5}, "hbbc"},
		{"default", context.DefaultPacketBufferSize, calls{header, body, header, body, header}, []int{55}, "hbbhhc"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, w := atEndOfMessage(t, context.Config{PacketBufferSize: 12345})
			if got := ctx.PacketBufferSize(); got != 12345 {
				t.Errorf("PacketBufferSize = %d", got)
			}
			ctx.SetPacketBufferSize(test.size)
			for _, call := range test.calls {
				if err := call(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if err := ctx.EndOfMessageResponse(protocol.StatusContinue); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.writes, w.writes); diff != "" {
				t.Errorf("sizes of the writes (-want +got):\n%s", diff)
			}
			var got string
			for _, p := range showAll(t, w.Bytes()) {
				got += p[:1]
			}
			if got != test.want {
				t.Errorf("wire %q, want %q", got, test.want)
			}
		})
	}
}

// TestReplaceBody: one run of packets of at most 65535 bytes.
func TestReplaceBody(t *testing.T) {
	for _, size := range []int{0, 1, 65535, 65536, 200000} {
		for _, buffer := range []int{0, 1000, 1 << 20} {
			t.Run(fmt.Sprintf("%d bytes, buffer %d", size, buffer), func(t *testing.T) {
				ctx, w := atEndOfMessage(t, context.Config{PacketBufferSize: buffer})
				body := bytes.Repeat([]byte("x"), size)
				if err := ctx.ReplaceBody(body); err != nil {
					t.Fatal(err)
				}
				clear(body) // it may be reused
				_ = ctx.EndOfMessageResponse(protocol.StatusContinue)
				var in protocol.Buffer
				_, _ = in.Write(w.Bytes())
				var got []byte
				packets := 0
				for {
					p, ok, err := in.Next()
					if err != nil {
						t.Fatal(err)
					}
					if !ok || p.Letter == 'c' {
						break
					}
					if p.Letter != 'b' || len(p.Payload) > protocol.MaxChunk {
						t.Errorf("packet %c of %d bytes", p.Letter, len(p.Payload))
					}
					packets++
					got = append(got, p.Payload...)
				}
				if len(got) != size || bytes.Count(got, []byte("x")) != size {
					t.Errorf("%d bytes arrived, want %d", len(got), size)
				}
				if want := max(1, (size+65534)/65535); packets != want {
					t.Errorf("%d packets, want %d", packets, want)
				}
			})
		}
	}
}

// TestProgressInBody: Postfix ends the replacement at anything that is no body,
// so an empty piece of it takes the place of a progress.
func TestProgressInBody(t *testing.T) {
	ctx, w := atEndOfMessage(t, context.Config{PacketBufferSize: 10})
	_ = ctx.Progress()
	_ = ctx.ReplaceBody([]byte("1"))
	_ = ctx.Progress() // nothing of the body has left yet
	_ = ctx.ReplaceBody([]byte("23456"))
	_ = ctx.Progress()
	_ = ctx.AddHeader("X", "y")
	_ = ctx.Progress()
	_ = ctx.ReplaceBody([]byte("7"))
	_ = ctx.EndOfMessageResponse(protocol.StatusContinue)
	want := []string{"p", "p", `b"1"`, `b"23456"`, "b", "b", `b"7"`, `h"X\x00y\x00"`, "c"}
	if diff := cmp.Diff(want, showAll(t, w.Bytes())); diff != "" {
		t.Errorf("wire (-want +got):\n%s", diff)
	}
}

// TestChangesInTestState: SetState(StateEndOfMessage) is enough to try changes.
func TestChangesInTestState(t *testing.T) {
	f := feed(t, forever())
	f.ctx.SetOption(option.All())
	f.ctx.SetState(context.StateEndOfMessage)
	f.ctx.SetQuarantineReason("set")
	if err := f.ctx.AddHeader("X", "y"); err != nil {
		t.Fatal(err)
	}
	if err := f.ctx.EndOfMessageResponse(protocol.StatusContinue); err != nil {
		t.Fatal(err)
	}
	f.expect("the change, the quarantine, the reply", `h"X\x00y\x00"`, `q"set\x00"`, "c")
}
