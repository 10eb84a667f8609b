package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// fullClient returns a client that refuses connections, as its one place is taken
// by the session that is returned.
func fullClient(t *testing.T, names ...string) (c *client.Client, l []*fakeListener, only *mta, done <-chan error) {
	t.Helper()
	c, l = newFake(t, names...)
	c.MaxConnections, c.RefuseAtLimit = 1, true
	c.OnConnectionEstablished(takeMail)
	done = goRun(c)
	only = l[0].connect()
	only.negotiate(t)
	return c, l, only, done
}

// refused plays the beginning of a session that is refused: it is a temporary
// failure of the connect event, which an MTA understands whatever it does when a
// milter fails.
func (m *mta) refused(t *testing.T) {
	t.Helper()
	if _, err := m.Write(offer); err != nil {
		t.Fatal(err)
	}
	p, err := m.buffer.ReadPacket(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := reply.Decode(p)
	if err != nil {
		t.Fatal(err)
	}
	want := reply.Negotiate{Option: option.Option{Version: 6, Steps: option.NoEventSteps &^ option.StepNoConnect}}
	if diff := cmp.Diff(reply.Message(want), got, cmp.AllowUnexported(option.MacroRequests{})); diff != "" {
		t.Errorf("answer to the offer (-want +got):\n%s", diff)
	}
	macros := protocol.DefineMacro{For: protocol.CommandConnect, Macros: []protocol.Macro{{Name: "j", Value: "mx"}}}
	if _, err := m.Write(macros.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if r, err := m.send(connect); r != protocol.ReplyTemporaryFailure || err != nil {
		t.Errorf("reply to connect is %v, %v; want a temporary failure", r, err)
	}
	m.hungUp(t)
}

var connect = protocol.Connect{Host: "client.test", Family: protocol.FamilyInet, Port: 2525, Address: "127.0.0.1"}

func TestRefuseAtLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		c, l := newFake(t, "/run/a", "/run/b")
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c.MaxConnections, c.RefuseAtLimit = 2, true
		var established atomic.Int32
		c.OnConnectionEstablished(func(ctx *context.ClientContext) { established.Add(1); takeMail(ctx) })
		done := goRun(c)
		first, second := l[0].connect(), l[1].connect()
		first.negotiate(t)
		second.negotiate(t)
		for _, l := range l {
			for range 2 {
				l.connect().refused(t)
			}
		}
		if n := c.NumberOfProcessingSessions(); n != 2 || established.Load() != 2 {
			t.Errorf("%d sessions, %d were established; want 2 of each", n, established.Load())
		}
		first.mail(t) // those that run are not hindered
		first.endOfMessage(t)

		// A place that is free is used at once.
		second.Close()
		synctest.Wait()
		third := l[0].connect()
		third.negotiate(t)
		l[1].connect().refused(t)
		if n := strings.Count(log.String(), `msg="at the limit of connections; new ones are refused" limit=2`); n != 2 {
			t.Errorf("%d log lines about the limit, want one of each listener:\n%s", n, log.String())
		}
		c.Close()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// Of the connections that many listeners accept at the same time not more than
// MaxConnections are served.
func TestRefuseAtLimitRace(t *testing.T) {
	const rounds, listeners = 100, 16
	names := slices.Repeat([]string{"/run/s"}, listeners)
	for range rounds {
		c, l := newFake(t, names...)
		c.MaxConnections, c.RefuseAtLimit = 1, true
		var established atomic.Int32
		c.OnConnectionEstablished(func(*context.ClientContext) { established.Add(1) })
		done := goRun(c)
		begin := make(chan bool)
		var ready, group sync.WaitGroup
		for _, l := range l {
			ready.Add(1)
			group.Go(func() {
				ours, theirs := net.Pipe()
				ready.Done()
				<-begin
				l.accepted <- ours
				m := &mta{Conn: theirs}
				m.say(offer)
				if _, err := m.buffer.ReadPacket(m); err != nil {
					t.Error(err)
				}
			})
		}
		ready.Wait()
		close(begin)
		group.Wait()
		if n := established.Load(); n != 1 {
			t.Fatalf("%d sessions, want 1", n)
		}
		c.Close()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// What is no offer that could be answered ends a refusal without an answer.
func TestRefusalWithoutAnswer(t *testing.T) {
	old := protocol.Negotiate{Option: option.Option{Version: 1, Actions: option.DefaultActions, Steps: option.DefaultSteps}}.Append(nil)
	agreed := reply.Negotiate{Option: option.Option{Version: 6, Steps: option.NoEventSteps &^ option.StepNoConnect}}.Append(nil)
	macros := protocol.DefineMacro{For: protocol.CommandConnect, Macros: []protocol.Macro{{Name: "j", Value: strings.Repeat("x", 1000)}}}.Append(nil)
	helo := protocol.Helo{Name: "mx"}.Append(nil)
	quit := protocol.Bare(protocol.CommandQuit).Append(nil)
	const ms = time.Millisecond
	for _, test := range []struct {
		name  string
		send  []byte
		every time.Duration // a byte; zero for all at once
		after time.Duration // it is closed
		want  []byte
	}{
		{"nothing", nil, 0, 3 * time.Second, nil},
		{"a part of the offer", offer[:7], 0, 3 * time.Second, nil},
		{"a byte every 300 ms", offer, 300 * ms, 3 * time.Second, nil},
		{"the offer, then nothing", offer, 0, 3 * time.Second, agreed},
		{"the offer, then a byte every 100 ms", append(bytes.Clone(offer), macros...), 100 * ms, 3 * time.Second, agreed},
		{"another protocol", []byte("GET / HTTP/1.1\r\n\r\n"), 0, 0, nil},
		{"length zero", []byte{0, 0, 0, 0, 'O'}, 0, 0, nil},
		{"another command first", helo, 0, 0, nil},
		{"a short offer", []byte{0, 0, 0, 3, 'O', 0, 6}, 0, 0, nil},
		{"version 1", old, 0, 0, nil},
		{"another command than connect", append(bytes.Clone(offer), helo...), 0, 0, agreed},
		{"quit", append(bytes.Clone(offer), quit...), 0, 0, agreed},
		{"a packet above the limit", append(bytes.Clone(offer), 0, 0, 0x50, 0, 'D'), 0, 0, agreed},
		{"macros without end", append(bytes.Clone(offer), bytes.Repeat(macros, 20)...), 0, 0, agreed},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, l, _, _ := fullClient(t, "/run/s")
				m := l[0].connect()
				start := time.Now()
				go func() {
					if test.every == 0 {
						m.Write(test.send) // fails when it is closed before
						return
					}
					for i := range test.send {
						if _, err := m.Write(test.send[i : i+1]); err != nil {
							return
						}
						time.Sleep(test.every)
					}
				}()
				got, err := io.ReadAll(m)
				if err != nil || !bytes.Equal(got, test.want) {
					t.Errorf("answer %q, %v; want %q", got, err, test.want)
				}
				if d := time.Since(start); d != test.after {
					t.Errorf("closed after %v, want %v", d, test.after)
				}
				l[0].connect().refused(t) // the next one is refused as it should be
				c.Close()
				time.Sleep(time.Minute) // let the writer end
			})
		})
	}
}

// Connections that say nothing hold a bounded number of places and keep nobody
// from being accepted, and the end does not wait for them.
func TestRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, only, done := fullClient(t, "/run/s")
		var held []*mta
		for range 100 {
			held = append(held, l[0].connect())
		}
		start := time.Now()
		for range 200 {
			l[0].connect().hungUp(t)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("the others were closed after %v, want at once", d)
		}
		// The session ends, and its place is to be had, whatever the others do.
		only.Close()
		synctest.Wait()
		only = l[0].connect()
		only.negotiate(t)
		if d := time.Since(start); d != 0 {
			t.Errorf("a free place was taken after %v, want at once", d)
		}
		for _, m := range held[:50] {
			m.hungUp(t)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("a refusal took %v, want 3s", d)
		}
		synctest.Wait()
		l[0].connect().refused(t)

		held = []*mta{l[0].connect(), l[0].connect()}
		synctest.Wait()
		start = time.Now()
		if err := errors.Join(c.Shutdown(t.Context()), <-done); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("the end waited %v for a connection that is being refused", d)
		}
		for _, m := range held {
			m.hungUp(t)
		}
	})
}

// Run returns when the last refusal is over.
func TestRunWaitsForRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, _, done := fullClient(t, "/run/s")
		ours, _ := net.Pipe()
		conn := &slowToClose{Conn: ours}
		l[0].accepted <- conn
		synctest.Wait()
		c.Close()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if !conn.closed.Load() {
			t.Error("Run has returned while a connection is being refused")
		}
	})
}

type slowToClose struct {
	net.Conn
	closed atomic.Bool
}

func (c *slowToClose) Close() error {
	time.Sleep(time.Second)
	c.closed.Store(true)
	return c.Conn.Close()
}

// A connection that cannot have a deadline is not waited for.
func TestRefusalWithoutDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, _, _ := fullClient(t, "/run/s")
		ours, theirs := net.Pipe()
		l[0].accepted <- noDeadline{ours}
		(&mta{Conn: theirs}).hungUp(t)
		c.Close()
	})
}

type noDeadline struct{ net.Conn }

func (noDeadline) SetDeadline(time.Time) error { return fmt.Errorf("no deadline") }
