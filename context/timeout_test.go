package context_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// defaults is the default config.
func defaults() context.Config { return context.DefaultConfig() }

// endsAfter checks that the session ends by its timeout exactly d from now.
func (s *session) endsAfter(why string, d time.Duration) {
	s.t.Helper()
	time.Sleep(d - 1)
	if s.ended() {
		s.t.Fatalf("%s: the session ended before %v: %v", why, d, s.err)
	}
	time.Sleep(time.Nanosecond)
	if !s.ended() {
		s.t.Fatalf("%s: the session did not end at %v", why, d)
	}
	if !errors.Is(s.err, context.ErrTimeout) {
		s.t.Errorf("%s: Serve returned %v, want ErrTimeout", why, s.err)
	}
}

func TestIdleTimeout(t *testing.T) {
	bubble(t, "from the last packet", func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		s.play(connectMsg)
		time.Sleep(time.Hour)
		s.send(macros('H', "x", "y"))
		synctest.Wait()
		s.endsAfter("macros have no reply, but are a packet", 7210*time.Second)
		s.happened("the end", "timeout", "finished ErrTimeout")
	})
	bubble(t, "in a mail", func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		s.play(connectMsg, heloMsg, mailMsg)
		s.endsAfter("from the last reply", 7210*time.Second)
		s.happened("the end, in order", "timeout", "abort envelope-from-replied", "processed abort at envelope-from-replied", "finished ErrTimeout")
		s.expect("nothing is sent")
	})
	bubble(t, "from accept", func(t *testing.T) {
		config := defaults()
		config.PacketTimeout = 0
		s := start(t, config, progressAt())
		s.endsAfter("an MTA that says nothing", 7210*time.Second)
		s.happened("the end", "timeout", "finished ErrTimeout")
	})
	bubble(t, "from the reply", func(t *testing.T) {
		s := start(t, defaults(), func(ctx *context.ClientContext, j *journal) {
			record(ctx, j, func(event string) protocol.Status {
				if event == "connect" {
					time.Sleep(5 * time.Hour)
				}
				return protocol.StatusContinue
			})
		})
		s.play()
		s.send(connectMsg)
		time.Sleep(5 * time.Hour)
		s.expect("no timeout while the handler runs", "c")
		s.endsAfter("from the reply", 7210*time.Second)
	})
	bubble(t, "from a late reply", func(t *testing.T) {
		s := start(t, defaults(), progressAt("connect"))
		s.play(connectMsg)
		time.Sleep(50 * time.Hour)
		if s.ended() {
			t.Fatal("it is the milter's turn, not the MTA's")
		}
		mustBe(t, "late reply", s.ctx.ConnectResponse(protocol.StatusContinue), "none")
		s.endsAfter("from the late reply", 7210*time.Second)
	})
	bubble(t, "from the last packet of many", func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		s.play(connectMsg, heloMsg)
		for range 5 {
			time.Sleep(2 * time.Hour)
			s.send(mailMsg)
			s.expect("alive", "c")
		}
		s.endsAfter("then", 7210*time.Second)
	})
	bubble(t, "none", func(t *testing.T) {
		s := start(t, context.Config{}, progressAt())
		s.play(connectMsg)
		time.Sleep(1000 * time.Hour)
		s.send(heloMsg)
		s.expect("still alive", "c")
	})
	bubble(t, "set while waiting", func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		s.play(connectMsg)
		time.Sleep(time.Minute)
		s.ctx.SetTimeout(2 * time.Minute)
		if got := s.ctx.Timeout(); got != 2*time.Minute {
			t.Errorf("Timeout = %v", got)
		}
		s.endsAfter("counted from the last packet", time.Minute)
	})
	bubble(t, "set longer while waiting", func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		s.play(connectMsg)
		s.ctx.SetTimeout(10 * time.Hour)
		s.endsAfter("the new one", 10*time.Hour)
	})
	bubble(t, "set to none while waiting", func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		s.play(connectMsg)
		s.ctx.SetTimeout(0)
		time.Sleep(100 * time.Hour)
		if s.ended() {
			t.Fatal("the session has ended")
		}
		s.ctx.SetTimeout(200 * time.Hour)
		s.endsAfter("and set again", 100*time.Hour)
	})
	bubble(t, "set to what has passed already", func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		s.play(connectMsg)
		time.Sleep(time.Minute)
		s.ctx.SetTimeout(time.Second)
		s.mustEnd("ErrTimeout")
	})
	bubble(t, "set by a handler", func(t *testing.T) {
		s := start(t, defaults(), func(ctx *context.ClientContext, j *journal) {
			ctx.OnConnect(func(ctx *context.ClientContext, _ string, _ netAddr) protocol.Status {
				ctx.SetTimeout(time.Minute)
				return protocol.StatusContinue
			})
		})
		s.play(connectMsg)
		s.endsAfter("the handler's", time.Minute)
	})
}

func TestPacketTimeout(t *testing.T) {
	helo := heloMsg.Append(nil)
	bubble(t, "three bytes, then silence", func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		s.play(connectMsg)
		time.Sleep(time.Hour)
		s.send(raw(helo[:3]))
		synctest.Wait()
		s.endsAfter("from the first byte", 30*time.Second)
		s.happened("the end", "timeout", "finished ErrTimeout")
	})
	bubble(t, "a byte every 29 seconds", func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		s.play(connectMsg, heloMsg, mailMsg)
		s.send(raw(helo[:1]))
		time.Sleep(29 * time.Second)
		s.send(raw(helo[1:2]))
		synctest.Wait()
		s.endsAfter("from the first byte, not from the last", time.Second)
		s.happened("the end", "timeout", "abort envelope-from-replied", "processed abort at envelope-from-replied", "finished ErrTimeout")
	})
	bubble(t, "each packet has its own time", func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		s.play(connectMsg)
		s.send(raw(helo[:3]))
		for range 20 { // every piece ends one packet and begins the next
			time.Sleep(29 * time.Second)
			s.send(raw(append(helo[3:len(helo):len(helo)], helo[:3]...)))
			s.expect("in time", "c")
		}
		s.endsAfter("the last one", 30*time.Second)
	})
	bubble(t, "negotiation", func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		s.endsAfter("from accept", 30*time.Second)
	})
	bubble(t, "negotiation byte by byte", func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		for _, b := range negotiateMsg.Append(nil)[:10] {
			time.Sleep(2 * time.Second)
			s.send(raw{b})
		}
		synctest.Wait()
		s.endsAfter("from accept", 10*time.Second)
	})
	bubble(t, "macros do not prolong the negotiation", func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		time.Sleep(20 * time.Second)
		s.send(macros('C', "j", "mx"))
		synctest.Wait()
		s.endsAfter("from accept", 10*time.Second)
	})
	bubble(t, "not while a reply is due", func(t *testing.T) {
		s := start(t, defaults(), progressAt("connect"))
		s.play(connectMsg)
		s.send(raw(helo[:3]))
		time.Sleep(time.Hour)
		s.send(raw(helo[3:]))
		synctest.Wait()
		if s.ended() {
			t.Fatal("the session ended while a reply was due")
		}
		mustBe(t, "late reply", s.ctx.ConnectResponse(protocol.StatusContinue), "none")
		s.expect("both replies", "c", "c")
	})
	bubble(t, "nor while the negotiation is", func(t *testing.T) {
		s := start(t, defaults(), func(ctx *context.ClientContext, j *journal) { onNegotiate(ctx, protocol.StatusProgress) })
		s.send(negotiateMsg)
		time.Sleep(time.Hour)
		if s.ended() {
			t.Fatal("the session ended while a reply was due")
		}
	})
	bubble(t, "none", func(t *testing.T) {
		config := defaults()
		config.PacketTimeout = 0
		s := start(t, config, progressAt())
		time.Sleep(time.Hour)
		s.play(connectMsg)
		s.send(raw(helo[:3]))
		synctest.Wait()
		s.endsAfter("the idle timeout counts all the same", 7210*time.Second)
	})
	bubble(t, "the shorter one counts", func(t *testing.T) {
		config := defaults()
		config.Timeout = 10 * time.Second
		s := start(t, config, progressAt())
		s.play(connectMsg)
		s.send(raw(helo[:3]))
		synctest.Wait()
		s.endsAfter("idle", 10*time.Second)
	})
}

// TestTimeoutMessage: the error says how long and where.
func TestTimeoutMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, defaults(), progressAt())
		s.play(connectMsg)
		time.Sleep(7210 * time.Second)
		s.mustEnd("ErrTimeout")
		const want = "context: timeout: the MTA was silent for 2h0m10s in state connect-replied"
		if got := fmt.Sprint(s.err); got != want {
			t.Errorf("error %q, want %q", got, want)
		}
	})
}
