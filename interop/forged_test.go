//go:build interop

package interop_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

const results = "Authentication-Results"

// claims returns a match of DeleteHeaders: the results that claim to come from a
// host.
func claims(host string) func(value string) bool {
	return func(value string) bool {
		name, _, _ := strings.Cut(value, ";")
		return strings.EqualFold(strings.TrimSpace(name), host)
	}
}

// isForged reports whether match deletes a field, as it stands in a mail.
func isForged(field string, match func(value string) bool) bool {
	name, value, _ := strings.Cut(field, ":")
	return strings.EqualFold(name, results) && match(strings.TrimPrefix(value, " "))
}

// forgedMail returns fields with those that make them a mail, and a body.
func forgedMail(fields []string) (header []string, body string) {
	header = append(header, fields[:len(fields)/2]...)
	header = append(header, "From: sender <from@client.test>", "To: a@test.local", "Date: Mon, 01 Jan 2024 00:00:00 +0000", "Message-ID: <forged@client.test>")
	return append(header, fields[len(fields)/2:]...), results + ": mx.test.local; a line of the body\n"
}

// forgedFields are what the mails of testForged have, by random choice.
var forgedFields = []string{
	results + ": mx.test.local; spf=pass",
	results + ": mx.test.local; dkim=pass",
	"authentication-results: MX.Test.Local; spf=pass",
	"AUTHENTICATION-RESULTS: mx.test.local",
	results + ":mx.test.local; none",
	results + ":  mx.test.local ; none",
	results + ": mx.test.local;\n\tspf=pass smtp.mailfrom=from@client.test;\n dkim=pass",
	"Authentication-results:\n\tmx.test.local;\n\tspf=pass",
	results + ": other.test; spf=pass",
	"authentication-RESULTS: other.test;\n\tspf=pass (mx.test.local; not really)",
	results + ": amx.test.local; spf=pass",
	results + "-Original: mx.test.local; spf=pass",
	"X-" + results + ": mx.test.local; spf=pass",
	"Subject: mx.test.local; spf=pass",
}

// testForged deletes fields that a sender has forged, from mails that have some of
// them at several places, and puts one at the top as a milter does that has the
// name for its own results.
func testForged(t *testing.T, p *port) {
	f := forgedFields
	mails := []struct {
		name   string
		fields []string
	}{
		{"none", []string{f[8], f[11], f[12]}},
		{"only one", []string{f[0]}},
		{"the first of two", []string{f[0], f[8]}},
		{"the last of two", []string{f[8], f[0]}},
		{"equal ones", []string{f[0], f[0], f[8], f[0], f[0]}},
		{"in all cases and forms", []string{f[2], f[3], f[8], f[4], f[9], f[5]}},
		{"folded", []string{f[6], f[9], f[7], f[8]}},
	}
	random := rand.New(rand.NewPCG(*seed, 0))
	for i := range 12 {
		var fields []string
		for range 1 + random.IntN(8) {
			fields = append(fields, f[random.IntN(len(f))])
		}
		mails = append(mails, struct {
			name   string
			fields []string
		}{fmt.Sprintf("random %d", i+1), fields})
	}
	for _, mail := range mails {
		p.judge.run(t, "forged, "+mail.name, func(t *testing.T) {
			forged := claims("mx.test.local")
			header, body := forgedMail(mail.fields)
			var deleted int
			r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
				ctx.WatchHeader(func(*context.ClientContext, string, string) {})
				ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
					n, err := ctx.DeleteHeaders(results, forged)
					deleted = n
					return ctx.Check(err, ctx.InsertHeader(0, results, "mx.test.local; spf=none"))
				})
			})
			c := p.dial(t)
			c.hello()
			id := c.send("<from@client.test>", strings.Join(header, "\n")+"\n\n"+body, "<a@test.local>")
			c.quit()
			p.milter.idle(t)
			r.clean(t)
			honest := slices.DeleteFunc(slices.Clone(header), func(field string) bool { return isForged(field, forged) })
			if want := len(header) - len(honest); deleted != want {
				t.Errorf("%d deleted, want %d", deleted, want)
			}
			want := results + ": mx.test.local; spf=none\n" + received + strings.Join(honest, "\n") + "\n\n" + body
			same(t, "mail", want, normal(t, p.sink.wait(t, id)))
		})
	}
}

// testForgedChain lets two milters delete fields of the same name: the first those
// that claim to come from a.test, in whose place it may put one of its own, the
// second those from b.test.
func testForgedChain(t *testing.T, first, second *port) {
	field := func(host string) string { return results + ": " + host + ".test; spf=pass" }
	const own = results + ": a.test; spf=none"
	for _, tt := range []struct {
		hosts string // of the fields, by their first letters
		own   bool
	}{
		{hosts: "ab"}, {hosts: "ba"}, {hosts: "abab"}, {hosts: "bbaab"}, {hosts: "caba"}, {hosts: "aabbc"}, {hosts: "abcab"},
		{"ab", true}, {"ba", true}, {"abab", true}, {"cabab", true}, {"b", true},
	} {
		first.judge.run(t, fmt.Sprintf("forged, two milters, %s, own %t", tt.hosts, tt.own), func(t *testing.T) {
			var fields []string
			for _, host := range tt.hosts {
				fields = append(fields, field(string(host)))
			}
			header, body := forgedMail(fields)
			var seen []string
			r1 := first.milter.only(t, func(ctx *context.ClientContext, r *record) {
				ctx.WatchHeader(func(*context.ClientContext, string, string) {})
				ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
					_, err := ctx.DeleteHeaders(results, claims("a.test"))
					if tt.own && err == nil {
						err = ctx.InsertHeader(0, results, "a.test; spf=none")
					}
					return ctx.Check(err)
				})
			})
			r2 := second.milter.only(t, func(ctx *context.ClientContext, r *record) {
				ctx.WatchHeader(func(_ *context.ClientContext, name, value string) { seen = append(seen, name+": "+value) })
				ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
					_, err := ctx.DeleteHeaders(results, claims("b.test"))
					return ctx.Check(err)
				})
			})
			c := first.dial(t)
			c.hello()
			id := c.send("<from@client.test>", strings.Join(header, "\n")+"\n\n"+body, "<a@test.local>")
			c.quit()
			first.milter.idle(t)
			second.milter.idle(t)
			r1.clean(t)
			r2.clean(t)
			without := func(host string) { header = slices.DeleteFunc(header, func(f string) bool { return f == field(host) }) }
			without("a")
			var top []string
			if tt.own {
				top = []string{own}
			}
			sameLines(t, "the fields that the second milter sees", slices.Concat(top, header), seen)
			without("b")
			lines := slices.Concat(top, []string{strings.TrimSuffix(received, "\n")}, header)
			same(t, "mail", strings.Join(lines, "\n")+"\n\n"+body, normal(t, first.sink.wait(t, id)))
		})
	}
}
