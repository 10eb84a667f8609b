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

// A model is what a mail should have become. It begins as the sample mail.
type model struct {
	header []string // 0 is the MTA's Received; 6, 8 and 9 are the three X-Dup
	body   string
	from   string
	to     []string
}

func newModel() *model {
	header, body, _ := strings.Cut(received+sample, "\n\n")
	return &model{strings.Split(header, "\n"), body, "<from@client.test>", []string{"<a@test.local>", "<b@test.local>"}}
}

func (m *model) insert(i int, lines ...string) { m.header = slices.Insert(m.header, i, lines...) }
func (m *model) add(lines ...string)           { m.header = append(m.header, lines...) }

// drop removes header fields; each index counts before any is removed.
func (m *model) drop(indexes ...int) {
	slices.Sort(indexes)
	for _, i := range slices.Backward(indexes) {
		m.header = slices.Delete(m.header, i, i+1)
	}
}

func (m *model) mail() string { return strings.Join(m.header, "\n") + "\n\n" + m.body }

func (m *model) envelope() string {
	slices.Sort(m.to)
	return "from " + m.from + "\nto " + strings.Join(m.to, "\nto ")
}

// A change is what a milter does at the end of a message, and what becomes of it.
type change struct {
	name string
	do   func(ctx *context.ClientContext) error
	want func(m *model)
	// Sendmail's result where it is another one; else nil.
	sendmail func(m *model)
	lost     bool // nothing is delivered
	held     bool // it is delivered after a release from quarantine
}

func doing(steps ...func(ctx *context.ClientContext) error) func(ctx *context.ClientContext) error {
	return func(ctx *context.ClientContext) error {
		for _, step := range steps {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

type step = func(ctx *context.ClientContext) error

func addHeader(name, value string) step {
	return func(ctx *context.ClientContext) error { return ctx.AddHeader(name, value) }
}

func insertHeader(index int, name, value string) step {
	return func(ctx *context.ClientContext) error { return ctx.InsertHeader(index, name, value) }
}

func changeHeader(name string, index int, value string) step {
	return func(ctx *context.ClientContext) error { return ctx.ChangeHeader(name, index, value) }
}

func deleteHeader(name string, index int) step {
	return func(ctx *context.ClientContext) error { return ctx.DeleteHeader(name, index) }
}

func replaceBody(parts ...string) step {
	return func(ctx *context.ClientContext) error {
		for _, part := range parts {
			if err := ctx.ReplaceBody([]byte(part)); err != nil {
				return err
			}
		}
		return nil
	}
}

func changeFrom(from, parameters string) step {
	return func(ctx *context.ClientContext) error { return ctx.ChangeFrom(from, parameters) }
}

func addRecipient(to, parameters string) step {
	return func(ctx *context.ClientContext) error { return ctx.AddRecipient(to, parameters) }
}

func deleteRecipient(to string) step {
	return func(ctx *context.ClientContext) error { return ctx.DeleteRecipient(to) }
}

func quarantine(reason string) step {
	return func(ctx *context.ClientContext) error { return ctx.Quarantine(reason) }
}

func progress(ctx *context.ClientContext) error { return ctx.Progress() }

// testChanges plays every change twice: the changes leaving together with the
// reply, and each at once.
func testChanges(t *testing.T, p *port) {
	for _, size := range []int{context.DefaultPacketBufferSize, 0} {
		t.Run(fmt.Sprintf("buffer=%d", size), func(t *testing.T) {
			p.milter.with(t, func(c *client.Client) { c.PacketBufferSize = size })
			for _, c := range slices.Concat(headerChanges, bodyChanges, envelopeChanges) {
				p.judge.run(t, c.name, func(t *testing.T) { testChange(t, p, c) })
			}
		})
	}
}

func testChange(t *testing.T, p *port, c change) {
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
			if err := c.do(ctx); err != nil {
				r.fault(err)
			}
			return protocol.StatusContinue
		})
	})
	client := p.dial(t)
	client.hello()
	id := client.send("<from@client.test>", sample, "<a@test.local>", "<b@test.local>")
	client.quit()
	p.milter.idle(t)
	r.clean(t)
	want, got := delivered, p.fate(t, id)
	switch {
	case c.lost:
		want = discarded
	case c.held:
		want = inQuarantine
	}
	if got != want {
		t.Fatalf("the mail: want %v, got %v", want, got)
	}
	if c.lost {
		return
	}
	if c.held {
		p.mta.release(t, id)
	}
	m := newModel()
	if c.sendmail != nil && p.mta.name() == "sendmail" {
		c.sendmail(m)
	} else {
		c.want(m)
	}
	d := p.sink.wait(t, id)
	if want, got := m.envelope(), d.envelope(); got != want {
		t.Errorf("envelope:\nwant %q\ngot  %q", want, got)
	}
	if want, got := m.mail(), normal(t, d); got != want {
		t.Errorf("mail:\n%s", firstDifference(want, got))
	}
}

// firstDifference shows where two texts part.
func firstDifference(want, got string) string {
	i := 0
	for i < len(want) && i < len(got) && want[i] == got[i] {
		i++
	}
	from := max(0, strings.LastIndexByte(want[:i], '\n'))
	cut := func(s string) string { return shorten(s[min(from, len(s)):]) }
	return fmt.Sprintf("from byte %d, lengths %d and %d\nwant %q\ngot  %q", from, len(want), len(got), cut(want), cut(got))
}
