package context_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

func TestLateReply(t *testing.T) {
	for _, e := range events() {
		bubble(t, e.name, func(t *testing.T) {
			s := start(t, forever(), progressAt(e.name))
			s.play(e.lead...)
			s.send(e.message)
			s.expect("the reply is not due before it is made")
			time.Sleep(time.Hour)
			s.expect("nor after an hour")
			if got := s.ctx.State(); got != e.state {
				t.Errorf("state while the reply is due = %v, want %v", got, e.state)
			}
			mustBe(t, "late reply", e.respond(s.ctx, protocol.StatusContinue), "none")
			s.expect("the late reply", "c")
			if got := s.ctx.State(); got != e.state+1 {
				t.Errorf("state after the reply = %v, want %v", got, e.state+1)
			}
			mustBe(t, "second reply", e.respond(s.ctx, protocol.StatusReject), "ErrNoReplyDue")
			s.expect("nothing for the second reply")
		})
	}
}

func TestLateReplyBeforeHandlerReturns(t *testing.T) {
	for _, e := range events() {
		for _, own := range []protocol.Status{protocol.StatusContinue, protocol.StatusReject, protocol.StatusProgress} {
			bubble(t, fmt.Sprintf("%s then %v", e.name, own), func(t *testing.T) {
				var s *session
				s = start(t, forever(), func(ctx *context.ClientContext, j *journal) {
					record(ctx, j, func(event string) protocol.Status {
						if event != e.name {
							return protocol.StatusContinue
						}
						mustBe(t, "reply within the handler", e.respond(s.ctx, protocol.StatusTemporaryFailure), "none")
						mustBe(t, "a second one", e.respond(s.ctx, protocol.StatusReject), "ErrNoReplyDue")
						return own
					})
				})
				s.play(e.lead...)
				s.send(e.message)
				s.expect("the first answer counts, what the handler returns is too late", "t")
			})
		}
	}
}

func TestLateReplyAfterHangUp(t *testing.T) {
	for _, e := range events() {
		bubble(t, e.name, func(t *testing.T) {
			s := start(t, forever(), progressAt(e.name))
			s.play(e.lead...)
			s.send(e.message)
			s.expect("due")
			s.take()
			s.hangUp()
			want := []string{"finished ErrFinished"}
			if e.inMessage() {
				want = []string{"abort " + e.state.String(), "processed abort at " + e.state.String(), "finished ErrFinished"}
			}
			s.happened("a hang-up voids the reply", want...)
			before := s.writes()
			mustBe(t, "reply after the end", e.respond(s.ctx, protocol.StatusReject), "ErrFinished")
			mustBe(t, "change after the end", s.ctx.AddHeader("X", "y"), "ErrFinished")
			mustBe(t, "progress after the end", s.ctx.Progress(), "ErrFinished")
			if got := s.writes(); got != before {
				t.Errorf("%d writes after the end", got-before)
			}
			s.mustEnd("none")
		})
	}
}

// TestResponseToWrongEvent makes every Response call while the reply to every
// other event is due.
func TestResponseToWrongEvent(t *testing.T) {
	for _, e := range events() {
		bubble(t, e.name, func(t *testing.T) {
			s := start(t, forever(), progressAt(e.name))
			s.play(e.lead...)
			s.send(e.message)
			for _, other := range events() {
				if other.name == e.name {
					continue
				}
				synctest.Wait()
				mustBe(t, other.name+" response", other.respond(s.ctx, protocol.StatusReject), "ErrNoReplyDue")
			}
			mustBe(t, "negotiate response", s.ctx.NegotiateResponse(s.ctx.Option(), nil, protocol.StatusReject), "ErrNoReplyDue")
			mustBe(t, "abort response", s.ctx.AbortResponse(protocol.StatusContinue), "ErrNoReplyDue")
			s.expect("nothing for any of them")
			mustBe(t, "progress as a late status", e.respond(s.ctx, protocol.StatusProgress), "ErrInvalidStatus")
			s.expect("the reply is still due")
			mustBe(t, "the right one", e.respond(s.ctx, protocol.StatusContinue), "none")
			s.expect("now", "c")
		})
	}
}

// TestResponseNotDue makes every Response call where nothing is due.
func TestResponseNotDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, forever(), progressAt())
		for _, e := range events() {
			mustBe(t, e.name+" before the negotiation", e.respond(s.ctx, protocol.StatusReject), "ErrNoReplyDue")
		}
		s.play(connectMsg, heloMsg, mailMsg)
		for _, e := range events() {
			mustBe(t, e.name+" between two events", e.respond(s.ctx, protocol.StatusReject), "ErrNoReplyDue")
		}
		s.expect("nothing was sent")
		s.happened("and nobody is told but the caller")
	})
}

// TestResponseRace answers from a hundred goroutines at once: one wins, and one
// reply is on the wire.
func TestResponseRace(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 2
	}
	for _, e := range events() {
		bubble(t, e.name, func(t *testing.T) {
			for range rounds {
				s := start(t, forever(), progressAt(e.name))
				s.play(e.lead...)
				s.send(e.message)
				synctest.Wait()
				var won, late atomic.Int32
				var wg sync.WaitGroup
				for i := range 100 {
					wg.Go(func() {
						status := protocol.StatusTemporaryFailure
						if i%2 == 0 {
							status = protocol.StatusReject
						}
						switch err := e.respond(s.ctx, status); {
						case err == nil:
							won.Add(1)
						case errors.Is(err, context.ErrNoReplyDue):
							late.Add(1)
						default:
							t.Errorf("response: %v", err)
						}
					})
				}
				wg.Wait()
				if won.Load() != 1 || late.Load() != 99 {
					t.Fatalf("%d won and %d were late, want 1 and 99", won.Load(), late.Load())
				}
				if got := s.replies(); len(got) != 1 || got[0] != "r" && got[0] != "t" {
					t.Fatalf("replies on the wire: %q, want exactly one", got)
				}
			}
		})
	}
	bubble(t, "negotiate", func(t *testing.T) {
		// The option that is sent must be the winner's.
		for range rounds {
			s := start(t, forever(), func(ctx *context.ClientContext, j *journal) { onNegotiate(ctx, protocol.StatusProgress) })
			s.send(negotiateMsg)
			s.expect("due")
			var wg sync.WaitGroup
			var winner atomic.Int32
			for i := range 100 {
				wg.Go(func() {
					o := negotiateMsg.Option
					o.Steps = 1 << (i % 10)
					if s.ctx.NegotiateResponse(o, nil, protocol.StatusContinue) == nil {
						winner.Store(1 << (i % 10))
					}
				})
			}
			wg.Wait()
			if got := s.ctx.Option().Steps; int32(got) != winner.Load() {
				t.Fatalf("steps %v were sent, the winner asked for %#x", got, winner.Load())
			}
			if got := s.replies(); len(got) != 1 {
				t.Fatalf("replies on the wire: %q, want exactly one", got)
			}
		}
	})
}

// TestPipelinedCommandsWait sends the rest of a session while a reply is due.
func TestPipelinedCommandsWait(t *testing.T) {
	for _, e := range events() {
		bubble(t, e.name, func(t *testing.T) {
			s := start(t, forever(), progressAt(e.name))
			s.play(e.lead...)
			s.send(e.message, macros('U', "i", "Q1"), unknownMsg, unknownMsg)
			s.expect("nothing is answered before the reply that is due")
			if e.name == "unknown" {
				return // its own second and third wait for the first for ever
			}
			s.take()
			mustBe(t, "late reply", e.respond(s.ctx, protocol.StatusContinue), "none")
			s.expect("the reply, then those to what waited", "c", "c", "c")
			want := []string{"unknown FOO", "unknown FOO"}
			if e.command == 'E' {
				want = append([]string{"processed continue at end-of-message"}, want...)
			}
			s.happened("the events came after it", want...)
		})
	}
}

// TestEndWhileReplyIsDue: ABORT, QUIT and QUIT_NC do not wait.
func TestEndWhileReplyIsDue(t *testing.T) {
	for _, e := range events() {
		for _, end := range []protocol.Bare{abortMsg, quitMsg, quitNCMsg} {
			bubble(t, fmt.Sprintf("%v at %s", end.Command(), e.name), func(t *testing.T) {
				s := start(t, forever(), progressAt(e.name))
				s.play(e.lead...)
				s.send(e.message)
				s.expect("due")
				s.take()
				s.send(end)
				var want []string
				if e.inMessage() {
					want = append(want, "abort "+e.state.String(), "processed abort at "+e.state.String())
				}
				if end != abortMsg {
					want = append(want, "finished ErrFinished")
				}
				s.happened("it is served at once", want...)
				s.expect("and has no reply")
				err := e.respond(s.ctx, protocol.StatusReject)
				switch {
				case end != abortMsg:
					mustBe(t, "reply after the end", err, "ErrFinished")
					s.mustEnd("none")
				case e.inMessage():
					mustBe(t, "reply after the abort", err, "ErrNoReplyDue")
					s.expect("nothing")
				default:
					mustBe(t, "an abort outside a mail changes nothing", err, "none")
					s.expect("the reply", "r")
				}
			})
		}
	}
}

// TestInputWhileReplyIsDueIsBounded pipelines without end while a reply is due.
func TestInputWhileReplyIsDueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, forever(), progressAt("envelope-from"))
		s.play(mailMsg)
		chunk := packet('U', strings.Repeat("x", 8<<10)+"\x00")
		var taken atomic.Int64
		go func() {
			for range 1000 {
				n, err := s.conn.Write(chunk)
				taken.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		if got := taken.Load(); got > 256<<10 {
			t.Errorf("the session took %d KiB while a reply was due", got>>10)
		}
		mustBe(t, "late reply", s.ctx.EnvelopeFromResponse(protocol.StatusContinue), "none")
		if got := len(s.replies()); got != 1001 {
			t.Errorf("%d replies after it, want 1001: all that waited is served", got)
		}
	})
}

// TestCloseWhileInputIsFull: what waits for a late reply does not keep the
// session from ending.
func TestCloseWhileInputIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, forever(), progressAt("envelope-from"))
		s.play(mailMsg)
		for range 32 {
			s.send(packet('U', strings.Repeat("x", 8<<10)+"\x00"))
		}
		synctest.Wait()
		_ = s.ctx.Close()
		s.happened("the mail is aborted", "abort envelope-from", "processed abort at envelope-from", "finished ErrClosed")
		s.mustEnd("ErrClosed")
	})
}

// TestUnreadReply: an MTA that does not read is dropped after the write timeout.
func TestUnreadReply(t *testing.T) {
	for _, late := range []bool{false, true} {
		bubble(t, fmt.Sprintf("late=%v", late), func(t *testing.T) {
			config := forever()
			config.WriteTimeout = 10 * time.Second
			answered := make(chan error, 1)
			s := prepare(t, config, func(ctx *context.ClientContext, j *journal) {
				recordEnds(ctx, j)
				ctx.OnConnect(func(ctx *context.ClientContext, _ string, _ netAddr) protocol.Status {
					if late {
						go func() { answered <- ctx.ConnectResponse(protocol.StatusContinue) }()
						return protocol.StatusProgress
					}
					return protocol.StatusContinue
				})
			})
			s.serve()
			s.send(negotiateMsg)
			b := make([]byte, 17)
			if _, err := s.conn.Read(b); err != nil {
				t.Fatal(err)
			}
			s.send(connectMsg)
			began := time.Now()
			<-s.served
			if got := time.Since(began); got != 10*time.Second {
				t.Errorf("the session ended after %v, want 10 s", got)
			}
			if late && <-answered == nil {
				t.Error("the late response did not return the write error")
			}
			if s.err == nil || !strings.Contains(s.err.Error(), "writing a reply") {
				t.Errorf("Serve returned %v, want a write error", s.err)
			}
			mustBe(t, "later response", s.ctx.ConnectResponse(protocol.StatusContinue), "ErrFinished")
		})
	}
}
