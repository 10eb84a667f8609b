//go:build interop

package interop_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// testLocal submits mail without SMTP over a socket.
func testLocal(t *testing.T, p *port) {
	submit := func(t *testing.T, from, to string) (delivery, []string) {
		t.Helper()
		var client string
		var seen []string
		r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
			r.all(ctx)
			ctx.OnConnect(func(_ *context.ClientContext, host string, addr net.Addr) protocol.Status {
				client = fmt.Sprint(host, " ", addr)
				return protocol.StatusContinue
			})
			at(ctx, "end-of-message", func(ctx *context.ClientContext) protocol.Status {
				result := ctx.MessageResult()
				seen = append([]string{result.From}, result.Recipients...)
				r.add("id=" + ctx.Macro("i"))
				if err := ctx.AddHeader("X-Seen", "yes"); err != nil {
					r.fault(err)
				}
				return protocol.StatusContinue
			})
		})
		said := p.mta.submit(t, from, sample, to)
		eventually(t, "the milter sees the mail", func() bool { return r.count("F") > 0 })
		p.milter.idle(t)
		id := ""
		for _, word := range strings.Fields(r.String()) {
			if v, ok := strings.CutPrefix(word, "id="); ok {
				id = v
			}
		}
		if id == "" {
			t.Fatalf("no end of message, no queue id; events %s; the MTA said: %s", r, said)
		}
		r.saw(t, "C H M R T L N B E id="+id+" F")
		r.clean(t)
		want := "localhost 127.0.0.1:0"
		if p.mta.name() == "sendmail" {
			want = "localhost <nil>"
		}
		if client != want {
			t.Errorf("the client: want %s, got %s", want, client)
		}
		return p.sink.wait(t, id), seen
	}
	for _, from := range []string{"<from@client.test>", "<>"} {
		p.judge.run(t, "from "+from, func(t *testing.T) {
			typed, to := from, "<a@test.local>"
			want := []string{from, to}
			if p.mta.name() == "postfix" { // its sendmail command takes bare addresses, and passes them on so
				typed, to = strings.Trim(from, "<>"), strings.Trim(to, "<>")
				want = []string{typed, to}
			}
			d, seen := submit(t, typed, to)
			if !slices.Equal(seen, want) {
				t.Errorf("the milter's envelope: want %q, got %q", want, seen)
			}
			if want, got := "from "+from+"\nto <a@test.local>", d.envelope(); got != want {
				t.Errorf("envelope: want %q, got %q", want, got)
			}
			if got := d.data; !strings.Contains(got, "\r\nX-Seen: yes\r\n") {
				t.Errorf("the header was not added:\n%s", got)
			}
		})
	}
}
