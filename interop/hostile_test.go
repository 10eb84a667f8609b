//go:build interop

package interop_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// Each call of testHostile's generator gives one hostile string for one of these.
const (
	hostileHeaders    = 1000
	headersInMail     = 20
	hostileRecipients = 1000
	hostileSenders    = 100
	hostileReasons    = 30
	hostileReplies    = 1000
)

// A generator makes strings that try to break out of where they are put.
type generator struct{ *rand.Rand }

var (
	// hostilePieces are what strings are made of.
	hostilePieces = []string{
		"\r", "\n", "\r\n", "\n\n", "\r\n\r\n", "\n ", "\n\t", "\r\n ", "\x00", ":", " ", "\t", "%", "%%", "%s", "%n", "\x7f", "\xff", "é", "\u2028", "\x8a", "\x8d\x8a250 ok", "Ê",
		"\nX-Evil: yes", "\r\nX-Evil: yes", "\rX-Evil: yes", "\n.\n", "\r\n.\r\n", "\r\n.\r\nMAIL FROM:<evil@client.test>\r\n", "\nRCPT TO:<evil@test.local>",
		"<", ">", "<>", "@", "\"", "\\", "\\\n", "(", ")", ",", ";", "[", "]", "550 ", "550-", "\n250 ok", "\r\n250 ok", "5.7.1 ", "4.7.1", "3 strikes", "-", "\x1b[2J", "\v", "\f", "\x01",
		"${i}", "$(id)", "`id`", "|cat", ":include:/etc/passwd", "/dev/null", "NOTIFY=NEVER", " ORCPT=rfc822;x", "=", "+3D",
	}
	tamePieces = []string{"a", "word", "x1", "X", "some words", "0", "user", "example"}
)

// text returns a string of up to n pieces, more or less hostile.
func (g generator) text(n int) string {
	var out strings.Builder
	for range 1 + g.IntN(n) {
		if pieces := hostilePieces; g.IntN(3) > 0 {
			out.WriteString(tamePieces[g.IntN(len(tamePieces))])
		} else {
			out.WriteString(pieces[g.IntN(len(pieces))])
		}
	}
	if g.IntN(50) == 0 {
		out.WriteString(strings.Repeat("long", 300))
	}
	return out.String()
}

// name returns the name of a header field, which is a good one half of the time.
func (g generator) name() string {
	if g.IntN(2) == 0 {
		return fmt.Sprintf("X-G%d", g.IntN(1000))
	}
	return "X-" + g.text(3)
}

// address returns an address of the test domain, as far as it can be told.
func (g generator) address() string {
	return []string{"<%s@test.local>", "%s@test.local", "<a@%s.test.local>", "%s", "<%s>"}[g.IntN(5)]
}

// parameters returns ESMTP parameters, good ones now and then.
func (g generator) parameters() string {
	keywords := []string{"NOTIFY", "ORCPT", "RET", "ENVID", "SIZE", "BODY", "AUTH", "BY", "SMTPUTF8", "notify", "X"}
	values := []string{"", "=", "=NEVER", "=SUCCESS,DELAY", "=rfc822;x", "=rfc822;a+2Bb", "=x", "=HDRS", "=10", "=+zz", "=<>"}
	var out []string
	for range 1 + g.IntN(2) {
		p := keywords[g.IntN(len(keywords))] + values[g.IntN(len(values))]
		if g.IntN(4) == 0 {
			p += g.text(2)
		}
		out = append(out, p)
	}
	return strings.Join(out, " ")
}

func testHostile(t *testing.T, p *port) {
	t.Logf("-seed=%d", *seed)
	// Both MTAs get the same strings.
	p.judge.run(t, "headers", func(t *testing.T) { testHostileHeaders(t, p, generator{rand.New(rand.NewPCG(*seed, 1))}) })
	p.judge.run(t, "recipients", func(t *testing.T) { testHostileRecipients(t, p, generator{rand.New(rand.NewPCG(*seed, 2))}) })
	p.judge.run(t, "senders", func(t *testing.T) { testHostileSenders(t, p, generator{rand.New(rand.NewPCG(*seed, 3))}) })
	p.judge.run(t, "reasons", func(t *testing.T) { testHostileReasons(t, p, generator{rand.New(rand.NewPCG(*seed, 4))}) })
	p.judge.run(t, "replies", func(t *testing.T) { testHostileReplies(t, p, generator{rand.New(rand.NewPCG(*seed, 5))}) })
}

// refused checks the error of a call that the library refused: it says what was
// wrong.
func refused(t *testing.T, err error, call string) {
	t.Helper()
	if !errors.Is(err, context.ErrInvalidArgument) || len(err.Error()) < len(context.ErrInvalidArgument.Error())+20 {
		t.Errorf("%s: not a clear refusal: %v", call, err)
	}
}

// fieldStarts finds the first lines of header fields.
var fieldStarts = regexp.MustCompile(`(?m)^[^ \t\n]`)

// testHostileHeaders adds, inserts and changes headers: the mail gets as many as
// calls were let through, no more, and its body stays.
func testHostileHeaders(t *testing.T, p *port, g generator) {
	_, body, _ := strings.Cut(sample, "\n\n")
	base := len(newModel().header)
	refusals := 0
	for range hostileHeaders / headersInMail {
		var calls []string // those that were let through
		r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
			ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
				for i := range headersInMail {
					name, value := g.name(), g.text(6)
					var err error
					var call string
					switch g.IntN(3) {
					case 0:
						call, err = "add", ctx.AddHeader(name, value)
					case 1:
						call, err = "insert", ctx.InsertHeader(g.IntN(20), name, value)
					default:
						// One that is not there is added; each name once.
						name = fmt.Sprintf("X-C%d-%s", i, strings.TrimPrefix(name, "X-"))
						call, err = "change", ctx.ChangeHeader(name, 1, value)
					}
					call = fmt.Sprintf("%s %q: %q", call, name, value)
					if err != nil {
						refused(t, err, call)
						refusals++
					} else if value != "" {
						calls = append(calls, call)
					}
				}
				return protocol.StatusContinue
			})
		})
		c := p.dial(t)
		c.hello()
		id := c.send("<from@client.test>", sample, "<a@test.local>")
		c.quit()
		d := p.sink.wait(t, id)
		p.milter.idle(t)
		r.clean(t)
		header, got, found := strings.Cut(strings.TrimPrefix(normal(t, d), "\n"), "\n\n")
		if !found || got != body {
			t.Errorf("the body is %q after\n%s", shorten(got), strings.Join(calls, "\n"))
		}
		if n := len(fieldStarts.FindAllString(header, -1)); n != base+len(calls) {
			t.Errorf("%d header fields, want %d; calls:\n%s\nheader:\n%q", n, base+len(calls), strings.Join(calls, "\n"), header)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d of %d headers were refused", refusals, hostileHeaders)
}

// testHostileRecipients adds and deletes recipients: the true recipient gets the
// mail as it was, and nothing gets into the dialogue of the delivery.
func testHostileRecipients(t *testing.T, p *port, g generator) {
	const inMail = 20
	refusals := 0
	for range hostileRecipients / inMail {
		var calls []string
		r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
			ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
				for range inMail {
					address := fmt.Sprintf(strings.ReplaceAll(g.address(), "%s", "%[1]s"), g.text(4))
					parameters := ""
					if g.IntN(2) == 0 {
						parameters = g.parameters()
					}
					call, err := "", error(nil)
					if g.IntN(5) == 0 && !strings.Contains(address, "a@test.local") {
						call, err = fmt.Sprintf("delete %q", address), ctx.DeleteRecipient(address)
					} else {
						call, err = fmt.Sprintf("add %q %q", address, parameters), ctx.AddRecipient(address, parameters)
					}
					if err != nil {
						refused(t, err, call)
						refusals++
					} else {
						calls = append(calls, call)
					}
				}
				return protocol.StatusContinue
			})
		})
		p.milter.hostileMail(t, p, &calls)
		r.clean(t)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d of %d recipients were refused", refusals, hostileRecipients)
}

// testHostileSenders changes the envelope sender.
func testHostileSenders(t *testing.T, p *port, g generator) {
	refusals := 0
	for range hostileSenders {
		var calls []string
		r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
			ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
				address := fmt.Sprintf(strings.ReplaceAll(g.address(), "%s", "%[1]s"), g.text(4))
				parameters := ""
				if g.IntN(2) == 0 {
					parameters = g.parameters()
				}
				call := fmt.Sprintf("from %q %q", address, parameters)
				if err := ctx.ChangeFrom(address, parameters); err != nil {
					refused(t, err, call)
					refusals++
				} else {
					calls = append(calls, call)
				}
				return protocol.StatusContinue
			})
		})
		p.milter.hostileMail(t, p, &calls)
		r.clean(t)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d of %d senders were refused", refusals, hostileSenders)
}

// hostileMail sends a mail whose envelope a milter changes. Its content reaches its
// recipient unchanged, or the MTA refuses it in one clean answer.
func (m *milter) hostileMail(t *testing.T, p *port, calls *[]string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("calls: %q", *calls)
		}
	}()
	c := p.dial(t)
	c.hello()
	c.must("MAIL FROM:<from@client.test>", "250")
	c.must("RCPT TO:<a@test.local>", "250")
	c.must("DATA", "354")
	a := c.content(sample)
	c.must("NOOP", "250")
	c.quit()
	m.idle(t)
	if id := a.queueID(); id != "" {
		d := p.sink.waitFor(t, id, "<a@test.local>")
		if want, got := received+sample, normal(t, d); got != want {
			t.Errorf("after %q the mail is another one:\n%s", *calls, firstDifference(want, got))
		}
	} else if a.code() < "4" || strings.Contains(string(a), "\n") {
		t.Errorf("after %q the answer is %q", *calls, a)
	}
	if faults := p.sink.commands(); len(faults) > 0 {
		t.Errorf("after %q the delivery's dialogue has %q", *calls, faults)
	}
}

// testHostileReasons puts mails into quarantine. A reason does not get out of its
// place in the queue file, and the mail out of quarantine is what it was.
func testHostileReasons(t *testing.T, p *port, g generator) {
	refusals := 0
	for range hostileReasons {
		reason := g.text(6)
		let := false
		r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
			ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
				if err := ctx.Quarantine(reason); err != nil {
					refused(t, err, fmt.Sprintf("quarantine %q", reason))
					refusals++
				} else {
					let = true
				}
				return protocol.StatusContinue
			})
		})
		c := p.dial(t)
		c.hello()
		id := c.send("<from@client.test>", sample, "<a@test.local>")
		c.quit()
		p.milter.idle(t)
		r.clean(t)
		if held := p.mta.held(t, id) != ""; held != let {
			t.Errorf("quarantine %q: let through: %v, in quarantine: %v", reason, let, held)
		}
		if let {
			p.mta.release(t, id)
		}
		if want, got := received+sample, normal(t, p.sink.wait(t, id)); got != want {
			t.Errorf("quarantine %q: mail:\n%s", reason, firstDifference(want, got))
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d of %d reasons were refused", refusals, hostileReasons)
}

// testHostileReplies refuses recipients. The client sees the reply as FormatReply
// has it, and the dialogue stays in step.
func testHostileReplies(t *testing.T, p *port, g generator) {
	refusals, let := 0, true
	var code, call, format string
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, to string, _ protocol.Parameters) protocol.Status {
			n := 400 + g.IntN(200)
			status := protocol.StatusTemporaryFailure
			if n >= 500 {
				status = protocol.StatusReject
			}
			if n == 421 || n == 521 {
				n++ // these close the connection, as they should
			}
			extended := ""
			switch g.IntN(4) {
			case 0:
				extended = g.text(1)
			case 1:
				extended = fmt.Sprintf("%d.%d.%d", n/100, g.IntN(1000), g.IntN(1000))
			}
			text := g.text(8)
			code, call = fmt.Sprint(n), fmt.Sprintf("reply %d %q %q", n, extended, text)
			err := ctx.SetReply(n, extended, text)
			if let = err == nil; !let {
				refused(t, err, call)
				refusals++
				return protocol.StatusContinue
			}
			format = strings.ReplaceAll(ctx.FormatReply(), "\r\n", "\n")
			return status
		})
	})
	c := p.dial(t)
	c.hello()
	c.must("MAIL FROM:<from@client.test>", "250")
	for i := range hostileReplies {
		a := c.command("RCPT TO:<a@test.local>")
		got := string(a)
		if !let {
			if a.code() != "250" {
				t.Errorf("%s was refused; the client's answer is %q", call, a)
			}
		} else if p.mta.name() == "sendmail" {
			got = strings.Replace(got, " <a@test.local>... ", " ", 1)
			if a.code() != code || strings.Count(got, "\n") != strings.Count(format, "\n") {
				t.Errorf("%s: want %q, got %q", call, format, got)
			}
		} else if strings.TrimRight(got, " ") != strings.TrimRight(format, " ") {
			t.Errorf("%s: want %q, got %q", call, format, got)
		}
		if i%100 == 99 {
			c.must("RSET", "250")
			c.must("MAIL FROM:<from@client.test>", "250")
		}
		if t.Failed() {
			return
		}
	}
	c.quit()
	p.milter.idle(t)
	r.clean(t)
	t.Logf("%d of %d replies were refused", refusals, hostileReplies)
}
