package client_test

import (
	stdcontext "context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// descriptors returns how many this process has.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// shortSessions are all endings that a session may have, from the MTA's side. It
// closes the connection after each.
var shortSessions = []struct {
	name string
	play func(m *mta)
}{
	{"nothing", func(m *mta) {}},
	{"a part of a packet", func(m *mta) { m.say(offer[:7]) }},
	{"bad length", func(m *mta) { m.say([]byte{0, 0, 0, 0, 0}) }},
	{"HTTP", func(m *mta) { m.say([]byte("GET / HTTP/1.0\r\n\r\n")) }},
	{"hang-up after the offer", func(m *mta) { m.say(offer) }},
	{"quit", func(m *mta) { m.say(offer, quit) }},
	{"quit, and wait for the end", func(m *mta) { m.say(offer, quit); m.drain() }},
	{"hang-up in a mail", func(m *mta) { m.say(offer, from("<a@example.com>")) }},
	{"hang-up while a late answer is due", func(m *mta) { m.say(offer, from("<late@example.com>"), endOfMessage) }},
	{"a handler panics", func(m *mta) { m.say(offer, from("<panic@example.com>")); m.drain() }},
	{"a mail", func(m *mta) { m.say(offer, from("<a@example.com>"), endOfMessage, quit); m.drain() }},
	{"two sessions on a connection", func(m *mta) { m.say(offer, quitNewConnection, quit); m.drain() }},
	{"reset in a mail", func(m *mta) {
		if tcp, ok := m.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		m.say(offer, from("<a@example.com>"))
	}},
}

// After 100000 short sessions of all endings, some of them refused, the process has
// as many descriptors as before. A quarter of them will do with -race, a tenth with
// -short.
func TestDescriptorsAreClosed(t *testing.T) {
	sessions := 100000
	switch {
	case testing.Short():
		sessions /= 10
	case raceDetector:
		sessions /= 4
	}
	t.Logf("%d sessions", sessions)
	for _, refuse := range []bool{false, true} {
		t.Run(fmt.Sprintf("refuse=%v", refuse), func(t *testing.T) {
			before := descriptors(t)
			c := client.New()
			c.Logger = quiet
			c.MaxConnections, c.RefuseAtLimit = 6, refuse
			path := filepath.Join(t.TempDir(), "s")
			for _, spec := range []string{"unix:" + path, "inet:0@127.0.0.1"} {
				if err := c.AddConnectionSpec(spec); err != nil {
					t.Fatal(err)
				}
			}
			c.OnConnectionEstablished(func(ctx *context.ClientContext) {
				if ctx.ID()%16 == 0 {
					panic("of the test")
				}
				path := ""
				ctx.OnError(func(*context.ClientContext, error) {})
				ctx.OnEnvelopeFrom(func(_ *context.ClientContext, from string, _ protocol.Parameters) protocol.Status {
					if path = from; path == "<panic@example.com>" {
						panic("of the test")
					}
					return protocol.StatusContinue
				})
				ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
					if path != "<late@example.com>" {
						return protocol.StatusContinue
					}
					return ctx.Later(func(mail stdcontext.Context) protocol.Status {
						<-mail.Done()
						return protocol.StatusContinue
					})
				})
			})
			run(t, c)
			addrs := c.Addrs()
			var group sync.WaitGroup
			const workers = 8
			for w := range workers {
				group.Go(func() {
					for i := range sessions / 2 / workers {
						s := shortSessions[(i+w)%len(shortSessions)]
						addr := addrs[0]
						if i/len(shortSessions)%10 == 0 { // not more: closed ports are in use for a minute
							addr = addrs[1]
						}
						conn, err := net.Dial(addr.Network(), addr.String())
						if err != nil {
							t.Errorf("%s: %v", s.name, err)
							return
						}
						_ = conn.SetDeadline(time.Now().Add(patience))
						s.play(&mta{Conn: conn})
						conn.Close()
					}
				})
			}
			group.Wait()
			c.Close()
			if err := c.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			eventually(t, "all descriptors are closed", func() bool { return descriptors(t) <= before })
		})
	}
}
