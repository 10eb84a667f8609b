package client_test

import (
	"bytes"
	stdcontext "context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

func TestDefaults(t *testing.T) {
	c := client.New()
	want := &client.Client{
		Config:                   context.DefaultConfig(),
		ListenBacklog:            -1,
		UnixSocketMode:           0o660,
		RemoveUnixSocketOnCreate: true,
		RemoveUnixSocketOnClose:  true,
	}
	exported := cmp.FilterPath(func(p cmp.Path) bool {
		field, ok := p.Last().(cmp.StructField)
		return ok && strings.ToLower(field.Name()[:1]) == field.Name()[:1]
	}, cmp.Ignore())
	if diff := cmp.Diff(want, c, exported); diff != "" {
		t.Errorf("New() (-want +got):\n%s", diff)
	}
}

func TestConnectionSpec(t *testing.T) {
	c := client.New()
	check := func(when, want string) {
		t.Helper()
		if got := c.ConnectionSpec(); got != want {
			t.Errorf("%s: ConnectionSpec() = %q, want %q", when, got, want)
		}
	}
	check("after New", "")
	path := "local:" + filepath.Join(t.TempDir(), "s")
	if err := c.SetConnectionSpec(path); err != nil {
		t.Fatal(err)
	}
	check("after Set", path)
	if err := c.SetConnectionSpec("tcp:1"); err == nil {
		t.Error("SetConnectionSpec of a bad spec: no error")
	}
	check("after a bad Set", path)
	if err := c.AddConnectionSpec("tcp:1"); err == nil {
		t.Error("AddConnectionSpec of a bad spec: no error")
	}
	if err := c.AddConnectionSpec("inet:0@127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	check("after Add", path)
	if err := c.SetConnectionSpec("inet:0@127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	listen(t, c)
	if n := len(c.Addrs()); n != 1 {
		t.Errorf("%d sockets; SetConnectionSpec should have replaced the two specs", n)
	}
	for _, err := range []error{c.SetConnectionSpec("inet:1"), c.SetConnectionSpec(""), c.AddConnectionSpec("inet:1")} {
		if !errors.Is(err, client.ErrRunning) {
			t.Errorf("changing the spec of a client that listens: %v, want ErrRunning", err)
		}
	}
	check("after Listen", "inet:0@127.0.0.1")

	c = client.New()
	if err := errors.Join(c.SetConnectionSpec("inet:1"), c.SetConnectionSpec("")); err != nil {
		t.Fatal(err)
	}
	check("after the empty spec", "")
}

func TestSession(t *testing.T) {
	c := newClient(t)
	type seen struct {
		ID         uint64
		Address    string
		Sessions   int
		SameClient bool
		Value      any
	}
	type key struct{}
	c.Parent = stdcontext.WithValue(t.Context(), key{}, "of the parent")
	established, finished := make(chan seen, 1), make(chan int, 1)
	var order []int
	c.OnConnectionEstablished(func(*context.ClientContext) { order = append(order, 1) })
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		order = append(order, 2)
		inner, cancel := stdcontext.WithCancel(ctx)
		defer cancel()
		established <- seen{ctx.ID(), ctx.SocketAddress().String(), ctx.NumberOfProcessingSessions(), client.FromContext(inner) == c, ctx.Value(key{})}
		ctx.OnFinished(func(ctx *context.ClientContext) { finished <- c.NumberOfProcessingSessions() })
	})
	wait := run(t, c)
	var mtas []*mta
	for i := range 2 {
		m := dial(t, c.Addrs()[0])
		mtas = append(mtas, m)
		m.negotiate(t)
		want := seen{uint64(i + 1), m.LocalAddr().String(), i + 1, true, "of the parent"}
		if diff := cmp.Diff(want, <-established); diff != "" {
			t.Errorf("in OnConnectionEstablished (-want +got):\n%s", diff)
		}
	}
	for i, m := range mtas {
		if _, err := m.send(protocol.Bare(protocol.CommandQuit)); err != nil {
			t.Fatal(err)
		}
		if n := <-finished; n < 2-i {
			t.Errorf("%d sessions while OnFinished runs, want %d: the session is not over yet", n, 2-i)
		}
		m.hungUp(t)
	}
	if err := c.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := c.NumberOfProcessingSessions(); n != 0 {
		t.Errorf("%d sessions after Shutdown", n)
	}
	if err := wait(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if diff := cmp.Diff([]int{1, 2, 1, 2}, order); diff != "" {
		t.Errorf("order of the handlers (-want +got):\n%s", diff)
	}
	if client.FromContext(t.Context()) != nil {
		t.Error("FromContext of a context that is no session's is not nil")
	}
}

// The session that follows a quit-new-connection is set up like the first.
func TestQuitNewConnection(t *testing.T) {
	c := newClient(t)
	addresses := make(chan net.Addr, 2)
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		addresses <- ctx.SocketAddress()
		takeMail(ctx)
	})
	run(t, c)
	m := dial(t, c.Addrs()[0])
	m.negotiate(t)
	for range 2 {
		if got := <-addresses; got.String() != m.LocalAddr().String() {
			t.Errorf("SocketAddress is %v, want %v", got, m.LocalAddr())
		}
		m.mail(t)
		m.endOfMessage(t)
		if _, err := m.send(protocol.Bare(protocol.CommandQuitNewConnection)); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.NumberOfProcessingSessions(); n != 1 {
		t.Errorf("%d sessions; want 1, as there is one connection", n)
	}
}

func TestEstablishedPanic(t *testing.T) {
	for _, handled := range []bool{true, false} {
		t.Run(fmt.Sprintf("OnError=%v", handled), func(t *testing.T) {
			c := newClient(t)
			var log lockedBuffer
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			finished := make(chan bool, 1)
			first := true
			c.OnConnectionEstablished(func(ctx *context.ClientContext) {
				if !first {
					return
				}
				first = false
				ctx.OnFinished(func(*context.ClientContext) { finished <- true })
				panic("of the test")
			})
			errs := make(chan error, 10)
			if handled {
				c.OnError(func(err error) { errs <- err })
				c.OnError(func(err error) { errs <- err; panic("of OnError") })
			}
			run(t, c)
			m := dial(t, c.Addrs()[0])
			m.hungUp(t)
			<-finished // what was registered before the panic is cleaned up
			if handled {
				for range 2 {
					if err := <-errs; !errors.Is(err, context.ErrPanic) || !strings.Contains(err.Error(), "of the test") {
						t.Errorf("OnError got %v", err)
					}
				}
			}
			for _, want := range []string{"of the test", "client_test.TestEstablishedPanic", "session=1"} {
				if n := strings.Count(log.String(), want); n == 0 {
					t.Errorf("the log does not contain %q:\n%s", want, log.String())
				}
			}
			dial(t, c.Addrs()[0]).negotiate(t) // the next one is served
		})
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func TestServeConn(t *testing.T) {
	c := client.New()
	ours, theirs := net.Pipe()
	result := make(chan error, 1)
	go func() { result <- c.ServeConn(ours) }()
	m := &mta{Conn: theirs}
	m.negotiate(t)
	if n := c.NumberOfProcessingSessions(); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
	if _, err := m.send(protocol.Bare(protocol.CommandQuit)); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Errorf("ServeConn: %v", err)
	}
	m.hungUp(t)

	c.Logger = slog.New(slog.DiscardHandler)
	ours, theirs = net.Pipe()
	go func() { result <- c.ServeConn(ours) }()
	if _, err := theirs.Write([]byte{0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, context.ErrProtocol) {
		t.Errorf("ServeConn of a packet without length: %v, want ErrProtocol", err)
	}

	c.Close()
	ours, theirs = net.Pipe()
	if err := c.ServeConn(ours); !errors.Is(err, client.ErrClosed) {
		t.Errorf("ServeConn after Close: %v, want ErrClosed", err)
	}
	(&mta{Conn: theirs}).hungUp(t)
}
