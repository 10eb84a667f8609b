package context_test

import (
	stdcontext "context"
	"fmt"
	"testing"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

func TestKeepAlive(t *testing.T) {
	tests := []struct {
		name  string
		every time.Duration
		after time.Duration
		want  int
	}{
		{"off", 0, time.Hour, 0},
		{"reply before the first", 10 * time.Second, 9 * time.Second, 0},
		{"one", 10 * time.Second, 19 * time.Second, 1},
		{"ten", 10 * time.Second, 105 * time.Second, 10},
	}
	for _, late := range []bool{true, false} {
		for _, test := range tests {
			bubble(t, fmt.Sprintf("%s late=%v", test.name, late), func(t *testing.T) {
				config := forever()
				config.KeepAlive = test.every
				s := start(t, config, func(ctx *context.ClientContext, j *journal) {
					ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
						scan := func(stdcontext.Context) protocol.Status {
							time.Sleep(test.after)
							return protocol.StatusContinue
						}
						if late {
							return ctx.Later(scan)
						}
						return scan(ctx)
					})
				})
				s.play()
				s.send(eomMsg)
				time.Sleep(test.after + time.Second)
				var want []string
				for range test.want {
					want = append(want, "p")
				}
				s.expect("progress and the reply", append(want, "c")...)
				time.Sleep(time.Hour)
				s.expect("no progress after the reply")
			})
		}
	}
	bubble(t, "only at end of message", func(t *testing.T) {
		config := forever()
		config.KeepAlive = time.Second
		s := start(t, config, progressAt("body"))
		s.play(connectMsg, heloMsg, mailMsg, rcptMsg, dataMsg, eohMsg, bodyMsg)
		time.Sleep(time.Minute)
		s.expect("Sendmail drops a milter that sends progress elsewhere")
	})
	bubble(t, "none after the abort", func(t *testing.T) {
		config := forever()
		config.KeepAlive = time.Second
		s := start(t, config, progressAt("end-of-message"))
		s.play(eomMsgs()...)
		s.send(abortMsg)
		s.replies()
		time.Sleep(time.Minute)
		s.expect("nothing is due any more")
	})
}

func TestReplyTimeout(t *testing.T) {
	for _, e := range events() {
		for _, block := range []bool{true, false} {
			bubble(t, fmt.Sprintf("%s blocking=%v", e.name, block), func(t *testing.T) {
				config := forever()
				config.ReplyTimeout = time.Minute
				var s *session
				s = start(t, config, func(ctx *context.ClientContext, j *journal) {
					record(ctx, j, func(event string) protocol.Status {
						if event != e.name {
							return protocol.StatusContinue
						}
						if e.command == 'E' {
							_ = s.ctx.AddHeader("X-Scan", "begun")
							_ = s.ctx.Quarantine("perhaps")
						}
						if !block {
							return protocol.StatusProgress
						}
						time.Sleep(time.Hour)
						return protocol.StatusAccept
					})
				})
				s.play(e.lead...)
				s.send(e.message)
				time.Sleep(time.Minute - 1)
				s.expect("not yet")
				mail := s.ctx.Message()
				if mail.Err() != nil {
					t.Error("the context of the mail has ended before the reply timeout")
				}
				time.Sleep(time.Nanosecond)
				s.expect("a temporary failure, without the changes", "t")
				if e.inMessage() {
					mustBe(t, "cause of the mail's context", causeOf(mail), "ErrReplyTimeout")
				}
				mustBe(t, "late reply", e.respond(s.ctx, protocol.StatusAccept), "ErrNoReplyDue")
				time.Sleep(2 * time.Hour)
				s.expect("what the handler returns in the end is nobody's")
				got := s.take()
				if n := count(got, "error ErrReplyTimeout"); n != 1 {
					t.Errorf("OnError was told %d times, want once: %q", n, got)
				}
			})
		}
	}
	for _, test := range []struct {
		name   string
		size   int
		status protocol.Status
		want   []string
	}{
		{"accept", 1000, protocol.StatusAccept, []string{"a"}},
		{"continue", 1000, protocol.StatusContinue, []string{"c"}},
		{"half a mail is not accepted", 0, protocol.StatusAccept, []string{`h"X-Scan\x00begun\x00"`, "t"}},
		{"half a mail is not let through", 0, protocol.StatusContinue, []string{`h"X-Scan\x00begun\x00"`, "t"}},
		{"half a mail may be refused", 0, protocol.StatusReject, []string{`h"X-Scan\x00begun\x00"`, "r"}},
		{"half a mail may be dropped", 0, protocol.StatusDiscard, []string{`h"X-Scan\x00begun\x00"`, "d"}},
		{"a status that is not allowed", 1000, protocol.StatusSkip, []string{"c"}},
	} {
		bubble(t, test.name, func(t *testing.T) {
			config := forever()
			config.PacketBufferSize = test.size
			config.ReplyTimeout = time.Minute
			config.ReplyTimeoutStatus = test.status
			s := start(t, config, func(ctx *context.ClientContext, j *journal) {
				ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
					_ = ctx.AddHeader("X-Scan", "begun")
					return protocol.StatusProgress
				})
				ctx.OnError(func(*context.ClientContext, error) {})
			})
			s.play()
			s.send(eomMsg)
			time.Sleep(time.Minute)
			s.expect("the status of the reply timeout", test.want...)
		})
	}
	bubble(t, "negotiate", func(t *testing.T) {
		config := forever()
		config.ReplyTimeout = time.Minute
		s := start(t, config, func(ctx *context.ClientContext, j *journal) {
			recordEnds(ctx, j)
			onNegotiate(ctx, protocol.StatusProgress)
		})
		s.send(negotiateMsg)
		time.Sleep(time.Minute)
		s.expect("the session is refused for now", "t")
		s.happened("and ends", "error ErrReplyTimeout", "finished ErrFinished")
	})
	bubble(t, "an abort has no reply", func(t *testing.T) {
		config := forever()
		config.ReplyTimeout = time.Minute
		s := start(t, config, func(ctx *context.ClientContext, j *journal) {
			ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status { return protocol.StatusProgress })
		})
		s.play(mailMsg, abortMsg)
		time.Sleep(time.Hour)
		s.expect("nothing is sent for it")
		mustBe(t, "abort response", s.ctx.AbortResponse(protocol.StatusContinue), "none")
	})
}
