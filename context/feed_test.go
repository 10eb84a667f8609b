package context_test

import (
	"errors"
	"testing"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// TestQuitNewConnection: the session ends, and another one begins on the same
// connection with what was negotiated.
func TestQuitNewConnection(t *testing.T) {
	bubble(t, "socket", func(t *testing.T) {
		s := prepare(t, forever(), func(ctx *context.ClientContext, j *journal) {
			record(ctx, j, nil)
			ctx.SetTimeout(time.Minute)
		})
		s.read()
		served := make(chan error, 2)
		var next *context.ClientContext
		go func() {
			served <- s.ctx.Serve(s.own)
			next = s.ctx.Next()
			record(next, s.journal, func(event string) protocol.Status {
				if event == "helo" {
					return protocol.StatusReject
				}
				return protocol.StatusContinue
			})
			served <- next.Serve(s.own)
		}()
		s.play(macros('C', "j", "first"), connectMsg, heloMsg, mailMsg)
		// What comes with the quit belongs to the next session.
		s.send(quitNCMsg, macros('H', "h", "second"), connectMsg, heloMsg)
		s.expect("the next session answers", "c", "r")
		s.happened("the first one ends", "abort envelope-from-replied", "processed abort at envelope-from-replied", "finished ErrFinished",
			"connect mx.example.net 192.0.2.1:25", "helo mx.example.net")
		mustBe(t, "the first session", <-served, "none")
		if next == s.ctx || s.ctx.State() != context.StateFinished {
			t.Error("the first session has not ended")
		}
		if next.Option() != s.ctx.Option() || next.Option() == (option.Option{}) {
			t.Errorf("the next session has %v, want what was negotiated", next.Option())
		}
		if next.Macro("j") != "" {
			t.Error("the next session has the macros of the first")
		}
		if next.Timeout() != time.Minute {
			t.Errorf("the next session has timeout %v", next.Timeout())
		}
		time.Sleep(time.Minute)
		mustBe(t, "the next session's own idle timeout", <-served, "ErrTimeout")
		close(s.out)
		_ = s.conn.Close()
	})
	t.Run("feed", func(t *testing.T) {
		f := negotiated(t, option.ActionQuarantine, option.StepSkip, nil)
		if f.ctx.Next() != nil {
			t.Error("there is a next session before the quit")
		}
		mustBe(t, "feed", f.feed(connectMsg, quitNCMsg, connectMsg), "none")
		f.expect("one answer", "c")
		next := f.ctx.Next()
		if next == nil || f.ctx.Next() != next {
			t.Fatal("no next session")
		}
		if got := next.State(); got != context.StateNegotiateReplied {
			t.Errorf("its state = %v, want negotiate-replied", got)
		}
		record(next, f.journal, nil)
		f.take()
		mustBe(t, "feed nil", next.Feed(nil), "none")
		f.happened("what came with the quit", "connect mx.example.net 192.0.2.1:25")
		f.expect("its answer", "c")
		mustBe(t, "a negotiation", next.Feed(negotiateMsg.Append(nil)), "ErrProtocol")
		mustBe(t, "feed the old one", f.feed(), "ErrFinished")
	})
	t.Run("before the negotiation", func(t *testing.T) {
		f := feed(t, forever())
		mustBe(t, "feed", f.feed(quitNCMsg), "ErrProtocol")
		if f.ctx.Next() != nil {
			t.Error("there is a next session")
		}
	})
	t.Run("after quit", func(t *testing.T) {
		f := negotiated(t, 0, 0, nil)
		mustBe(t, "feed", f.feed(quitMsg), "none")
		if f.ctx.Next() != nil {
			t.Error("there is a next session")
		}
	})
}

// TestFeed: bytes may come in any pieces; what waits for a late reply is delivered
// by the goroutine that gives it.
func TestFeed(t *testing.T) {
	t.Run("byte by byte", func(t *testing.T) {
		f := feed(t, forever())
		record(f.ctx, f.journal, nil)
		for _, m := range append([]protocol.Message{negotiateMsg}, eomMsgs()...) {
			for _, b := range m.Append(nil) {
				if err := f.ctx.Feed([]byte{b}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := len(f.replies()); got != 10 {
			t.Errorf("%d replies, want 10", got)
		}
	})
	t.Run("late", func(t *testing.T) {
		f := feed(t, forever())
		progressAt("helo", "abort")(f.ctx, f.journal)
		mustBe(t, "feed", f.feed(negotiateMsg, connectMsg, heloMsg, mailMsg), "none")
		f.replies()
		f.take()
		mustBe(t, "late reply", f.ctx.HeloResponse(protocol.StatusContinue), "none")
		f.happened("what waited has come when the call returns", "envelope-from <from@example.com>")
		f.expect("both replies", "c", "c")
	})
	t.Run("end by another", func(t *testing.T) {
		f := negotiated(t, 0, 0, nil)
		_ = f.feed(mailMsg)
		f.take()
		_ = f.ctx.Close()
		f.happened("the last events have run when Close returns", "abort envelope-from-replied", "processed abort at envelope-from-replied", "finished ErrClosed")
		mustBe(t, "feed", f.feed(mailMsg), "ErrFinished")
	})
	t.Run("the fault that ends the session", func(t *testing.T) {
		f := negotiated(t, 0, 0, nil)
		mustBe(t, "feed", f.feed(eomMsg), "ErrProtocol")
		mustBe(t, "again", f.feed(eomMsg), "ErrFinished")
	})
	t.Run("by a handler", func(t *testing.T) {
		f := feed(t, forever())
		f.ctx.OnHelo(func(ctx *context.ClientContext, _ string) protocol.Status {
			mustBe(t, "feed", ctx.Feed(mailMsg.Append(nil)), "none")
			if ctx.State() != context.StateHelo {
				t.Errorf("state %v: an event ran within another one", ctx.State())
			}
			return protocol.StatusContinue
		})
		mustBe(t, "feed", f.feed(negotiateMsg, heloMsg), "none")
		if f.ctx.State() != context.StateEnvelopeFromReplied {
			t.Errorf("state %v: what the handler fed should be delivered after it", f.ctx.State())
		}
	})
	t.Run("closed before", func(t *testing.T) {
		f := feed(t, forever())
		_ = f.ctx.Close()
		mustBe(t, "feed", f.feed(negotiateMsg), "ErrFinished")
		f.expect("nothing")
	})
	t.Run("write error", func(t *testing.T) {
		ctx := context.New(brokenWriter{}, forever())
		var told error
		ctx.OnError(func(_ *context.ClientContext, err error) { told = err })
		err := ctx.Feed(negotiateMsg.Append(nil))
		if err == nil || !errors.Is(err, errBroken) || !errors.Is(told, errBroken) {
			t.Errorf("Feed: %v, OnError: %v, want the write error", err, told)
		}
	})
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }
