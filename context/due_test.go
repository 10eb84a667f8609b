package context_test

import (
	stdcontext "context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// TestLateHold: whatever a goroutine does by a Late that has outlived its mail,
// the next mail on the connection does not see it.
func TestLateHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var holds []*context.Late
		s := start(t, forever(), func(ctx *context.ClientContext, j *journal) {
			record(ctx, j, nil)
			ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
				holds = append(holds, ctx.Late())
				return protocol.StatusProgress
			})
		})
		s.play(connectMsg, heloMsg, mailMsg, rcptMsg, dataMsg, headerMsg, eohMsg, eomMsg)
		s.send(abortMsg, mailMsg, rcptMsg, dataMsg, headerMsg, eohMsg, eomMsg)
		s.expect("the second mail waits for its reply", "c", "c", "c", "c", "c")
		stale, live := holds[0], holds[1]
		if stale.Err() == nil || live.Err() != nil {
			t.Errorf("contexts: stale %v, live %v; want the first one ended only", stale.Err(), live.Err())
		}
		calls := []struct {
			name string
			call func(l *context.Late) error
		}{
			{"AddHeader", func(l *context.Late) error { return l.AddHeader("X-A", "b") }},
			{"InsertHeader", func(l *context.Late) error { return l.InsertHeader(0, "X-A", "b") }},
			{"ChangeHeader", func(l *context.Late) error { return l.ChangeHeader("Subject", 1, "b") }},
			{"DeleteHeader", func(l *context.Late) error { return l.DeleteHeader("Subject", 1) }},
			{"ChangeFrom", func(l *context.Late) error { return l.ChangeFrom("<a@b>", "") }},
			{"AddRecipient", func(l *context.Late) error { return l.AddRecipient("<a@b>", "") }},
			{"DeleteRecipient", func(l *context.Late) error { return l.DeleteRecipient("<a@b>") }},
			{"ReplaceBody", func(l *context.Late) error { return l.ReplaceBody([]byte("x")) }},
			{"Quarantine", func(l *context.Late) error { return l.Quarantine("why") }},
			{"Progress", func(l *context.Late) error { return l.Progress() }},
			{"SetReply", func(l *context.Late) error { return l.SetReply(550, "5.7.1", "stale") }},
			{"Respond", func(l *context.Late) error { return l.Respond(protocol.StatusReject) }},
		}
		for _, c := range calls {
			if err := c.call(stale); !errors.Is(err, context.ErrNoReplyDue) {
				t.Errorf("stale %s: %v, want ErrNoReplyDue", c.name, err)
			}
		}
		if status := stale.Reject(550, "5.7.1", "stale"); status != protocol.StatusTemporaryFailure {
			t.Errorf("stale Reject = %v, want temporary-failure: the refusal has no text", status)
		}
		mustBe(t, "a change by the live one", live.AddHeader("X-Live", "yes"), "none")
		mustBe(t, "its answer", live.Respond(protocol.StatusAccept), "none")
		s.expect("only what the live one did", `h"X-Live\x00yes\x00"`, "a")
		if live.Err() == nil {
			t.Error("the live one has not ended with its answer")
		}
		s.take()
		s.hangUp()
		for _, c := range calls {
			if err := c.call(live); !errors.Is(err, context.ErrFinished) {
				t.Errorf("%s after the session: %v, want ErrFinished", c.name, err)
			}
		}
	})
}

func TestLateWhenNothingIsDue(t *testing.T) {
	f := feed(t, forever())
	late := f.ctx.Late()
	if late.Err() == nil {
		t.Error("a Late while nothing is due is not over")
	}
	mustBe(t, "respond", late.Respond(protocol.StatusAccept), "ErrNoReplyDue")
	// The first event must not be paid for by it, either.
	f.ctx.OnHelo(func(*context.ClientContext, string) protocol.Status { return protocol.StatusProgress })
	_ = f.feed(negotiateMsg, heloMsg)
	mustBe(t, "respond", late.Respond(protocol.StatusAccept), "ErrNoReplyDue")
}

func TestCheck(t *testing.T) {
	f := negotiated(t, option.ActionAddHeaders, 0, nil)
	fault := errors.New("first")
	for _, tt := range []struct {
		name   string
		errs   []error
		want   protocol.Status
		events []string
	}{
		{"no error", nil, protocol.StatusContinue, nil},
		{"nil errors", []error{nil, nil}, protocol.StatusContinue, nil},
		{"the first one is told", []error{nil, fault, errors.New("second")}, protocol.StatusTemporaryFailure, []string{"error other: first"}},
		{"who came too late is no fault", []error{context.ErrNoReplyDue}, protocol.StatusTemporaryFailure, nil},
		{"nor who came after the end", []error{context.ErrFinished}, protocol.StatusTemporaryFailure, nil},
	} {
		f.take()
		if got := f.ctx.Check(tt.errs...); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		f.happened(tt.name, tt.events...)
	}
}

// TestParentEnds: a session ends with Config.Parent, as by Close.
func TestParentEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := stdcontext.WithCancelCause(t.Context())
		config := forever()
		config.Parent = parent
		s := start(t, config, func(ctx *context.ClientContext, j *journal) { record(ctx, j, nil) })
		s.play(connectMsg, heloMsg, mailMsg)
		s.take()
		why := errors.New("enough")
		cancel(why)
		synctest.Wait()
		s.happened("the mail is aborted", "abort envelope-from-replied", "processed abort at envelope-from-replied", "finished other: enough")
		if cause := stdcontext.Cause(s.ctx); !errors.Is(cause, why) {
			t.Errorf("cause %v, want the parent's", cause)
		}
	})
}

// TestShutdownOfUnseenMail: a mail whose MAIL was negotiated away has begun when
// the MTA defines its macros.
func TestShutdownOfUnseenMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, forever(), func(ctx *context.ClientContext, j *journal) {
			recordEnds(ctx, j)
			ctx.OnEndOfMessage(func(*context.ClientContext, []byte) protocol.Status { return protocol.StatusAccept })
		})
		s.play(macros(protocol.CommandEnvelopeFrom, "{mail_addr}", "a@b"))
		s.ctx.Shutdown()
		synctest.Wait()
		s.happened("it is not idle")
		s.send(eomMsg)
		s.expect("the mail is answered", "a")
		s.happened("then the session ends", "processed accept at end-of-message", "finished ErrFinished")
	})
}

// TestPacketBegunWhileReplyIsDue: its time counts from the reply, when it is the
// MTA's turn.
func TestPacketBegunWhileReplyIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := context.DefaultConfig()
		s := start(t, config, func(ctx *context.ClientContext, j *journal) {
			recordEnds(ctx, j)
			ctx.OnHelo(func(*context.ClientContext, string) protocol.Status { return protocol.StatusProgress })
		})
		s.play(heloMsg)
		s.send(raw(mailMsg.Append(nil)[:3]))
		time.Sleep(10 * time.Minute)
		mustBe(t, "the late reply", s.ctx.HeloResponse(protocol.StatusContinue), "none")
		time.Sleep(29 * time.Second)
		synctest.Wait()
		s.happened("there is time left")
		time.Sleep(time.Second)
		synctest.Wait()
		s.happened("30 s after the reply", "timeout", "finished ErrTimeout")
	})
}

// TestNothingLivesBetweenMails: what a goroutine leaves after its mail is not seen
// by the next one.
func TestNothingLivesBetweenMails(t *testing.T) {
	type note struct{ text string }
	f := negotiated(t, 0, 0, nil)
	_ = f.feed(connectMsg, heloMsg, mailMsg, abortMsg)
	f.ctx.SetShelfValue("k", "stale")
	context.PerMessage[note](f.ctx).text = "stale"
	_ = f.feed(mailMsg)
	if v, ok := f.ctx.ShelfValue("k"); ok {
		t.Errorf("the shelf has %q", v)
	}
	if n := context.PerMessage[note](f.ctx); n.text != "" {
		t.Errorf("PerMessage has %q", n.text)
	}
}

// TestNegotiationIsNeverLeftOpen: whatever the status for a missing answer is, the
// MTA is not told to send nothing.
func TestNegotiationIsNeverLeftOpen(t *testing.T) {
	for _, status := range []protocol.Status{protocol.StatusDefault, protocol.StatusContinue, protocol.StatusAccept, protocol.StatusDiscard} {
		synctest.Test(t, func(t *testing.T) {
			config := forever()
			config.ReplyTimeout, config.ReplyTimeoutStatus = time.Minute, status
			s := start(t, config, func(ctx *context.ClientContext, j *journal) {
				recordEnds(ctx, j)
				onNegotiate(ctx, protocol.StatusProgress)
			})
			s.send(negotiateMsg)
			time.Sleep(time.Minute)
			synctest.Wait()
			s.expect(status.String(), "t")
		})
	}
}

// TestCheckOfLate: what goes wrong because a Late is over is no fault to report.
func TestCheckOfLate(t *testing.T) {
	f := negotiated(t, 0, 0, func(event string) protocol.Status {
		if event == "end-of-message" {
			return protocol.StatusProgress
		}
		return protocol.StatusContinue
	})
	_ = f.feed(connectMsg, heloMsg, mailMsg, rcptMsg, dataMsg, eohMsg, eomMsg)
	late := f.ctx.Late()
	f.take()
	late.Check(errors.New("while it is due"))
	f.happened("a fault", "error other: while it is due")
	_ = f.feed(abortMsg)
	f.take()
	if got := late.Check(stdcontext.Cause(late)); got != protocol.StatusTemporaryFailure {
		t.Errorf("Check = %v, want temporary-failure", got)
	}
	f.happened("the scan only stopped")
}

// TestStaleRejectOfWrongClass: a refusal with an impossible code by a Late that is
// over leaves the reply of the event that is due now alone.
func TestStaleRejectOfWrongClass(t *testing.T) {
	f := feed(t, forever())
	var late *context.Late
	f.ctx.OnHelo(func(ctx *context.ClientContext, _ string) protocol.Status {
		if late == nil {
			late = ctx.Late()
			return protocol.StatusContinue
		}
		_ = ctx.SetReply(550, "5.7.1", "mine")
		late.Reject(450, "", "stale")
		return protocol.StatusReject
	})
	_ = f.feed(negotiateMsg, heloMsg)
	f.replies()
	_ = f.feed(heloMsg)
	f.expect("its own reply", `y"550 5.7.1 mine\x00"`)
}
