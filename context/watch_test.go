package context_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// TestWatch: watchers see every event, with what belongs to it, and the MTA waits
// for none of them.
func TestWatch(t *testing.T) {
	f := feed(t, forever())
	type cc = *context.ClientContext
	f.ctx.WatchConnect(func(_ cc, host string, addr netAddr) { f.add("connect %s %v", host, addr) })
	f.ctx.WatchHelo(func(_ cc, name string) { f.add("helo %s", name) })
	f.ctx.WatchEnvelopeFrom(func(_ cc, from string, p protocol.Parameters) { f.add("from %s %v", from, p) })
	f.ctx.WatchEnvelopeRecipient(func(_ cc, to string, p protocol.Parameters) { f.add("to %s %v", to, p) })
	f.ctx.WatchData(func(cc) { f.add("data") })
	f.ctx.WatchUnknown(func(_ cc, line string) { f.add("unknown %s", line) })
	f.ctx.WatchHeader(func(_ cc, name, value string) { f.add("header %s=%s", name, value) })
	f.ctx.WatchEndOfHeader(func(cc) { f.add("end-of-header") })
	f.ctx.WatchBody(func(_ cc, chunk []byte) { f.add("body %q", chunk) })
	_ = f.feed(negotiateMsg)
	if got, want := f.ctx.Option().Steps, option.NoReplySteps|option.StepSkip; got != want {
		t.Errorf("steps %v, want %v", got, want)
	}
	f.replies()
	_ = f.feed(connectMsg, heloMsg, unknownMsg, protocol.EnvelopeFrom{Path: "<a>", Parameters: protocol.Parameters{"SIZE=1"}},
		protocol.EnvelopeRecipient{Path: "<b>", Parameters: protocol.Parameters{"NOTIFY=NEVER"}}, dataMsg, headerMsg, eohMsg, bodyMsg)
	f.expect("no reply to any of them")
	f.happened("all events", "connect mx.example.net 192.0.2.1:25", "helo mx.example.net", "unknown FOO", "from <a> SIZE=1",
		"to <b> NOTIFY=NEVER", "data", "header Subject=hello", "end-of-header", `body "body\r\n"`)
	_ = f.feed(eomMsg)
	f.expect("end of message always has one", "c")
}

// TestWatchPanic: a watcher's panic is a handler's.
func TestWatchPanic(t *testing.T) {
	f := feed(t, forever())
	recordEnds(f.ctx, f.journal)
	f.ctx.WatchHelo(func(*context.ClientContext, string) { panic("oops") })
	mustBe(t, "feed", f.feed(negotiateMsg, heloMsg), "ErrPanic")
	f.happened("the end", "error ErrPanic", "finished ErrPanic")
}

func TestState(t *testing.T) {
	seen := map[string]bool{}
	for s := context.StateInvalid; s <= context.StateFinished; s++ {
		name := s.String()
		if name == "" || seen[name] {
			t.Errorf("state %d has the name %q", s, name)
		}
		seen[name] = true
		in := s >= context.StateEnvelopeFrom && s <= context.StateBodyReplied
		if got := s.InMessageProcessing(); got != in {
			t.Errorf("%v.InMessageProcessing() = %v", s, got)
		}
	}
	for state, want := range map[context.State]string{
		context.StateEnvelopeFromReplied: "envelope-from-replied", context.StateFinished: "finished", -1: "state(-1)", 99: "state(99)",
	} {
		if got := state.String(); got != want {
			t.Errorf("String = %q, want %q", got, want)
		}
	}
}

// TestConnectFamilies: what OnConnect sees of the client's address.
func TestConnectFamilies(t *testing.T) {
	for _, test := range []struct {
		message protocol.Connect
		want    string
	}{
		{connectMsg, "*net.TCPAddr 192.0.2.1:25"},
		{protocol.Connect{Host: "h", Family: '6', Port: 25, Address: "IPv6:2001:db8::1"}, "*net.TCPAddr [2001:db8::1]:25"},
		{protocol.Connect{Host: "h", Family: 'L', Address: "/run/x"}, "*net.UnixAddr /run/x"},
		{protocol.Connect{Host: "h", Family: 'U'}, "<nil> <nil>"},
	} {
		f := feed(t, forever())
		got := ""
		f.ctx.OnConnect(func(_ *context.ClientContext, _ string, addr net.Addr) protocol.Status {
			got = fmt.Sprintf("%T %v", addr, addr)
			return protocol.StatusContinue
		})
		_ = f.feed(negotiateMsg, test.message)
		if got != test.want {
			t.Errorf("%+v: handler saw %s, want %s", test.message, got, test.want)
		}
	}
}

// A brokenConn fails to be read.
type brokenConn struct{ net.Conn }

func (brokenConn) Read([]byte) (int, error)         { return 0, errBroken }
func (brokenConn) SetReadDeadline(time.Time) error  { return nil }
func (brokenConn) SetWriteDeadline(time.Time) error { return nil }

// TestReadError: an error that is no hang-up is told and returned.
func TestReadError(t *testing.T) {
	config := forever()
	config.Logger = slog.New(slog.DiscardHandler)
	ctx := context.New(io.Discard, config)
	j := &journal{}
	recordEnds(ctx, j)
	if err := ctx.Serve(brokenConn{}); !errors.Is(err, errBroken) {
		t.Errorf("Serve returned %v, want the read error", err)
	}
	if got := j.take(); len(got) != 2 {
		t.Errorf("events %q, want error and finished", got)
	}
}

// TestConnectAndClose: what a port scan or a health check does is no fault.
func TestConnectAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		s.hangUp()
		s.mustEnd("none")
		s.happened("the only event", "finished ErrFinished")
	})
}
