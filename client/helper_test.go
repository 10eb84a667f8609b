package client_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// patience is how long a test waits for what should be a matter of microseconds.
const patience = 10 * time.Second

// quiet logs nothing.
var quiet = slog.New(slog.DiscardHandler)

// newClient returns a client that listens on a free port of 127.0.0.1 and logs to
// the test.
func newClient(t *testing.T) *client.Client {
	t.Helper()
	c := client.New()
	c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	if err := c.SetConnectionSpec("inet:0@127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	return c
}

// listen lets c listen, and closes it at the end of the test.
func listen(t *testing.T, c *client.Client) net.Addr {
	t.Helper()
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.Addrs()[0]
}

// goRun lets c run. The channel gets what Run returns.
func goRun(c *client.Client) <-chan error {
	done := make(chan error, 1)
	go func() { done <- c.Run() }()
	return done
}

// run lets c listen and run. The function it returns waits for the end of Run.
func run(t *testing.T, c *client.Client) (wait func() error) {
	t.Helper()
	listen(t, c)
	done := goRun(c)
	wait = sync.OnceValue(func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return errors.New("Run has not returned")
		}
	})
	t.Cleanup(func() {
		c.Close()
		if err := wait(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return wait
}

// An mta is the MTA's end of a connection.
type mta struct {
	net.Conn
	buffer protocol.Buffer
}

func dial(t *testing.T, addr net.Addr) *mta {
	t.Helper()
	conn, err := net.DialTimeout(addr.Network(), addr.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &mta{Conn: conn}
}

// send writes a command and returns the letter of the reply. The reply to a
// command without one is 0.
func (m *mta) send(command interface{ Append([]byte) []byte }) (protocol.Reply, error) {
	if _, err := m.Write(command.Append(nil)); err != nil {
		return 0, err
	}
	switch command {
	case protocol.Bare(protocol.CommandAbort), protocol.Bare(protocol.CommandQuit), protocol.Bare(protocol.CommandQuitNewConnection):
		return 0, nil
	}
	p, err := m.buffer.ReadPacket(m)
	return protocol.Reply(p.Letter), err
}

func (m *mta) negotiate(t *testing.T) {
	t.Helper()
	if r, err := m.send(protocol.Negotiate{Option: option.All()}); r != protocol.ReplyNegotiate || err != nil {
		t.Fatalf("reply to negotiate is %v, %v", r, err)
	}
}

// mail begins a mail transaction; the client has to have a handler for it.
func (m *mta) mail(t *testing.T) {
	t.Helper()
	if r, err := m.send(protocol.EnvelopeFrom{Path: "<a@example.com>"}); r != protocol.ReplyContinue || err != nil {
		t.Fatalf("reply to envelope-from is %v, %v", r, err)
	}
}

func (m *mta) endOfMessage(t *testing.T) {
	t.Helper()
	if r, err := m.send(protocol.EndOfMessage{}); r != protocol.ReplyContinue || err != nil {
		t.Fatalf("reply to end-of-message is %v, %v", r, err)
	}
}

// hungUp waits until the milter closes the connection.
func (m *mta) hungUp(t *testing.T) {
	t.Helper()
	if p, err := m.buffer.ReadPacket(m); !errors.Is(err, io.EOF) {
		t.Fatalf("got packet %q, error %v; want the connection closed", p.Letter, err)
	}
}

// Some packets of an MTA.
var (
	offer             = protocol.Negotiate{Option: option.All()}.Append(nil)
	endOfMessage      = protocol.EndOfMessage{}.Append(nil)
	quit              = protocol.Bare(protocol.CommandQuit).Append(nil)
	quitNewConnection = protocol.Bare(protocol.CommandQuitNewConnection).Append(nil)
)

func from(path string) []byte { return protocol.EnvelopeFrom{Path: path}.Append(nil) }

// say writes packets, which may fail: the client may refuse them.
func (m *mta) say(packets ...[]byte) { _, _ = m.Write(slices.Concat(packets...)) }

// drain waits for the end of the connection.
func (m *mta) drain() { _, _ = io.Copy(io.Discard, m) }

func proceed(*context.ClientContext, string, protocol.Parameters) protocol.Status {
	return protocol.StatusContinue
}

// takeMail registers handlers that let every mail pass.
func takeMail(ctx *context.ClientContext) {
	ctx.OnEnvelopeFrom(proceed)
	ctx.OnEndOfMessage(func(*context.ClientContext, []byte) protocol.Status { return protocol.StatusContinue })
}

// eventually waits for a condition that nobody tells us of.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
