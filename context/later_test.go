package context_test

import (
	stdcontext "context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// TestLateAnswerToAbortedMessage: what belongs to one mail never pays for the
// next one.
func TestLateAnswerToAbortedMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var release []chan protocol.Status
		var ends []error
		s := start(t, forever(), func(ctx *context.ClientContext, j *journal) {
			record(ctx, j, nil)
			ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
				c := make(chan protocol.Status)
				release = append(release, c)
				return ctx.Later(func(mail stdcontext.Context) protocol.Status {
					status := <-c
					ends = append(ends, stdcontext.Cause(mail))
					return status
				})
			})
		})
		s.play(connectMsg, heloMsg, mailMsg, rcptMsg, dataMsg, headerMsg, eohMsg, eomMsg)
		s.send(abortMsg, mailMsg, rcptMsg, dataMsg, headerMsg, eohMsg, eomMsg)
		s.expect("the second mail waits for its reply", "c", "c", "c", "c", "c")
		release[0] <- protocol.StatusReject
		s.expect("the first mail's reject is nobody's")
		if len(ends) != 1 || ends[0] == nil {
			t.Errorf("the first mail's context had not ended: %v", ends)
		}
		release[1] <- protocol.StatusAccept
		s.expect("the second mail's own answer", "a")
		if len(ends) != 2 || ends[1] != nil {
			t.Errorf("the second mail's context = %v, want it alive", ends)
		}
	})
}

func TestLater(t *testing.T) {
	tests := []struct {
		name   string
		f      func(ctx *context.ClientContext, mail stdcontext.Context) protocol.Status
		panics protocol.Status // Config.PanicStatus
		want   string          // the reply
		events []string
	}{
		{"status", func(*context.ClientContext, stdcontext.Context) protocol.Status { return protocol.StatusAccept }, 0,
			"a", []string{"processed accept at end-of-message"}},
		{"reply code", func(ctx *context.ClientContext, _ stdcontext.Context) protocol.Status {
			return ctx.Reject(554, "5.7.1", "spam")
		}, 0, `y"554 5.7.1 spam\x00"`, []string{"processed reject at end-of-message"}},
		{"panic", func(*context.ClientContext, stdcontext.Context) protocol.Status { panic("oops") }, 0,
			"t", []string{"processed temporary-failure at end-of-message", "error ErrPanic", "finished ErrPanic"}},
		{"panic with its own status", func(*context.ClientContext, stdcontext.Context) protocol.Status { panic("oops") }, protocol.StatusReject,
			"r", []string{"processed reject at end-of-message", "error ErrPanic", "finished ErrPanic"}},
		{"panic without answer", func(*context.ClientContext, stdcontext.Context) protocol.Status { panic("oops") }, protocol.StatusAbort,
			"", []string{"error ErrPanic", "abort end-of-message", "processed abort at end-of-message", "finished ErrPanic"}},
		{"goexit", func(*context.ClientContext, stdcontext.Context) protocol.Status { runtime.Goexit(); return 0 }, 0,
			"t", []string{"processed temporary-failure at end-of-message", "error ErrPanic", "finished ErrPanic"}},
		{"progress", func(*context.ClientContext, stdcontext.Context) protocol.Status { return protocol.StatusProgress }, 0,
			"t", []string{"error ErrInvalidStatus", "processed temporary-failure at end-of-message"}},
		{"not allowed", func(*context.ClientContext, stdcontext.Context) protocol.Status { return protocol.StatusSkip }, 0,
			"c", []string{"processed continue at end-of-message", "error ErrInvalidStatus"}},
		{"answered by itself", func(ctx *context.ClientContext, _ stdcontext.Context) protocol.Status {
			_ = ctx.EndOfMessageResponse(protocol.StatusDiscard)
			return protocol.StatusReject
		}, 0, "d", []string{"processed discard at end-of-message"}},
	}
	for _, test := range tests {
		bubble(t, test.name, func(t *testing.T) {
			config := forever()
			config.PanicStatus = test.panics
			s := start(t, config, func(ctx *context.ClientContext, j *journal) {
				recordEnds(ctx, j)
				ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
					return ctx.Later(func(mail stdcontext.Context) protocol.Status {
						time.Sleep(time.Minute)
						return test.f(ctx, mail)
					})
				})
			})
			s.play(eomMsg)
			time.Sleep(2 * time.Minute)
			var want []string
			if test.want != "" {
				want = []string{test.want}
			}
			s.expect("the answer", want...)
			s.happened("the ends", test.events...)
		})
	}
}

func TestLaterNotDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, forever(), func(ctx *context.ClientContext, j *journal) { recordEnds(ctx, j) })
		s.play()
		f := func(stdcontext.Context) protocol.Status { t.Error("f was started"); return 0 }
		if got := s.ctx.Later(f); got != protocol.StatusTemporaryFailure {
			t.Errorf("Later while nothing is due = %v, want temporary-failure", got)
		}
		s.happened("the error is told at once, not with the next packet", "error ErrNoReplyDue")
	})
}

// TestLaterContext: the context that Later gives ends with everything that makes
// the answer worthless, and says why.
func TestLaterContext(t *testing.T) {
	tests := []struct {
		name  string
		event string
		end   func(*session)
		want  string // a part of the cause
	}{
		{"hang-up", "end-of-message", func(s *session) { s.hangUp() }, "hung up"},
		{"quit", "end-of-message", func(s *session) { s.send(quitMsg) }, "ended"},
		{"abort", "end-of-message", func(s *session) { s.send(abortMsg) }, "ended"},
		{"abort at recipient", "envelope-recipient", func(s *session) { s.send(abortMsg) }, "ended"},
		{"close", "end-of-message", func(s *session) { _ = s.ctx.Close() }, "closed"},
		{"close at helo", "helo", func(s *session) { _ = s.ctx.Close() }, "closed"},
		{"answered by another", "end-of-message", func(s *session) { _ = s.ctx.EndOfMessageResponse(protocol.StatusAccept) }, "ended"},
		{"answered by another at recipient", "envelope-recipient", func(s *session) { _ = s.ctx.EnvelopeRecipientResponse(protocol.StatusContinue) }, "ended"},
		{"broken packet", "end-of-message", func(s *session) { s.send(raw{0, 0, 0, 0}) }, "bad packet length"},
		{"reply timeout", "end-of-message", func(s *session) { time.Sleep(time.Minute) }, "reply timeout"},
	}
	for _, test := range tests {
		bubble(t, test.name, func(t *testing.T) {
			cause := make(chan error, 1)
			config := forever()
			config.ReplyTimeout = time.Minute
			s := start(t, config, func(ctx *context.ClientContext, j *journal) {
				record(ctx, j, nil)
				later := func(ctx *context.ClientContext) protocol.Status {
					return ctx.Later(func(mail stdcontext.Context) protocol.Status {
						<-mail.Done()
						cause <- stdcontext.Cause(mail)
						return protocol.StatusReject
					})
				}
				switch test.event {
				case "end-of-message":
					ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status { return later(ctx) })
				case "envelope-recipient":
					ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, _ string, _ protocol.Parameters) protocol.Status { return later(ctx) })
				case "helo":
					ctx.OnHelo(func(ctx *context.ClientContext, _ string) protocol.Status { return later(ctx) })
				}
			})
			for _, e := range events() {
				if e.name == test.event {
					s.play(append(e.lead, e.message)...)
				}
			}
			select {
			case err := <-cause:
				t.Fatalf("the context ended before its time: %v", err)
			default:
			}
			test.end(s)
			synctest.Wait()
			select {
			case err := <-cause:
				if !strings.Contains(err.Error(), test.want) {
					t.Errorf("cause = %q, want %q in it", err, test.want)
				}
			default:
				t.Error("the context did not end")
			}
		})
	}
}

func TestAbortResponse(t *testing.T) {
	for _, next := range []protocol.Message{mailMsg, heloMsg} {
		bubble(t, next.Command().String(), func(t *testing.T) {
			s := start(t, forever(), func(ctx *context.ClientContext, j *journal) {
				record(ctx, j, nil)
				ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status { return protocol.StatusProgress })
			})
			s.play(connectMsg, heloMsg, mailMsg, rcptMsg)
			s.send(next)
			s.expect("the next command waits for the end of the abort")
			s.happened("the abort", "abort envelope-recipient-replied", "processed abort at envelope-recipient-replied")
			if got := s.ctx.State(); got != context.StateAbort {
				t.Errorf("state = %v, want abort", got)
			}
			mustBe(t, "progress as an abort response", s.ctx.AbortResponse(protocol.StatusProgress), "ErrInvalidStatus")
			mustBe(t, "abort response", s.ctx.AbortResponse(protocol.StatusContinue), "none")
			s.expect("only the next command has a reply", "c")
			mustBe(t, "second abort response", s.ctx.AbortResponse(protocol.StatusContinue), "ErrNoReplyDue")
		})
	}
	bubble(t, "hang-up while it is due", func(t *testing.T) {
		s := start(t, forever(), func(ctx *context.ClientContext, j *journal) {
			recordEnds(ctx, j)
			ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status { return protocol.StatusProgress })
		})
		s.play(mailMsg, abortMsg)
		s.hangUp()
		s.happened("one abort only", "finished ErrFinished")
		mustBe(t, "abort response", s.ctx.AbortResponse(protocol.StatusContinue), "ErrFinished")
	})
	bubble(t, "later", func(t *testing.T) {
		s := start(t, forever(), func(ctx *context.ClientContext, j *journal) {
			record(ctx, j, nil)
			ctx.OnAbort(func(ctx *context.ClientContext, _ context.State) protocol.Status {
				return ctx.Later(func(stdcontext.Context) protocol.Status {
					time.Sleep(time.Second)
					j.add("cleaned up")
					return protocol.StatusContinue
				})
			})
		})
		s.play(mailMsg)
		s.send(abortMsg, mailMsg)
		time.Sleep(2 * time.Second)
		s.happened("the next mail comes after it", "abort envelope-from-replied", "processed abort at envelope-from-replied",
			"cleaned up", "envelope-from <from@example.com>")
	})
}

// TestMessageContext: Message ends with the mail transaction and with nothing
// before it.
func TestMessageContext(t *testing.T) {
	tests := []struct {
		name string
		end  func(*session)
	}{
		{"answered", func(s *session) { s.send(rcptMsg, eomMsg) }},
		{"abort", func(s *session) { s.send(abortMsg) }},
		{"new mail", func(s *session) { s.send(mailMsg) }},
		{"new helo", func(s *session) { s.send(heloMsg) }},
		{"quit", func(s *session) { s.send(quitMsg) }},
		{"quit-new-connection", func(s *session) { s.send(quitNCMsg) }},
		{"hang-up", func(s *session) { s.hangUp() }},
		{"close", func(s *session) { _ = s.ctx.Close() }},
		{"protocol error", func(s *session) { s.send(eohMsg) }},
		{"idle timeout", func(s *session) { time.Sleep(time.Hour) }},
	}
	for _, test := range tests {
		bubble(t, test.name, func(t *testing.T) {
			config := forever()
			config.Timeout = time.Hour
			s := start(t, config, progressAt())
			s.play(connectMsg)
			if s.ctx.Message() != stdcontext.Context(s.ctx) {
				t.Error("outside a mail, Message is not the session")
			}
			s.play2(mailMsg)
			mail := s.ctx.Message()
			if mail != s.ctx.Message() {
				t.Error("two calls in one mail returned different contexts")
			}
			if mail.Err() != nil {
				t.Fatal("the context of the mail has ended already")
			}
			test.end(s)
			synctest.Wait()
			if mail.Err() == nil {
				t.Error("the context of the mail is not done")
			}
			if next := s.ctx.Message(); next == mail {
				t.Error("the next mail has the old context")
			}
		})
	}
}
