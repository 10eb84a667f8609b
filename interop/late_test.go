//go:build interop

package interop_test

import (
	stdcontext "context"
	"errors"
	"testing"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// testLate answers from goroutines, when the handler has returned: nobody sees a
// difference to an answer by the handler.
func testLate(t *testing.T, p *port) {
	ways := map[string]func(ctx *context.ClientContext, event string, answer func() protocol.Status) protocol.Status{
		"later": func(ctx *context.ClientContext, _ string, answer func() protocol.Status) protocol.Status {
			return ctx.Later(func(stdcontext.Context) protocol.Status {
				time.Sleep(20 * time.Millisecond) // an answer that takes its time
				return answer()
			})
		},
		"response": func(ctx *context.ClientContext, event string, answer func() protocol.Status) protocol.Status {
			time.AfterFunc(20*time.Millisecond, func() { _ = respond(ctx, event, answer()) })
			return protocol.StatusProgress
		},
	}
	for way, answer := range ways {
		for _, event := range events {
			for _, v := range verdicts {
				switch v.name {
				case "continue", "accept", "reject 550 5.7.9 100%", "tempfail":
				default:
					continue
				}
				if event == "unknown" && v.name == "accept" {
					continue
				}
				title := event + ", " + v.name
				p.judge.run(t, way+": "+title, func(t *testing.T) {
					r := p.milter.use(t, func(ctx *context.ClientContext) {
						decided := false
						at(ctx, event, func(ctx *context.ClientContext) protocol.Status {
							if decided {
								return protocol.StatusNotChange
							}
							decided = true
							return answer(ctx, event, func() protocol.Status {
								if v.reply != nil {
									return v.reply(ctx)
								}
								return v.status
							})
						})
					})
					replies.check(t, title, p.mta.name(), twoMails(t, p, r))
					r.clean(t)
				})
			}
		}
	}
}

// respond calls the Response method of an event.
func respond(ctx *context.ClientContext, event string, status protocol.Status) error {
	return map[string]func(protocol.Status) error{
		"connect":            ctx.ConnectResponse,
		"helo":               ctx.HeloResponse,
		"unknown":            ctx.UnknownResponse,
		"envelope-from":      ctx.EnvelopeFromResponse,
		"envelope-recipient": ctx.EnvelopeRecipientResponse,
		"data":               ctx.DataResponse,
		"header":             ctx.HeaderResponse,
		"end-of-header":      ctx.EndOfHeaderResponse,
		"body":               ctx.BodyResponse,
		"end-of-message":     ctx.EndOfMessageResponse,
	}[event](status)
}

// testSlow is about answers that take longer than the MTA waits for one: 3 s here,
// and with Sendmail 9 s for the whole end of a message.
func testSlow(t *testing.T, p *port) {
	gaveUp := answer("451 4.7.1 Service unavailable - try again later")
	if p.mta.name() == "sendmail" {
		gaveUp = "451 4.3.2 Please try again later"
	}
	cases := []struct {
		name      string
		event     string
		keepAlive time.Duration
		body      bool // the time passes in the middle of a replaced body
		takes     time.Duration
		want      answer // "" for a mail that is accepted
		sendmail  answer
	}{
		{name: "end of message, keep-alive", event: "end-of-message", keepAlive: time.Second, takes: 5 * time.Second},
		{name: "end of message, keep-alive, in a body", event: "end-of-message", keepAlive: time.Second, body: true, takes: 5 * time.Second},
		{name: "end of message, no keep-alive", event: "end-of-message", takes: 5 * time.Second, want: gaveUp, sendmail: gaveUp},
		{name: "end of message, keep-alive, very long", event: "end-of-message", keepAlive: time.Second, takes: 11 * time.Second, sendmail: gaveUp},
		{name: "body", event: "body", keepAlive: time.Second, takes: 5 * time.Second, want: gaveUp, sendmail: gaveUp},
		{name: "recipient", event: "envelope-recipient", keepAlive: time.Second, takes: 5 * time.Second, want: gaveUp, sendmail: gaveUp},
	}
	for _, c := range cases {
		p.judge.run(t, c.name, func(t *testing.T) {
			p.milter.with(t, func(cl *client.Client) {
				cl.KeepAlive = c.keepAlive
				if c.body {
					cl.PacketBufferSize = 0
				}
			})
			late := make(chan error, 1)
			r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
				at(ctx, c.event, func(ctx *context.ClientContext) protocol.Status {
					go func() {
						if c.body {
							_ = ctx.ReplaceBody([]byte("new\r\n"))
						}
						time.Sleep(c.takes) // a scan that does not look whether it is still wanted
						if c.body {
							_ = ctx.ReplaceBody([]byte("body\r\n"))
						} else if c.event == "end-of-message" {
							_ = ctx.AddHeader("X-Scanned", "yes")
						}
						late <- respond(ctx, c.event, protocol.StatusContinue)
					}()
					return protocol.StatusProgress
				})
			})
			client := p.dial(t)
			client.hello()
			client.must("MAIL FROM:<from@client.test>", "250")
			got := client.command("RCPT TO:<a@test.local>")
			if got.code() == "250" {
				client.must("DATA", "354")
				got = client.content(sample)
			}
			want := c.want
			if p.mta.name() == "sendmail" {
				want = c.sendmail
			}
			err := <-late
			if want != "" {
				if got != want {
					t.Errorf("the client's answer: want %s, got %s", want, got)
				}
				if !errors.Is(err, context.ErrFinished) {
					t.Errorf("an answer after the MTA has given up: want ErrFinished, got %v", err)
				}
				client.quit()
				p.milter.idle(t)
				r.saw(t, "A F") // aborted, as soon as the MTA hung up
				return
			}
			if err != nil {
				t.Errorf("the late answer: %v", err)
			}
			id := got.queueID()
			if id == "" {
				t.Fatalf("the mail was not accepted: %s", got)
			}
			client.quit()
			m := newModel()
			if c.body {
				m.body = "new\nbody\n"
			} else {
				m.add("X-Scanned: yes")
			}
			if want, got := m.mail(), normal(t, p.sink.wait(t, id)); got != want {
				t.Errorf("mail:\n%s", firstDifference(want, got))
			}
			r.clean(t)
		})
	}
}
