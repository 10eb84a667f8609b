//go:build interop

package interop_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// verdicts are the answers of a milter to an event.
var verdicts = []struct {
	name   string
	status protocol.Status // what is returned, or
	reply  func(ctx *context.ClientContext) protocol.Status
}{
	{name: "continue", status: protocol.StatusContinue},
	{name: "accept", status: protocol.StatusAccept},
	{name: "discard", status: protocol.StatusDiscard},
	{name: "reject", status: protocol.StatusReject},
	{name: "reject 554", reply: rejecting(554, "", "")},
	{name: "reject 550 no extended code", reply: rejecting(550, "", "not here")},
	{name: "reject 550 5.7.9 100%", reply: rejecting(550, "5.7.9", "100% spam, 50%% off %s")},
	{name: "reject 550 5.7.9 three lines", reply: rejecting(550, "5.7.9", "first\nsecond 2%\n3rd")},
	{name: "reject 521", reply: rejecting(521, "5.3.2", "no mail here")},
	{name: "tempfail", status: protocol.StatusTemporaryFailure},
	{name: "tempfail 452 4.2.2", reply: failing(452, "4.2.2", "come back")},
	{name: "tempfail 421", reply: failing(421, "4.7.0", "go away")},
	{name: "tempfail 450 two lines", reply: failing(450, "", "one\ntwo")},
}

func rejecting(code int, extended, text string) func(*context.ClientContext) protocol.Status {
	return func(ctx *context.ClientContext) protocol.Status { return ctx.Reject(code, extended, text) }
}

func failing(code int, extended, text string) func(*context.ClientContext) protocol.Status {
	return func(ctx *context.ClientContext) protocol.Status { return ctx.TemporaryFailure(code, extended, text) }
}

// testVerdicts holds every verdict at every event that allows it to the table in
// testdata/replies.txt: what the SMTP client sees in a session of two mails, the
// milter deciding about the first, and what the milter sees of it.
func testVerdicts(t *testing.T, p *port) {
	for _, event := range events {
		for _, v := range verdicts {
			if slices.Contains([]string{"connect", "helo", "unknown"}, event) && v.name == "discard" || event == "unknown" && v.name == "accept" {
				continue // not allowed
			}
			title := event + ", " + v.name
			p.judge.run(t, strings.ReplaceAll(title, " ", "_"), func(t *testing.T) {
				r := p.milter.use(t, func(ctx *context.ClientContext) {
					decided := false
					at(ctx, event, func(ctx *context.ClientContext) protocol.Status {
						if decided {
							return protocol.StatusNotChange
						}
						decided = true
						if v.reply != nil {
							return v.reply(ctx)
						}
						return v.status
					})
				})
				replies.check(t, title, p.mta.name(), twoMails(t, p, r))
				r.clean(t)
			})
		}
	}
}

// twoMails plays a session like a client that never gives up, and returns what
// the milter saw and what was out of the ordinary.
func twoMails(t *testing.T, p *port, r *record) string {
	t.Helper()
	seen := playTwoMails(t, p)
	p.milter.idle(t)
	return r.String() + seen
}

// playTwoMails is the SMTP side of twoMails. Out of the ordinary are answers other
// than those that let it go on, and mails that were not delivered.
func playTwoMails(t *testing.T, p *port) string {
	t.Helper()
	var seen strings.Builder
	c := p.dial(t)
	// step notes an answer and reports whether it is the one to go on with.
	gone := false
	step := func(name string, a answer, want string) bool {
		if a == closed {
			if !gone {
				fmt.Fprintf(&seen, " | %s: closed", name)
			}
			gone = true
		} else if a.code() != want {
			text := strings.ReplaceAll(string(a), "\n", ` \n `)
			if strings.HasSuffix(text, " ") {
				text = text[:len(text)-1] + `\s`
			}
			fmt.Fprintf(&seen, " | %s: %s", name, text)
		}
		return a.code() == want
	}
	do := func(name, line, want string) bool { return !gone && step(name, c.command(line), want) }

	step("banner", c.read(), "220")
	do("ehlo", "EHLO client.test", "250")
	do("unknown", "XFOO bar", "500")
	var ids []string
	for i, name := range []string{"", "2nd "} {
		if gone || !do(name+"mail", "MAIL FROM:<from@client.test>", "250") {
			continue
		}
		accepted := do(name+"rcpt", "RCPT TO:<a@test.local>", "250")
		if i == 0 {
			accepted = do("other rcpt", "RCPT TO:<b@test.local>", "250") || accepted
		}
		if !accepted || !do(name+"data", "DATA", "354") {
			do(name+"rset", "RSET", "250")
			continue
		}
		a := c.content(sample)
		if !step(name+"dot", a, "250") {
			continue
		}
		if id := a.queueID(); id == "" {
			fmt.Fprintf(&seen, " | %sdot: %s", name, a)
		} else {
			ids = append(ids, id)
		}
	}
	do("quit", "QUIT", "221")
	c.conn.Close()
	for _, id := range ids {
		switch p.fate(t, id) {
		case inQuarantine:
			seen.WriteString(" | in quarantine")
		case discarded:
			seen.WriteString(" | not delivered")
		}
	}
	return seen.String()
}
