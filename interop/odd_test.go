//go:build interop

package interop_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// testOddBytes sends a body with NUL bytes and the like.
func testOddBytes(t *testing.T, p *port) {
	mail := sample + "NUL \x00 and \x01\x1b\x7f\xff\n"
	var body strings.Builder
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnBody(func(_ *context.ClientContext, chunk []byte) protocol.Status {
			body.Write(chunk)
			return protocol.StatusContinue
		})
	})
	c := p.dial(t)
	c.hello()
	id := c.send("<from@client.test>", mail, "<a@test.local>")
	c.quit()
	d := p.sink.wait(t, id)
	if want, got := received+mail, normal(t, d); got != want {
		t.Errorf("mail:\n%s", firstDifference(want, got))
	}
	p.milter.idle(t)
	_, want, _ := strings.Cut(mail, "\n\n")
	if got := strings.ReplaceAll(body.String(), "\r\n", "\n"); got != want {
		t.Errorf("the milter's body:\n%s", firstDifference(want, got))
	}
	r.clean(t)
}

// testLongHeader sends a header field of 100 KB, more than libmilter takes.
func testLongHeader(t *testing.T, p *port) {
	field := "X-Long: v" + strings.Repeat("\n "+strings.Repeat("w", 98), 1000)
	mail := field + "\n" + sample
	longest := 0
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnHeader(func(_ *context.ClientContext, name, value string) protocol.Status {
			longest = max(longest, len(name)+2+len(value))
			return protocol.StatusContinue
		})
	})
	c := p.dial(t)
	c.hello()
	c.must("MAIL FROM:<from@client.test>", "250")
	c.must("RCPT TO:<a@test.local>", "250")
	c.must("DATA", "354")
	a := c.content(mail)
	c.quit()
	p.milter.idle(t)
	r.clean(t)
	if p.mta.name() == "sendmail" {
		// It cannot send such a packet, and the milter has failed for it.
		if want := answer("451 4.3.2 Please try again later"); a != want || longest != 0 {
			t.Errorf("want %s, got %s; the milter's longest header: %d", want, a, longest)
		}
		return
	}
	// Postfix cuts it, for the milter and in the mail.
	got := normal(t, p.sink.wait(t, a.queueID()))
	if longest < 59800 || longest > 60000 || len(got) > len(received+sample)+60000 {
		t.Errorf("the milter's longest header is %d, the mail has %d bytes", longest, len(got))
	}
}

// testParameters looks at the ESMTP parameters that a milter gets.
func testParameters(t *testing.T, p *port) {
	var seen []string
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnEnvelopeFrom(func(_ *context.ClientContext, from string, parameters protocol.Parameters) protocol.Status {
			seen = append(seen, fmt.Sprintf("from %s %v", from, parameters))
			return protocol.StatusContinue
		})
		ctx.OnEnvelopeRecipient(func(_ *context.ClientContext, to string, parameters protocol.Parameters) protocol.Status {
			seen = append(seen, fmt.Sprintf("to %s %v", to, parameters))
			return protocol.StatusContinue
		})
	})
	c := p.dial(t)
	c.hello()
	id := c.send("<from@client.test> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=abc", sample,
		"<a@test.local> NOTIFY=FAILURE,DELAY ORCPT=rfc822;old@client.test", "<b@test.local> NOTIFY=NEVER")
	c.quit()
	p.sink.wait(t, id)
	p.milter.idle(t)
	want := []string{
		"from <from@client.test> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=abc",
		"to <a@test.local> NOTIFY=FAILURE,DELAY ORCPT=rfc822;old@client.test",
		"to <b@test.local> NOTIFY=NEVER",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("want %q\ngot  %q", want, seen)
	}
	r.clean(t)
}

// testOddAddresses looks at addresses as a milter gets them: as the client typed
// them.
func testOddAddresses(t *testing.T, p *port) {
	var seen []string
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnEnvelopeRecipient(func(_ *context.ClientContext, to string, _ protocol.Parameters) protocol.Status {
			seen = append(seen, to)
			return protocol.StatusContinue
		})
	})
	typed := []string{"<a@test.local>", "a@test.local", "<@relay.test:a@test.local>", `<"a b"@test.local>`, "<A.B+c@Test.Local>"}
	c := p.dial(t)
	c.hello()
	c.must("MAIL FROM:<from@client.test>", "250")
	for _, to := range typed {
		c.must("RCPT TO:"+to, "250")
	}
	c.must("RSET", "250")
	c.quit()
	p.milter.idle(t)
	if !slices.Equal(seen, typed) {
		t.Errorf("want %q\ngot  %q", typed, seen)
	}
	r.clean(t)
}

// testUnknownCommands looks at what a milter gets of a command that is none.
func testUnknownCommands(t *testing.T, p *port) {
	var seen []string
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnUnknown(func(_ *context.ClientContext, line string) protocol.Status {
			seen = append(seen, line)
			return protocol.StatusContinue
		})
	})
	c := p.dial(t)
	c.hello()
	c.must("XFOO with words", "500")
	c.quit()
	p.milter.idle(t)
	want := []string{"XFOO"}
	if p.mta.name() == "sendmail" {
		want = []string{"XFOO with words"}
	}
	if !slices.Equal(seen, want) {
		t.Errorf("want %q, got %q", want, seen)
	}
	r.clean(t)
}

// testMaxConnections lets the second session wait until the first has ended.
func testMaxConnections(t *testing.T, p *port) {
	p.milter.with(t, func(c *client.Client) { c.MaxConnections = 1 })
	p.milter.use(t, nil)
	first := p.dial(t)
	first.hello()
	second := p.dial(t)
	p.sink.wait(t, first.send("<from@client.test>", sample, "<a@test.local>"))
	first.quit()
	second.hello()
	p.sink.wait(t, second.send("<from@client.test>", sample, "<a@test.local>"))
	second.quit()
}
