//go:build interop

package interop_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// testNegotiation is about what the MTA sends, and awaits, by what the milter has
// asked for.
func testNegotiation(t *testing.T, p *port) {
	letterOf := map[string]string{
		"connect": "C", "helo": "H", "unknown": "U", "envelope-from": "M", "envelope-recipient": "R",
		"data": "T", "header": "LLLLLLLLL", "end-of-header": "N", "body": "B", "end-of-message": "",
	}
	for _, event := range append([]string{"none"}, events...) {
		p.judge.run(t, "only "+event, func(t *testing.T) {
			w := p.milter.wired(t, nil)
			r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
				if event != "none" {
					at(ctx, event, func(*context.ClientContext) protocol.Status { return protocol.StatusContinue })
				}
			})
			playOne(t, p, received+sample)
			r.clean(t)
			from, to := w.letters(t)
			// Postfix sends aborts when there is nothing to abort.
			from = strings.ReplaceAll(from, "A", "")
			if want := "O" + letterOf[event] + "EQ"; from != want {
				t.Errorf("from the MTA: want %s, got %s", want, from)
			}
			if want := "O" + strings.Repeat("c", len(letterOf[event])+1); to != want {
				t.Errorf("to the MTA: want %s, got %s", want, to)
			}
		})
	}
	p.judge.run(t, "no replies", func(t *testing.T) { testNoReplies(t, p) })
	p.judge.run(t, "skip", func(t *testing.T) { testSkip(t, p) })
	p.judge.run(t, "skip not asked for", func(t *testing.T) { testSkipNotNegotiated(t, p) })
	p.judge.run(t, "rejected recipients", func(t *testing.T) { testRejectedRecipients(t, p) })
	p.judge.run(t, "leading space", func(t *testing.T) { testLeadingSpace(t, p) })
	p.judge.run(t, "macros", func(t *testing.T) { testMacros(t, p) })
	p.judge.run(t, "macros of end of message alone", func(t *testing.T) { testMacrosOfEndOfMessage(t, p) })
	p.judge.run(t, "default macros", func(t *testing.T) { testDefaultMacros(t, p) })
	for _, status := range []protocol.Status{protocol.StatusAccept, protocol.StatusReject, protocol.StatusTemporaryFailure} {
		p.judge.run(t, "answered with "+status.String(), func(t *testing.T) { testNegotiationAnswer(t, p, status) })
	}
}

// playOne plays a session with an unknown command and one mail, which must be
// delivered as want.
func playOne(t *testing.T, p *port, want string) {
	t.Helper()
	c := p.dial(t)
	c.hello()
	c.must("XFOO", "500")
	id := c.send("<from@client.test>", sample, "<a@test.local>")
	c.quit()
	if got := normal(t, p.sink.wait(t, id)); got != want {
		t.Errorf("mail:\n%s", firstDifference(want, got))
	}
	p.milter.idle(t)
}

// testNoReplies lets the milter only look: the MTA waits at the end of the message
// and nowhere else.
func testNoReplies(t *testing.T, p *port) {
	w := p.milter.wired(t, nil)
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		r.watch(ctx)
		ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
			if err := ctx.AddHeader("X-Seen", "yes"); err != nil {
				r.fault(err)
			}
			return protocol.StatusContinue
		})
	})
	m := newModel()
	m.add("X-Seen: yes")
	playOne(t, p, m.mail())
	r.saw(t, "C H U M R T L N B E F")
	r.clean(t)
	if _, to := w.letters(t); to != "Ohc" {
		t.Errorf("to the MTA: want Ohc, got %s", to)
	}
}

// bigBody is 10 MiB.
var bigBody = strings.Repeat(mebibyte, 10)

func testSkip(t *testing.T, p *port) {
	w := p.milter.wired(t, nil)
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status {
			r.add("B")
			return protocol.StatusSkip
		})
	})
	sendBig(t, p)
	if n := r.count("B"); n != 1 {
		t.Errorf("%d body events after skip", n)
	}
	r.clean(t)
	from, to := w.letters(t)
	if want := "OBEQ"; strings.ReplaceAll(from, "A", "") != want || to != "Osc" {
		t.Errorf("from the MTA: want %s, got %s; to it: want Osc, got %s", want, from, to)
	}
}

// testSkipNotNegotiated leaves skip out of the answer: the library swallows the
// rest of the body.
func testSkipNotNegotiated(t *testing.T, p *port) {
	w := p.milter.wired(t, nil)
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnNegotiate(func(ctx *context.ClientContext, offer *option.Option, _ *option.MacroRequests) protocol.Status {
			*offer = ctx.DefaultOption(*offer)
			offer.Steps &^= option.StepSkip
			return protocol.StatusContinue
		})
		ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status {
			r.add("B")
			return protocol.StatusSkip
		})
	})
	sendBig(t, p)
	if n := r.count("B"); n != 1 {
		t.Errorf("%d body events after skip", n)
	}
	r.clean(t)
	if from, _ := w.letters(t); strings.Count(from, "B") < 100 {
		t.Errorf("from the MTA: %s", from)
	}
}

func sendBig(t *testing.T, p *port) {
	t.Helper()
	c := p.dial(t)
	c.hello()
	id := c.send("<from@client.test>", sample+bigBody, "<a@test.local>")
	c.quit()
	if want, got := received+sample+bigBody, normal(t, p.sink.wait(t, id)); got != want {
		t.Errorf("mail:\n%s", firstDifference(want, got))
	}
	p.milter.idle(t)
}

// testRejectedRecipients asks for the recipients that the MTA refuses as well.
func testRejectedRecipients(t *testing.T, p *port) {
	var seen []string
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnNegotiate(func(ctx *context.ClientContext, offer *option.Option, macros *option.MacroRequests) protocol.Status {
			offered := *offer
			*offer = ctx.DefaultOption(*offer)
			offer.Steps |= offered.Steps & option.StepEnvelopeRecipientRejected
			return protocol.StatusContinue
		})
		ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, to string, _ protocol.Parameters) protocol.Status {
			seen = append(seen, fmt.Sprintf("%s %s %s", to, ctx.Macro("rcpt_mailer"), ctx.Macro("rcpt_host")))
			if ctx.Macro("rcpt_mailer") == "error" {
				seen = append(seen, "because "+ctx.Macro("rcpt_addr"))
			}
			return protocol.StatusContinue
		})
	})
	c := p.dial(t)
	c.hello()
	c.must("MAIL FROM:<from@client.test>", "250")
	c.must("RCPT TO:<nosuchuser@local.test>", "550")
	c.must("RCPT TO:<a@test.local>", "250")
	c.must("RSET", "250")
	c.quit()
	p.milter.idle(t)
	r.clean(t)
	want := []string{
		"<nosuchuser@local.test> error 5.1.1", "because Recipient address rejected: User unknown in virtual alias table",
		fmt.Sprintf("<a@test.local> smtp [127.0.0.1]:%d", p.sink.port()),
	}
	if p.mta.name() == "sendmail" {
		want[1] = "because 550 5.1.1 User unknown"
		want[2] = "<a@test.local> relay [127.0.0.1]"
	}
	if !slices.Equal(seen, want) {
		t.Errorf("want %q\ngot  %q", want, seen)
	}
}

// testLeadingSpace takes over the blank after the colon, both ways.
func testLeadingSpace(t *testing.T, p *port) {
	var seen []string
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnNegotiate(func(ctx *context.ClientContext, offer *option.Option, _ *option.MacroRequests) protocol.Status {
			offered := *offer
			*offer = ctx.DefaultOption(*offer)
			offer.Steps |= offered.Steps & option.StepHeaderValueWithLeadingSpace
			return protocol.StatusContinue
		})
		ctx.OnHeader(func(_ *context.ClientContext, name, value string) protocol.Status {
			if strings.HasPrefix(name, "X-") {
				seen = append(seen, fmt.Sprintf("%s:%s", name, value))
			}
			return protocol.StatusContinue
		})
		ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
			for _, value := range []string{"none", " one", "  two", "\ttab", "\n folded"} {
				if err := ctx.AddHeader("X-Add-"+fmt.Sprint(len(value)), value); err != nil {
					r.fault(err)
				}
			}
			return protocol.StatusContinue
		})
	})
	fields := "X-None:none\nX-One: one\nX-Two:  two\nX-Tab:\ttab\nX-Fold:\n folded\n"
	added := "X-Add-4:none\nX-Add-4: one\nX-Add-5:  two\nX-Add-4:\ttab\nX-Add-8:\n folded\n"
	if p.mta.name() == "sendmail" { // each before the first of its name
		added = "X-Add-4:\ttab\nX-Add-4: one\nX-Add-4:none\nX-Add-5:  two\nX-Add-8:\n folded\n"
	}
	header, body, _ := strings.Cut(sample, "X-Dup: one")
	c := p.dial(t)
	c.hello()
	id := c.send("<from@client.test>", header+fields+"\n"+body, "<a@test.local>")
	c.quit()
	if want, got := received+header+fields+added+"\n"+body, normal(t, p.sink.wait(t, id)); got != want {
		t.Errorf("mail:\n%s", firstDifference(want, got))
	}
	p.milter.idle(t)
	r.clean(t)
	if want, got := fields, strings.Join(seen, "\n")+"\n"; got != want {
		t.Errorf("fields: want %q\ngot  %q", want, got)
	}
}

// testNegotiationAnswer answers the offer with something else than an option.
func testNegotiationAnswer(t *testing.T, p *port, status protocol.Status) {
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnNegotiate(func(*context.ClientContext, *option.Option, *option.MacroRequests) protocol.Status { return status })
	})
	c := p.dial(t)
	if status == protocol.StatusAccept {
		c.hello()
		p.sink.wait(t, c.send("<from@client.test>", sample, "<a@test.local>"))
	} else {
		// The MTA takes it for a milter that has failed.
		want := map[string]answer{"postfix": "451 4.7.1 Service unavailable - try again later", "sendmail": "451 4.3.2 Please try again later"}
		c.hello()
		if want, got := want[p.mta.name()], c.command("MAIL FROM:<from@client.test>"); got != want {
			t.Errorf("want %s, got %s", want, got)
		}
	}
	c.quit()
	p.milter.idle(t)
	r.clean(t)
}

// testVersion works with a Postfix that speaks an old version of the protocol.
func testVersion(t *testing.T, p *port, version uint32) {
	w := p.milter.wired(t, func(c *client.Client) { c.PacketBufferSize = 0 })
	var offered, negotiated option.Option
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		r.all(ctx)
		ctx.OnNegotiate(func(_ *context.ClientContext, offer *option.Option, _ *option.MacroRequests) protocol.Status {
			offered = *offer
			return protocol.StatusDefault
		})
		ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, to string, _ protocol.Parameters) protocol.Status {
			negotiated = ctx.Option()
			if to == "<b@test.local>" {
				return ctx.Reject(550, "5.7.9", "not b")
			}
			return protocol.StatusContinue
		})
		ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status { return protocol.StatusSkip }) // emulated
		ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
			for _, err := range []error{ctx.AddHeader("X-New", "1"), ctx.ReplaceBody([]byte("new\r\n")), ctx.ChangeHeader("Subject", 1, "changed"), ctx.ChangeFrom("<new@client.test>", "")} {
				if err != nil {
					r.fault(err)
				}
			}
			return protocol.StatusContinue
		})
	})
	c := p.dial(t)
	c.hello()
	c.must("XFOO", "500")
	c.must("MAIL FROM:<from@client.test>", "250")
	c.must("RCPT TO:<a@test.local>", "250")
	if want, got := answer("550 5.7.9 not b"), c.command("RCPT TO:<b@test.local>"); got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	c.must("DATA", "354")
	d := p.sink.wait(t, c.content(sample).queueID())
	c.quit()
	p.milter.idle(t)
	r.clean(t)
	m := newModel()
	m.header[3], m.body = "Subject: changed", "new\n"
	m.add("X-New: 1")
	if want, got := m.mail(), normal(t, d); got != want {
		t.Errorf("mail:\n%s", firstDifference(want, got))
	}
	if want, got := "from <new@client.test>\nto <a@test.local>", d.envelope(); got != want {
		t.Errorf("envelope: want %q, got %q", want, got)
	}
	if offered.Version != version || negotiated.Version != version || negotiated.Steps&^offered.Steps != 0 {
		t.Errorf("want version %d; offered %v, negotiated %v", version, offered, negotiated)
	}
	want := "OCHMRRLLLLLLLLLNBEQ"
	if version >= 3 {
		want = strings.Replace(want, "H", "HU", 1)
	}
	if version >= 4 {
		want = strings.Replace(want, "RR", "RRT", 1)
	}
	if from, _ := w.letters(t); strings.ReplaceAll(from, "A", "") != want {
		t.Errorf("from the MTA: want %s, got %s", want, from)
	}
}
