//go:build interop

package interop_test

import (
	"net"
	"testing"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// failures is what becomes of a session whose milter fails, by what the MTA was
// told to do then.
var failures = &table{path: "testdata/failures.txt"}

// testFailures lets the milter fail with each setting of the MTA for that case,
// then come back.
func testFailures(t *testing.T, ports map[string]*port) {
	settings := []string{"accept", "reject", "tempfail", "quarantine"}
	if ports["main"].mta.name() == "sendmail" {
		settings = []string{"none", "R", "T", "4"}
	}
	for _, setting := range settings {
		p := ports[setting]
		p.judge.run(t, setting+", down", func(t *testing.T) {
			r := p.milter.use(t, nil)
			p.milter.kill()
			got := twoMails(t, p, r)
			p.milter.start(t)
			failures.check(t, "not there when the client connects, "+setting, p.mta.name(), got)
			testSmoke(t, p)
		})
		p.judge.run(t, setting+", full", func(t *testing.T) {
			failures.check(t, "no place for another session, "+setting, p.mta.name(), testRefused(t, p))
		})
		for _, event := range events {
			p.judge.run(t, setting+", "+event, func(t *testing.T) {
				r := p.milter.use(t, func(ctx *context.ClientContext) {
					at(ctx, event, func(ctx *context.ClientContext) protocol.Status {
						_ = ctx.Close() // the connection closes instead of an answer
						return protocol.StatusContinue
					})
				})
				failures.check(t, "dies at "+event+", "+setting, p.mta.name(), twoMails(t, p, r))
			})
		}
		p.judge.run(t, setting+", restarted", func(t *testing.T) {
			r := p.milter.use(t, nil)
			c := p.dial(t)
			c.hello()
			p.sink.wait(t, c.send("<from@client.test>", sample, "<a@test.local>"))
			p.milter.kill()
			p.milter.start(t)
			// The session that has lost its milter does not get another one.
			a := c.command("MAIL FROM:<from@client.test>")
			failures.check(t, "restarted between two mails, the second MAIL, "+setting, p.mta.name(), string(a))
			if want, got := 1, r.count("M"); got != want {
				t.Errorf("want %d MAIL events, got %d", want, got)
			}
			c.conn.Close()
			testSmoke(t, p)
		})
	}
}

// testRefused lets the milter refuse a session because it has no place for it: the
// client is to come again, whatever the MTA was told to do when a milter fails. It
// returns what twoMails does.
func testRefused(t *testing.T, p *port) string {
	t.Helper()
	p.milter.with(t, func(c *client.Client) { c.MaxConnections, c.RefuseAtLimit = 1, true })
	r := p.milter.use(t, nil)
	addr := p.milter.client.Addrs()[0]
	hold, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	full := func() bool { return p.milter.client.NumberOfProcessingSessions() == 1 }
	eventually(t, "the only place is taken", full)

	c := p.dial(t)
	c.hello()
	c.must("MAIL FROM:<from@client.test>", "451")
	c.command("QUIT")
	c.conn.Close()
	got := playTwoMails(t, p)
	if !full() {
		t.Error("the place is free before its time")
	}
	r.saw(t, "nothing")
	hold.Close()
	p.milter.idle(t)
	testSmoke(t, p) // the place is free
	return "nothing" + got
}
