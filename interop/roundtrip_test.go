//go:build interop

package interop_test

import (
	"fmt"
	"hash/crc32"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// A listener notes everything that a milter gets of a session before the ends of
// its mails.
type listener struct{ *record }

func (l listener) note(format string, args ...any) { l.add(fmt.Sprintf(format, args...)) }

func (l listener) connect(host string, addr net.Addr) {
	tcp, _ := addr.(*net.TCPAddr)
	l.note("connect %s %v", host, tcp.IP) // the port is another one each time
}
func (l listener) helo(name string)    { l.note("helo %s", name) }
func (l listener) unknown(line string) { l.note("unknown %s", line) }
func (l listener) from(ctx *context.ClientContext, path string, p protocol.Parameters) {
	l.note("from %s %q, macro %s", path, p, ctx.Macro("mail_addr"))
}
func (l listener) to(ctx *context.ClientContext, path string, p protocol.Parameters) {
	l.note("to %s %q, macro %s", path, p, ctx.Macro("rcpt_addr"))
}
func (l listener) data()                     { l.note("data") }
func (l listener) header(name, value string) { l.note("header %q %q", name, value) }
func (l listener) endOfHeader()              { l.note("end of header") }
func (l listener) body(chunk []byte)         { l.note("body %d %x", len(chunk), crc32.ChecksumIEEE(chunk)) }

// decide registers handlers that could decide at each event, and never do.
func (l listener) decide(ctx *context.ClientContext) {
	const pass = protocol.StatusContinue
	ctx.OnConnect(func(_ *context.ClientContext, host string, addr net.Addr) protocol.Status {
		l.connect(host, addr)
		return pass
	})
	ctx.OnHelo(func(_ *context.ClientContext, name string) protocol.Status { l.helo(name); return pass })
	ctx.OnUnknown(func(_ *context.ClientContext, line string) protocol.Status { l.unknown(line); return pass })
	ctx.OnEnvelopeFrom(func(ctx *context.ClientContext, path string, p protocol.Parameters) protocol.Status {
		l.from(ctx, path, p)
		return pass
	})
	ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, path string, p protocol.Parameters) protocol.Status {
		l.to(ctx, path, p)
		return pass
	})
	ctx.OnData(func(*context.ClientContext) protocol.Status { l.data(); return pass })
	ctx.OnHeader(func(_ *context.ClientContext, name, value string) protocol.Status { l.header(name, value); return pass })
	ctx.OnEndOfHeader(func(*context.ClientContext) protocol.Status { l.endOfHeader(); return pass })
	ctx.OnBody(func(_ *context.ClientContext, chunk []byte) protocol.Status { l.body(chunk); return pass })
}

// watch registers handlers that only look.
func (l listener) watch(ctx *context.ClientContext) {
	ctx.WatchConnect(func(_ *context.ClientContext, host string, addr net.Addr) { l.connect(host, addr) })
	ctx.WatchHelo(func(_ *context.ClientContext, name string) { l.helo(name) })
	ctx.WatchUnknown(func(_ *context.ClientContext, line string) { l.unknown(line) })
	ctx.WatchEnvelopeFrom(l.from)
	ctx.WatchEnvelopeRecipient(l.to)
	ctx.WatchData(func(*context.ClientContext) { l.data() })
	ctx.WatchHeader(func(_ *context.ClientContext, name, value string) { l.header(name, value) })
	ctx.WatchEndOfHeader(func(*context.ClientContext) { l.endOfHeader() })
	ctx.WatchBody(func(_ *context.ClientContext, chunk []byte) { l.body(chunk) })
}

// tripsMail has 21 fields and two chunks of body.
var tripsMail = strings.Repeat("X-Trace: a field\n", 12) + "X-Folded: one\n\ttwo\n" +
	strings.Replace(sample, "X-Dup: two\n", "", 1) + strings.Repeat("a line of thirty-two characters\n", 3000)

// testRoundTrips compares a filter of whole mails that watches with one that could
// decide at each event: the handlers get the same, the client's answers and the
// mails are the same, and only the number of replies is another.
func testRoundTrips(t *testing.T, p *port) {
	ends := map[string]func(ctx *context.ClientContext) protocol.Status{
		"continue": func(*context.ClientContext) protocol.Status { return protocol.StatusContinue },
		"accept":   func(*context.ClientContext) protocol.Status { return protocol.StatusAccept },
		"reject":   rejecting(550, "5.7.9", "not this one"),
		"changes": func(ctx *context.ClientContext) protocol.Status {
			return ctx.Check(ctx.AddHeader("X-New", "1"), ctx.ReplaceBody([]byte("new\r\n")))
		},
	}
	for name, end := range ends {
		p.judge.run(t, "round trips, "+name, func(t *testing.T) {
			behind, between := p.proxied(t)
			decided := playTrips(t, behind, between, listener.decide, end)
			watched := playTrips(t, behind, between, listener.watch, end)
			if diff := cmp.Diff(decided.seen, watched.seen); diff != "" {
				t.Errorf("the handlers see something else when they watch (-decide +watch):\n%s", diff)
			}
			if diff := cmp.Diff(decided.outcome, watched.outcome); diff != "" {
				t.Errorf("the client and the mails (-decide +watch):\n%s", diff)
			}
			for i := range decided.mails {
				d, w := decided.mails[i], watched.mails[i]
				// M, two R, T, 21 L, N, two B and E.
				if d.commands != 29 || d.replies != d.commands {
					t.Errorf("mail %d: %d commands, %d replies by handlers that decide; want 29 of each", i+1, d.commands, d.replies)
				}
				if w.commands != d.commands || w.replies != 1 {
					t.Errorf("mail %d: %d commands, %d replies by handlers that watch; want 1 reply to %d", i+1, w.commands, w.replies, d.commands)
				}
				if name == "continue" && i == 0 {
					t.Logf("%s: a mail has %d commands, %d bytes from the MTA; replies: %d, %d bytes; of watchers %d, %d bytes",
						p.mta.name(), d.commands, d.from, d.replies, d.to, w.replies, w.to)
				}
			}
		})
	}
}

// trips is what came of a session.
type trips struct {
	seen    []string // by the handlers
	outcome []string // answers to the client, and the mails
	mails   []tripCount
}

// A tripCount is what goes over the connection of a milter from one MAIL to the
// verdict on the mail, without macros and changes, which have no replies and are
// none; the bytes are those of all.
type tripCount struct{ commands, replies, from, to int }

func playTrips(t *testing.T, p *port, between *proxy, listen func(listener, *context.ClientContext), end func(*context.ClientContext) protocol.Status) trips {
	t.Helper()
	between.use(p.milter.spec)
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		listen(listener{r}, ctx)
		ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
			r.add("end of message")
			return end(ctx)
		})
	})
	var out trips
	c := p.dial(t)
	c.hello()
	c.must("XFOO", "500")
	for range 2 {
		c.must("MAIL FROM:<from@client.test> BODY=8BITMIME", "250")
		c.must("RCPT TO:<a@test.local> NOTIFY=FAILURE", "250")
		c.must("RCPT TO:<b@test.local>", "250")
		c.must("DATA", "354")
		a := c.content(tripsMail)
		if id := a.queueID(); id != "" {
			d := p.sink.wait(t, id)
			out.outcome = append(out.outcome, d.envelope(), normal(t, d))
		} else {
			out.outcome = append(out.outcome, string(a))
		}
	}
	c.quit()
	p.milter.idle(t)
	r.clean(t)
	for _, result := range r.messages() {
		out.outcome = append(out.outcome, result.Status.String())
	}
	r.mu.Lock()
	out.seen = slices.Clone(r.words)
	r.mu.Unlock()
	connections := between.recorded(t)
	if len(connections) != 1 {
		t.Fatalf("%d connections to the milter", len(connections))
	}
	out.mails = countTrips(connections[0])
	if len(out.mails) != 2 {
		t.Fatalf("%d mails on the connection", len(out.mails))
	}
	return out
}

func countTrips(packets []flowPacket) (mails []tripCount) {
	var now *tripCount // the mail that is under way
	for _, packet := range packets {
		if packet.toMilter && packet.letter == byte(protocol.CommandEnvelopeFrom) {
			mails = append(mails, tripCount{})
			now = &mails[len(mails)-1]
		}
		switch size := len(packet.wire()); {
		case now == nil:
		case packet.toMilter && (packet.letter == byte(protocol.CommandAbort) || packet.letter == byte(protocol.CommandQuit)):
			now = nil // Postfix sends an abort after each mail
		case packet.toMilter:
			now.from += size
			if packet.letter != byte(protocol.CommandDefineMacro) {
				now.commands++
			}
		default:
			now.to += size
			switch protocol.Reply(packet.letter) {
			case protocol.ReplyContinue, protocol.ReplyAccept, protocol.ReplyReject, protocol.ReplyTemporaryFailure, protocol.ReplyDiscard, protocol.ReplyReplyCode, protocol.ReplySkip:
				now.replies++
			}
		}
	}
	return mails
}

func countPackets(packets []flowPacket, toMilter bool, letter byte) (n int) {
	for _, packet := range packets {
		if packet.toMilter == toMilter && packet.letter == letter {
			n++
		}
	}
	return n
}

// testEnough lets two handlers have enough of a body at different chunks: the MTA
// is told so when the second has, and sends no more, unless somebody watches.
func testEnough(t *testing.T, p *port) {
	body := strings.Repeat("sixty-three bytes and a line feed make sixty-four of them here.\n", 400<<10/64)
	for _, tt := range []struct {
		name          string
		first, second int // chunks that are enough
		watched       bool
		want          int // chunks sent; 0 for all
	}{
		{name: "the first one sooner", first: 1, second: 3, want: 3},
		{name: "the second one sooner", first: 4, second: 2, want: 4},
		{name: "at the same time", first: 2, second: 2, want: 2},
		{name: "one never", first: 2, second: 100},
		{name: "watched", first: 1, second: 3, watched: true},
	} {
		p.judge.run(t, "enough of a body, "+tt.name, func(t *testing.T) {
			behind, between := p.proxied(t)
			var total int
			r := behind.milter.only(t, func(ctx *context.ClientContext, r *record) {
				taking := func(word string, enough int) {
					n := 0
					ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status {
						r.add(word)
						if n++; n == enough {
							return protocol.StatusSkip
						}
						return protocol.StatusContinue
					})
				}
				taking("first", tt.first)
				if tt.watched {
					ctx.WatchBody(func(_ *context.ClientContext, chunk []byte) { r.add("watch"); total += len(chunk) })
				}
				taking("second", tt.second)
			})
			c := behind.dial(t)
			c.hello()
			id := c.send("<from@client.test>", sample+body, "<a@test.local>")
			c.quit()
			if want, got := received+sample+body, normal(t, p.sink.wait(t, id)); got != want {
				t.Errorf("mail:\n%s", firstDifference(want, got))
			}
			behind.milter.idle(t)
			r.clean(t)
			packets := between.recorded(t)[0]
			chunks, skips := countPackets(packets, true, byte(protocol.CommandBody)), countPackets(packets, false, byte(protocol.ReplySkip))
			all := (len(sample+body) + 65534) / 65535 // more, were it not for the header and CRLF
			want := tt.want
			if want == 0 {
				if want = chunks; chunks < all {
					t.Errorf("the MTA sends %d chunks, want all, %d at least", chunks, all)
				}
			}
			if wantSkips := min(tt.want, 1); chunks != want || skips != wantSkips {
				t.Errorf("the MTA sends %d chunks, the milter %d skips; want %d and %d", chunks, skips, want, wantSkips)
			}
			for word, n := range map[string]int{"first": min(tt.first, chunks), "second": min(tt.second, chunks)} {
				if got := r.count(word); got != n {
					t.Errorf("the %s handler gets %d chunks, want %d", word, got, n)
				}
			}
			_, crlf, _ := strings.Cut(strings.ReplaceAll(sample+body, "\n", "\r\n"), "\r\n\r\n")
			if tt.watched && (r.count("watch") != chunks || total != len(crlf)) {
				t.Errorf("the watcher gets %d chunks, %d bytes; want %d, %d", r.count("watch"), total, chunks, len(crlf))
			}
		})
	}
}
