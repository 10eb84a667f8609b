package context_test

import (
	stdcontext "context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// A place is where a session can be when it is told to end.
type place struct {
	name  string
	due   string             // the event whose reply is due
	play  []protocol.Message // after the negotiation
	start bool               // before the negotiation
	mail  bool               // in a mail
	state context.State
}

// places returns every state in which a session can wait.
func places() []place {
	list := []place{
		{name: "start", start: true, state: context.StateStart},
		{name: "negotiate-replied", state: context.StateNegotiateReplied},
		{name: "abort-replied", play: []protocol.Message{mailMsg, abortMsg}, state: context.StateAbortReplied},
		{name: "unknown-replied in a mail", play: []protocol.Message{mailMsg, unknownMsg}, mail: true, state: context.StateUnknownReplied},
		{name: "decided", play: []protocol.Message{mailMsg, rcptMsg, dataMsg}, state: context.StateDataReplied},
	}
	for _, e := range events() {
		play := append(e.lead, e.message)
		mail := slices.ContainsFunc(play, func(m protocol.Message) bool { return m.Command() == 'M' })
		list = append(list,
			place{name: e.name, due: e.name, play: play, mail: mail, state: e.state},
			place{name: e.name + "-replied", play: play, mail: mail && e.command != 'E', state: e.state + 1})
	}
	return list
}

// at brings a session to p.
func (p place) at(t *testing.T, config context.Config) *session {
	setup := progressAt(p.due)
	if p.name == "decided" {
		setup = statusAt(protocol.StatusReject, "data")
	}
	s := start(t, config, setup)
	if !p.start {
		s.play(p.play...)
	}
	synctest.Wait()
	if got := s.ctx.State(); got != p.state {
		t.Fatalf("state = %v, want %v", got, p.state)
	}
	return s
}

func TestShutdownEverywhere(t *testing.T) {
	for _, p := range places() {
		bubble(t, p.name, func(t *testing.T) {
			s := p.at(t, forever())
			s.ctx.Shutdown()
			s.ctx.Shutdown()
			switch {
			case p.due == "" && !p.mail:
				s.happened("idle: at once", "finished ErrFinished")
			case p.mail:
				if s.ended() {
					t.Fatal("the mail was not finished")
				}
				if p.due != "" {
					mustBe(t, "the reply that is due", s.respond(p.due), "none")
					s.expect("it is sent", "c")
				}
				if p.name != "end-of-message" {
					if s.ended() {
						t.Fatal("the session ended in the middle of a mail")
					}
					s.take()
					s.send(abortMsg)
					s.happened("the end of the mail is the end of the session",
						"abort "+s.previous(p), "processed abort at "+s.previous(p), "finished ErrFinished")
				}
			default:
				if s.ended() {
					t.Fatal("the reply that is due was not waited for")
				}
				mustBe(t, "the reply that is due", s.respond(p.due), "none")
				s.expect("it is sent", "c")
				s.happened("and then the session ends", "finished ErrFinished")
			}
			s.mustEnd("none")
			if cause := stdcontext.Cause(s.ctx); errorClass(cause) != "ErrFinished" {
				t.Errorf("cause = %v", cause)
			}
		})
	}
}

// previous returns the state that OnAbort sees after the reply at p.
func (s *session) previous(p place) string {
	if p.due != "" {
		return p.due + "-replied"
	}
	return p.state.String()
}

func (s *session) respond(name string) error {
	for _, e := range events() {
		if e.name == name {
			return e.respond(s.ctx, protocol.StatusContinue)
		}
	}
	return fmt.Errorf("no event %s", name)
}

// TestShutdownFinishesTheMail: the whole mail is served, and no other.
func TestShutdownFinishesTheMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, forever(), progressAt())
		s.play(mailMsg)
		s.ctx.Shutdown()
		s.send(rcptMsg, dataMsg, headerMsg, eohMsg, bodyMsg, eomMsg, macros('M', "i", "2"), mailMsg)
		s.expect("every reply, and none to the next mail", "c", "c", "c", "c", "c", "c")
		s.mustEnd("none")
	})
}

func TestCloseEverywhere(t *testing.T) {
	for _, p := range places() {
		bubble(t, p.name, func(t *testing.T) {
			s := p.at(t, forever())
			before := s.writes()
			mail := s.ctx.Message()
			mustBe(t, "close", s.ctx.Close(), "none")
			mustBe(t, "close again", s.ctx.Close(), "none")
			var want []string
			if p.mail {
				want = []string{"abort " + p.state.String(), "processed abort at " + p.state.String()}
			}
			s.happened("at once", append(want, "finished ErrClosed")...)
			s.mustEnd("ErrClosed")
			if got := s.writes(); got != before {
				t.Error("something was written")
			}
			if p.due != "" {
				mustBe(t, "the reply that was due", s.respond(p.due), "ErrFinished")
			}
			for _, c := range []stdcontext.Context{s.ctx, mail} {
				if cause := stdcontext.Cause(c); errorClass(cause) != "ErrClosed" {
					t.Errorf("cause = %v, want ErrClosed", cause)
				}
			}
			s.ctx.Shutdown()
		})
	}
}

// TestEndFromHandler calls Shutdown and Close from each handler.
func TestEndFromHandler(t *testing.T) {
	for _, e := range events() {
		bubble(t, "shutdown at "+e.name, func(t *testing.T) {
			var s *session
			s = start(t, forever(), func(ctx *context.ClientContext, j *journal) {
				record(ctx, j, func(event string) protocol.Status {
					if event == e.name {
						s.ctx.Shutdown()
					}
					return protocol.StatusContinue
				})
			})
			s.play(e.lead...)
			s.send(e.message)
			s.expect("the event is answered", "c")
			mail := e.inMessage() && e.command != 'E'
			if got := s.ended(); got == mail {
				t.Errorf("ended = %v in a mail = %v", got, mail)
			}
		})
		bubble(t, "close at "+e.name, func(t *testing.T) {
			var s *session
			s = start(t, forever(), func(ctx *context.ClientContext, j *journal) {
				record(ctx, j, func(event string) protocol.Status {
					if event == e.name {
						_ = s.ctx.Close()
						j.add("still in the handler")
					}
					return protocol.StatusContinue
				})
			})
			s.play(e.lead...)
			s.send(e.message)
			s.expect("nothing is sent any more")
			got := s.take()
			if got[1] != "still in the handler" || got[len(got)-1] != "finished ErrClosed" {
				t.Errorf("the last events come after the handler: %q", got)
			}
			s.mustEnd("ErrClosed")
		})
	}
	for _, name := range []string{"abort", "processed", "error", "finished", "timeout"} {
		bubble(t, "both at "+name, func(t *testing.T) {
			config := forever()
			config.Timeout = time.Minute
			s := start(t, config, func(ctx *context.ClientContext, j *journal) {
				end := func(at string) protocol.Status {
					if at == name {
						ctx.Shutdown()
						_ = ctx.Close()
					}
					return protocol.StatusContinue
				}
				ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status { return end("abort") })
				ctx.OnMessageProcessed(func(*context.ClientContext, *context.MessageResult) { end("processed") })
				ctx.OnError(func(*context.ClientContext, error) { end("error") })
				ctx.OnTimeout(func(*context.ClientContext) { end("timeout") })
				ctx.OnFinished(func(*context.ClientContext) { end("finished") })
				recordEnds(ctx, j)
			})
			s.play(mailMsg)
			switch name {
			case "timeout":
				time.Sleep(time.Minute)
			case "error":
				s.send(connectMsg)
			default:
				s.send(abortMsg, quitMsg)
			}
			if !s.ended() {
				t.Fatal("the session has not ended")
			}
			got := s.take()
			if n := count(got, "processed abort at envelope-from-replied"); n != 1 {
				t.Errorf("the mail ended %d times: %q", n, got)
			}
		})
	}
}

// TestEndFromManyGoroutines: fifty of each at once, against a session at work.
func TestEndFromManyGoroutines(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	for _, how := range []string{"shutdown", "close", "both"} {
		t.Run(how, func(t *testing.T) {
			for range rounds {
				synctest.Test(t, func(t *testing.T) {
					s := start(t, forever(), progressAt())
					s.send(append([]protocol.Message{negotiateMsg}, eomMsgs()...)...)
					var wg sync.WaitGroup
					for i := range 50 {
						wg.Go(func() {
							if how == "shutdown" || how == "both" && i%2 == 0 {
								s.ctx.Shutdown()
							} else {
								_ = s.ctx.Close()
							}
						})
					}
					wg.Wait()
					if !s.ended() {
						t.Fatalf("the session has not ended; state %v", s.ctx.State())
					}
				})
			}
		})
	}
}

func TestEndBeforeServe(t *testing.T) {
	for _, shutdown := range []bool{true, false} {
		bubble(t, fmt.Sprintf("shutdown=%v", shutdown), func(t *testing.T) {
			s := prepare(t, forever(), func(ctx *context.ClientContext, j *journal) { recordEnds(ctx, j) })
			if shutdown {
				s.ctx.Shutdown()
			} else {
				_ = s.ctx.Close()
			}
			if s.ctx.Err() == nil {
				t.Error("the standard context is not done")
			}
			s.read()
			s.serve()
			if shutdown {
				s.mustEnd("none")
				s.happened("the last event runs in Serve", "finished ErrFinished")
			} else {
				s.mustEnd("ErrClosed")
				s.happened("the last event runs in Serve", "finished ErrClosed")
			}
		})
	}
}

// TestCloseWhileWriteHangs: Close does not wait for an MTA that does not read.
func TestCloseWhileWriteHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := prepare(t, forever(), progressAt())
		s.serve()
		s.send(negotiateMsg)
		synctest.Wait()
		began := time.Now()
		_ = s.ctx.Close()
		if !s.ended() || time.Since(began) != 0 {
			t.Errorf("the session has not ended at once: %v", time.Since(began))
		}
	})
}

// TestCloseAfterNext: an ended session keeps its hands off the connection, which
// may serve the next one.
func TestCloseAfterNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := prepare(t, forever(), progressAt())
		s.read()
		done := make(chan error, 1)
		go func() {
			_ = s.ctx.Serve(s.own)
			next := s.ctx.Next()
			record(next, s.journal, nil)
			_ = s.ctx.Close()
			s.ctx.SetTimeout(time.Nanosecond)
			done <- next.Serve(s.own)
		}()
		s.play(connectMsg, quitNCMsg)
		time.Sleep(time.Second)
		s.send(connectMsg, quitMsg)
		s.expect("the next session is served", "c")
		mustBe(t, "the next session", <-done, "none")
		close(s.out)
		_ = s.conn.Close()
	})
}

func TestServeTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, forever(), progressAt())
		s.play()
		mustBe(t, "Serve while it runs", s.ctx.Serve(s.own), "ErrInvalidState")
		s.send(quitMsg)
		s.mustEnd("none")
		mustBe(t, "Serve after the end", s.ctx.Serve(s.own), "ErrInvalidState")
		mustBe(t, "Feed after the end", s.ctx.Feed(nil), "ErrFinished")
	})
}
