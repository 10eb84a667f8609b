//go:build unix

package client_test

import (
	stdcontext "context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// everyMethod calls all methods of a client that do not end it, and those that do
// if it is to end.
func everyMethod(c *client.Client, end bool) (called []string) {
	done, cancel := stdcontext.WithCancel(stdcontext.Background())
	cancel()
	call := func(name string, f func()) {
		f()
		called = append(called, name)
	}
	call("AddConnectionSpec", func() { _ = c.AddConnectionSpec("inet:0@127.0.0.1") })
	call("SetConnectionSpec", func() { _ = c.SetConnectionSpec("inet:0@127.0.0.1") })
	call("AddListener", func() { c.AddListener(newFakeListener("/run/added")) })
	call("SetListener", func() { c.SetListener(newFakeListener("/run/set")) })
	call("Addrs", func() { c.Addrs() })
	call("ConnectionSpec", func() { c.ConnectionSpec() })
	call("Listener", func() { c.Listener() })
	call("NumberOfProcessingSessions", func() { c.NumberOfProcessingSessions() })
	call("Statistics", func() { c.Statistics() })
	call("OnConnectionEstablished", func() { c.OnConnectionEstablished(func(*context.ClientContext) {}) })
	call("OnListenStarted", func() { c.OnListenStarted(func(net.Addr) {}) })
	call("OnError", func() { c.OnError(func(error) {}) })
	call("Listen", func() { _ = c.Listen() })
	call("ServeConn", func() {
		ours, theirs := net.Pipe()
		theirs.Close()
		_ = c.ServeConn(ours)
	})
	call("ShutdownOnSignal", func() { c.ShutdownOnSignal(syscall.SIGUSR2)() })
	call("Run", func() { // returns ErrRunning, or nil after the end
		if err := c.Run(); err != nil && !errors.Is(err, client.ErrRunning) {
			panic(err)
		}
	})
	if end {
		call("ListenAndServe", func() { _ = c.ListenAndServe("inet:0@127.0.0.1") })
		call("Shutdown", func() { _ = c.Shutdown(done) })
		call("Close", func() { _ = c.Close() })
	}
	return called
}

// No callback is called with a lock held: each may call whatever it likes, and
// returns. What calls back is a handler of the client or of a session, the logger,
// the count of sessions, a listener and a connection.
func TestCallbacksMayCallEverything(t *testing.T) {
	var methods []string
	for i := range reflect.TypeFor[*client.Client]().NumMethod() {
		methods = append(methods, reflect.TypeFor[*client.Client]().Method(i).Name)
	}
	closed := client.New()
	closed.Close()
	called := everyMethod(closed, true)
	slices.Sort(called)
	if diff := cmp.Diff(methods, called); diff != "" {
		t.Fatalf("the methods that are called are not those that there are (-want +got):\n%s", diff)
	}

	for _, end := range []bool{false, true} {
		for _, callback := range callbacks {
			t.Run(fmt.Sprintf("%s end=%v", callback, end), func(t *testing.T) {
				s := &callbackScene{in: callback, end: end, done: make(chan bool)}
				go s.play()
				select {
				case <-s.done:
				case <-time.After(5 * time.Second): // the watchdog
					t.Fatal("it has not returned, or was not called")
				}
			})
		}
	}
}

var callbacks = []string{
	"OnConnectionEstablished", "OnListenStarted", "OnError", "log", "ProcessingSessions",
	"Listener.Accept", "Listener.Close", "Conn.Read", "Conn.Write", "Conn.Close",
	"refusal.Read", "refusal.Write", "refusal.Close",
	"OnNegotiate", "OnEnvelopeFrom", "OnEndOfMessage", "OnMessageProcessed", "OnAbort", "session's OnError", "OnFinished",
}

// A callbackScene lets one callback call everything, once.
type callbackScene struct {
	in   string
	end  bool
	c    *client.Client
	once atomic.Bool
	done chan bool
}

func (s *callbackScene) call(in string) {
	if s.in == in && s.once.CompareAndSwap(false, true) {
		everyMethod(s.c, s.end)
	}
}

// play lets everything happen that calls back.
func (s *callbackScene) play() {
	c := client.New()
	s.c = c
	c.Logger = slog.New(callingHandler{quiet.Handler(), s})
	if s.in == "OnError" {
		c.Logger = quiet // OnError is called all the same
	}
	c.ProcessingSessions = func() int { s.call("ProcessingSessions"); return 0 }
	c.MaxConnections, c.RefuseAtLimit = 2, true
	if s.in != "log" {
		c.OnError(func(error) { s.call("OnError") })
	}
	c.OnListenStarted(func(net.Addr) { s.call("OnListenStarted") })
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		s.call("OnConnectionEstablished")
		proceed := protocol.StatusContinue
		ctx.OnNegotiate(func(ctx *context.ClientContext, _ *option.Option, _ *option.MacroRequests) protocol.Status {
			ctx.NumberOfProcessingSessions()
			s.call("OnNegotiate")
			return protocol.StatusAllOptions
		})
		ctx.OnEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) protocol.Status {
			s.call("OnEnvelopeFrom")
			return proceed
		})
		ctx.OnEndOfMessage(func(*context.ClientContext, []byte) protocol.Status { s.call("OnEndOfMessage"); return proceed })
		ctx.OnMessageProcessed(func(*context.ClientContext, *context.MessageResult) { s.call("OnMessageProcessed") })
		ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status { s.call("OnAbort"); return proceed })
		ctx.OnError(func(*context.ClientContext, error) { s.call("session's OnError") })
		ctx.OnFinished(func(*context.ClientContext) { s.call("OnFinished") })
	})
	l := callingListener{newFakeListener("/run/s"), s}
	c.SetListener(l)
	ended := goRun(c)
	select {
	case l.errs <- syscall.EMFILE:
	case <-l.closed:
	}
	first, second := s.connect(l, "Conn"), s.connect(l, "Conn")
	for _, m := range []*mta{first, second} {
		for _, p := range [][]byte{offer, from("<a@example.com>"), endOfMessage, from("<b@example.com>")} {
			m.say(p)
		}
	}
	third := s.connect(l, "refusal")
	third.say(offer, connect.Append(nil))
	for _, m := range []*mta{first, second} {
		m.say([]byte{0, 0, 0, 0, 0}) // a fault
	}
	c.Close()
	<-ended
	if s.once.Load() {
		close(s.done)
	}
}

// connect returns the MTA's end of a connection, whose answers are dropped.
func (s *callbackScene) connect(l callingListener, of string) *mta {
	ours, theirs := net.Pipe()
	select {
	case l.accepted <- callingConn{ours, s, of}:
	case <-l.closed:
		ours.Close()
	}
	m := &mta{Conn: theirs}
	go m.drain()
	return m
}

type callingHandler struct {
	slog.Handler
	s *callbackScene
}

func (h callingHandler) Enabled(stdcontext.Context, slog.Level) bool { return true }
func (h callingHandler) Handle(stdcontext.Context, slog.Record) error {
	h.s.call("log")
	return nil
}
func (h callingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h callingHandler) WithGroup(string) slog.Handler      { return h }

type callingListener struct {
	*fakeListener
	s *callbackScene
}

func (l callingListener) Accept() (net.Conn, error) {
	l.s.call("Listener.Accept")
	return l.fakeListener.Accept()
}
func (l callingListener) Close() error { l.s.call("Listener.Close"); return l.fakeListener.Close() }

type callingConn struct {
	net.Conn
	s  *callbackScene
	of string
}

func (c callingConn) Read(b []byte) (int, error)  { c.s.call(c.of + ".Read"); return c.Conn.Read(b) }
func (c callingConn) Write(b []byte) (int, error) { c.s.call(c.of + ".Write"); return c.Conn.Write(b) }
func (c callingConn) Close() error                { c.s.call(c.of + ".Close"); return c.Conn.Close() }
