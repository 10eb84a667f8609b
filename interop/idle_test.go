//go:build interop

package interop_test

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// testIdle lets sessions pause at several points, for longer than the second after
// which the library looks what has become of a connection, and may go on with it in
// another goroutine. All pause at the same time.
func testIdle(t *testing.T, p *port) {
	const pause = 2500 * time.Millisecond
	ways := []struct {
		name   string
		listen func(r *record, ctx *context.ClientContext)
	}{{"answered", (*record).all}, {"watched", (*record).watch}}

	// Each session of the milter has a record of its own, in the order of dialling.
	var mu sync.Mutex
	var records []*record
	moved := 0 // sessions that another goroutine goes on with
	shared := p.milter.only(t, func(ctx *context.ClientContext, _ *record) {
		mu.Lock()
		defer mu.Unlock()
		r, before := new(record), ""
		ways[len(records)%len(ways)].listen(r, ctx)
		records = append(records, r)
		ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status {
			r.add("A")
			return protocol.StatusNotChange
		})
		ctx.WatchEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) {
			mu.Lock()
			defer mu.Unlock()
			if now := goroutine(); before == "" {
				before = now
			} else if now != before {
				moved++
				before = now
			}
		})
		ctx.OnFinished(func(*context.ClientContext) { r.add("F") })
	})
	lives := idleLives(p)
	var clients []*smtpClient
	for _, life := range lives {
		for range ways {
			c := p.dial(t)
			c.hello()
			life.before(t, c)
			clients = append(clients, c)
		}
	}
	time.Sleep(pause)
	for i, life := range lives {
		for k, way := range ways {
			p.judge.run(t, "idle "+life.name+", "+way.name, func(t *testing.T) {
				i := i*len(ways) + k
				mu.Lock()
				c, r := clients[i], records[i]
				mu.Unlock()
				c.t = t
				life.after(t, c)
				if life.gone {
					c.conn.Close()
				} else {
					c.quit()
				}
				eventually(t, "the milter's session ends", func() bool { return r.count("F") == 1 })
				r.saw(t, life.want)
			})
		}
	}
	p.milter.idle(t)
	shared.clean(t)
	t.Logf("%s: after the pause another goroutine went on %d times", p.mta.name(), moved)
}

// An idleLife is an SMTP session with a pause.
type idleLife struct {
	name          string // what the pause is in, and what comes after it
	before, after func(t *testing.T, c *smtpClient)
	gone          bool // the client hangs up instead of a QUIT
	want          string
}

func idleLives(p *port) []idleLife {
	const from, to = "<from@client.test>", "<a@test.local>"
	mail := func(t *testing.T, c *smtpClient) {
		t.Helper()
		if want, got := received+sample, normal(t, p.sink.wait(t, c.send(from, sample, to))); got != want {
			t.Errorf("mail:\n%s", firstDifference(want, got))
		}
	}
	begin := func(t *testing.T, c *smtpClient) {
		t.Helper()
		c.must("MAIL FROM:"+from, "250")
		c.must("RCPT TO:"+to, "250")
	}
	nothing := func(*testing.T, *smtpClient) {}
	half := strings.Index(sample, "line three")
	return []idleLife{
		{name: "before the first mail", before: nothing, after: mail, want: "C H M R T L N B E F"},
		{name: "between two mails", before: mail, after: mail, want: "C H M R T L N B E M R T L N B E F"},
		{name: "then RSET", before: mail, after: func(t *testing.T, c *smtpClient) {
			c.must("RSET", "250")
			mail(t, c)
		}, want: "C H M R T L N B E M R T L N B E F"},
		{name: "in a mail, then RSET", before: begin, after: func(t *testing.T, c *smtpClient) {
			c.must("RSET", "250")
			mail(t, c)
		}, want: "C H M R A M R T L N B E F"},
		{name: "then RSET in a mail", before: mail, after: func(t *testing.T, c *smtpClient) {
			begin(t, c)
			c.must("RSET", "250")
			mail(t, c)
		}, want: "C H M R T L N B E M R A M R T L N B E F"},
		{name: "in a mail, then on", before: begin, after: func(t *testing.T, c *smtpClient) {
			c.must("DATA", "354")
			p.sink.wait(t, c.content(sample).queueID())
		}, want: "C H M R T L N B E F"},
		{name: "in the body", before: func(t *testing.T, c *smtpClient) {
			begin(t, c)
			c.must("DATA", "354")
			c.write(strings.ReplaceAll(strings.ReplaceAll(sample[:half], "\n", "\r\n"), "\r\n.", "\r\n.."))
		}, after: func(t *testing.T, c *smtpClient) {
			d := p.sink.wait(t, c.content(sample[half:]).queueID())
			if want, got := received+sample, normal(t, d); got != want {
				t.Errorf("mail:\n%s", firstDifference(want, got))
			}
		}, want: "C H M R T L N B E F"},
		{name: "then EHLO", before: mail, after: func(t *testing.T, c *smtpClient) {
			c.must("EHLO again.test", "250")
			mail(t, c)
		}, want: "C H M R T L N B E H M R T L N B E F"},
		{name: "then QUIT", before: mail, after: nothing, want: "C H M R T L N B E F"},
		{name: "then gone", before: mail, after: nothing, gone: true, want: "C H M R T L N B E F"},
		{name: "in a mail, then gone", before: begin, after: nothing, gone: true, want: "C H M R A F"},
	}
}

// testHalfClose ends the stream to the milter together with the end of a mail: the
// verdict reaches the MTA, and the end is noticed soon.
func testHalfClose(t *testing.T, p *port) {
	for name, listen := range map[string]func(r *record, ctx *context.ClientContext){"answered": (*record).all, "watched": (*record).watch} {
		p.judge.run(t, "half-close, "+name, func(t *testing.T) {
			behind, between := p.proxied(t)
			between.endAfter(protocol.CommandEndOfMessage)
			r := behind.milter.only(t, func(ctx *context.ClientContext, r *record) {
				listen(r, ctx)
				ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
					return ctx.Check(ctx.AddHeader("X-Seen", "yes"))
				})
			})
			c := behind.dial(t)
			c.hello()
			id := c.send("<from@client.test>", sample, "<a@test.local>")
			m := newModel()
			m.add("X-Seen: yes")
			if want, got := m.mail(), normal(t, p.sink.wait(t, id)); got != want {
				t.Errorf("mail:\n%s", firstDifference(want, got))
			}
			behind.milter.idle(t) // while the SMTP session goes on
			r.saw(t, "C H M R T L N B E F")
			r.clean(t)
			c.conn.Close()
		})
	}
}

// goroutine returns the number of the one that calls it.
func goroutine() string {
	var b [64]byte
	return strings.Fields(string(b[:runtime.Stack(b[:], false)]))[1]
}
