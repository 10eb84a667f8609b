package client_test

import (
	stdcontext "context"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// statistics checks what c says of itself.
func statistics(t *testing.T, c *client.Client, want client.Statistics) {
	t.Helper()
	if diff := cmp.Diff(want, c.Statistics()); diff != "" {
		t.Errorf("statistics (-want +got):\n%s", diff)
	}
}

// TestStatistics: what happens to a client is in its own number, and in no other.
func TestStatistics(t *testing.T) {
	panicking := func(*context.ClientContext) { panic("of the test") }
	for _, test := range []struct {
		name  string
		setup func(c *client.Client)
		play  func(t *testing.T, l *fakeListener)
		want  client.Statistics
	}{
		{"nothing", nil, nil, client.Statistics{}},
		{"sessions", nil, func(t *testing.T, l *fakeListener) {
			for i := range 4 {
				m := l.connect()
				m.negotiate(t)
				if i == 0 {
					m.say(quit)
				}
			}
		}, client.Statistics{Sessions: 4, Processing: 3}},
		{"two sessions on a connection", nil, func(t *testing.T, l *fakeListener) {
			m := l.connect()
			m.negotiate(t)
			m.say(quitNewConnection)
		}, client.Statistics{Sessions: 1, Processing: 1}},
		{"HTTP", nil, func(t *testing.T, l *fakeListener) { l.connect().say([]byte("GET / HTTP/1.1\r\n\r\n")) },
			client.Statistics{Sessions: 1, BadPeers: 1}},
		{"HTTP after the negotiation", nil, func(t *testing.T, l *fakeListener) {
			m := l.connect()
			m.negotiate(t)
			m.say([]byte("GET / HTTP/1.1\r\n\r\n"))
		}, client.Statistics{Sessions: 1, ProtocolErrors: 1}},
		{"silence", nil, func(t *testing.T, l *fakeListener) {
			l.connect()
			time.Sleep(time.Minute)
		}, client.Statistics{Sessions: 1, Timeouts: 1}},
		{"a late reply", func(c *client.Client) {
			c.ReplyTimeout = time.Second
			c.OnConnectionEstablished(func(ctx *context.ClientContext) {
				ctx.OnEnvelopeFrom(func(ctx *context.ClientContext, _ string, _ protocol.Parameters) protocol.Status {
					return protocol.StatusProgress
				})
			})
		}, func(t *testing.T, l *fakeListener) {
			m := l.connect()
			m.negotiate(t)
			if r, err := m.send(protocol.EnvelopeFrom{Path: "<>"}); r != protocol.ReplyTemporaryFailure || err != nil {
				t.Errorf("reply %v, %v; want a temporary failure", r, err)
			}
		}, client.Statistics{Sessions: 1, Processing: 1, ReplyTimeouts: 1}},

		{"a panic of a session's handler", func(c *client.Client) {
			c.OnConnectionEstablished(func(ctx *context.ClientContext) { ctx.OnFinished(panicking) })
		}, func(t *testing.T, l *fakeListener) { l.connect().Close() }, client.Statistics{Sessions: 1, Panics: 1}},
		{"panics of OnConnectionEstablished", func(c *client.Client) { c.OnConnectionEstablished(panicking) },
			func(t *testing.T, l *fakeListener) {
				for range 3 { // the log has one of them
					l.connect()
				}
			}, client.Statistics{Sessions: 3, Panics: 3}},
		{"a panic of OnListenStarted", func(c *client.Client) { c.OnListenStarted(func(net.Addr) { panic("of the test") }) },
			nil, client.Statistics{Panics: 1}},
		{"a panic of OnError", func(c *client.Client) { c.OnError(func(error) { panic("of the test") }) },
			func(t *testing.T, l *fakeListener) { l.errs <- syscall.EMFILE }, client.Statistics{Panics: 1}},

		{"refused at the limit", func(c *client.Client) { c.MaxConnections, c.RefuseAtLimit = 1, true },
			func(t *testing.T, l *fakeListener) {
				l.connect().negotiate(t)
				l.connect().refused(t)
				for range 101 { // one more than are being refused at a time
					l.connect()
				}
			}, client.Statistics{Sessions: 1, Processing: 1, Refused: 102}},
		{"waiting at the limit", func(c *client.Client) { c.MaxConnections = 1 },
			func(t *testing.T, l *fakeListener) {
				l.connect().negotiate(t)
				l.offer()
			}, client.Statistics{Sessions: 1, Processing: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, l := newFake(t, "/run/s")
				if test.setup != nil {
					test.setup(c)
				}
				go c.Run()
				synctest.Wait()
				if test.play != nil {
					test.play(t, l[0])
				}
				synctest.Wait()
				statistics(t, c, test.want)
				c.Close()
				synctest.Wait()
				test.want.Processing = 0
				statistics(t, c, test.want)
			})
		})
	}
}

// A connection that comes after the end is neither a session nor refused at a
// limit.
func TestStatisticsAfterTheEnd(t *testing.T) {
	c := client.New()
	c.Close()
	ours, _ := net.Pipe()
	_ = c.ServeConn(ours)
	statistics(t, c, client.Statistics{})
}

// Counters that are given to two clients hold what happens to both, and what
// concerns the connections stays with each.
func TestStatisticsOfGivenCounters(t *testing.T) {
	n := new(context.Counters)
	var clients [2]*client.Client
	for i := range clients {
		c := client.New()
		clients[i] = c
		c.Logger = quiet
		c.Counters = n
		c.OnConnectionEstablished(func(ctx *context.ClientContext) {
			if ctx.ID() == 2 {
				panic("of the test")
			}
			ctx.OnHelo(func(ctx *context.ClientContext, _ string) protocol.Status {
				return ctx.Later(func(stdcontext.Context) protocol.Status { panic("of the test") })
			})
		})
		for range 2 {
			ours, theirs := net.Pipe()
			m := &mta{Conn: theirs}
			go func() {
				m.say(offer, protocol.Helo{Name: "x"}.Append(nil))
			}()
			go m.drain()
			_ = c.ServeConn(ours)
		}
	}
	for _, c := range clients {
		statistics(t, c, client.Statistics{Sessions: 2, Panics: 4})
	}
	if got := n.Panics.Load(); got != 4 {
		t.Errorf("%d panics in the counters that were given, want 4", got)
	}
}
