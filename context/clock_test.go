package context_test

import (
	stdcontext "context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// TestIdleEverywhere: silence ends a session after 7210 s to the nanosecond,
// wherever it is, with an abort if in a mail.
func TestIdleEverywhere(t *testing.T) {
	for _, e := range events() {
		bubble(t, e.name, func(t *testing.T) {
			s := start(t, defaults(), progressAt())
			s.play(append(e.lead[:len(e.lead):len(e.lead)], e.message)...)
			s.endsAfter("from the reply", 7210*time.Second)
			want := []string{"timeout", "finished ErrTimeout"}
			if e.inMessage() && e.command != 'E' {
				want = []string{"timeout", "abort " + e.name + "-replied", "processed abort at " + e.name + "-replied", "finished ErrTimeout"}
			}
			s.happened("the end", want...)
			s.expect("nothing is sent")
		})
	}
}

// arrivals lets the MTA read, and returns a function for what has come: letters,
// each with its time.
func arrivals(s *session, began *time.Time) func() []string {
	var list []string
	go func() {
		var in protocol.Buffer
		for {
			p, err := in.ReadPacket(s.conn)
			if err != nil {
				return
			}
			list = append(list, fmt.Sprintf("%c %v", p.Letter, time.Since(*began)))
		}
	}()
	return func() []string {
		synctest.Wait()
		got := list
		list = nil
		return got
	}
}

// TestKeepAliveInstants: progress comes at each multiple of KeepAlive after the
// end of message, at no other time, and the reply ends it, at the nanosecond.
func TestKeepAliveInstants(t *testing.T) {
	for _, test := range []struct {
		name  string
		reply time.Duration
		want  []string
	}{
		{"zero", 10*time.Second - 1, []string{"c 9.999999999s"}},
		{"one", 10*time.Second + 1, []string{"p 10s", "c 10.000000001s"}},
		{"three", 40*time.Second - 1, []string{"p 10s", "p 20s", "p 30s", "c 39.999999999s"}},
	} {
		bubble(t, test.name, func(t *testing.T) {
			config := defaults()
			config.KeepAlive = 10 * time.Second
			var began time.Time
			s := prepare(t, config, func(ctx *context.ClientContext, j *journal) {
				ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
					return ctx.Later(func(stdcontext.Context) protocol.Status {
						time.Sleep(test.reply)
						return protocol.StatusContinue
					})
				})
			})
			got := arrivals(s, &began)
			s.serve()
			s.send(negotiateMsg)
			got()
			began = time.Now()
			s.send(eomMsg)
			time.Sleep(time.Hour)
			if diff := cmp.Diff(test.want, got()); diff != "" {
				t.Errorf("arrivals (-want +got):\n%s", diff)
			}
		})
	}
	bubble(t, "with a reply timeout", func(t *testing.T) {
		config := defaults()
		config.KeepAlive, config.ReplyTimeout = 10*time.Second, 25*time.Second
		var began time.Time
		s := prepare(t, config, progressAt("end-of-message"))
		got := arrivals(s, &began)
		s.serve()
		s.send(negotiateMsg)
		got()
		for range 2 { // each mail has its own time
			began = time.Now()
			s.send(mailMsg, rcptMsg, eomMsg)
			time.Sleep(time.Hour)
			if diff := cmp.Diff([]string{"c 0s", "c 0s", "p 10s", "p 20s", "t 25s"}, got()); diff != "" {
				t.Errorf("arrivals (-want +got):\n%s", diff)
			}
		}
	})
}

// TestHandlerThatWaitsForTheEnd: a handler that blocks until its mail is over is
// let go by the reply timeout, and by nothing before it.
func TestHandlerThatWaitsForTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := defaults()
		config.ReplyTimeout = time.Minute
		var began time.Time
		var waited time.Duration
		s := start(t, config, func(ctx *context.ClientContext, j *journal) {
			recordEnds(ctx, j)
			ctx.OnEndOfHeader(func(ctx *context.ClientContext) protocol.Status {
				began = time.Now()
				<-ctx.Message().Done()
				waited = time.Since(began)
				return protocol.StatusAccept
			})
		})
		s.play(mailMsg, rcptMsg)
		s.send(eohMsg, quitMsg)
		time.Sleep(time.Hour)
		synctest.Wait()
		if waited != time.Minute {
			t.Errorf("the handler waited for %v, want the reply timeout", waited)
		}
		s.expect("one answer", "t")
		s.happened("the mail was answered, and the quit is served", "error ErrReplyTimeout", "processed temporary-failure at end-of-header", "finished ErrFinished")
	})
}

// TestSlowReader: an MTA that does not read, or too slowly, is dropped when one
// write has taken the write timeout, wherever the write comes from.
func TestSlowReader(t *testing.T) {
	setup := func(change func(*context.ClientContext) protocol.Status) func(*context.ClientContext, *journal) {
		return func(ctx *context.ClientContext, j *journal) {
			recordEnds(ctx, j)
			ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status { return change(ctx) })
		}
	}
	later := func(ctx *context.ClientContext) protocol.Status {
		return ctx.Later(func(mail stdcontext.Context) protocol.Status {
			<-mail.Done()
			return protocol.StatusContinue
		})
	}
	replace := func(ctx *context.ClientContext) protocol.Status {
		return ctx.Check(ctx.ReplaceBody(make([]byte, 1<<20)))
	}
	for _, test := range []struct {
		name   string
		change func(*context.ClientContext) protocol.Status
		pace   time.Duration // of a byte
		want   time.Duration // from the end of message to the end
	}{
		{"keep-alive", later, 0, 20 * time.Second},     // the first is written after ten seconds
		{"a large body", replace, 0, 10 * time.Second}, // the first of its writes
		{"a large body, a byte a second", replace, time.Second, 10 * time.Second},
	} {
		bubble(t, test.name, func(t *testing.T) {
			config := defaults()
			config.KeepAlive = 10 * time.Second
			s := prepare(t, config, setup(test.change))
			s.serve()
			s.send(negotiateMsg, mailMsg, rcptMsg)
			if _, err := io.ReadFull(s.conn, make([]byte, 17+2*5)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if test.pace > 0 {
				go func() {
					for {
						select {
						case <-s.served:
							return
						case <-time.After(test.pace):
						}
						if _, err := s.conn.Read(make([]byte, 1)); err != nil {
							return
						}
					}
				}()
			}
			began := time.Now()
			s.send(eomMsg)
			<-s.served
			if got := time.Since(began); got != test.want {
				t.Errorf("the session ended after %v, want %v", got, test.want)
			}
			lines := s.take()
			if count(lines, "abort end-of-message") != 1 || len(lines) < 4 || lines[len(lines)-2] != "processed abort at end-of-message" {
				t.Errorf("events %q, want an abort: the MTA has no verdict", lines)
			}
		})
	}
}
