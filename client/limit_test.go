package client_test

import (
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestMaxConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := newFake(t, "/run/a", "/run/b")
		var log lockedBuffer
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c.MaxConnections = 2
		c.OnConnectionEstablished(takeMail)
		done := goRun(c)
		synctest.Wait() // both listeners are in accept

		first, second := l[0].connect(), l[0].connect()
		first.negotiate(t)
		second.negotiate(t)
		if _, accepted := l[0].offer(); accepted {
			t.Error("accept goes on at the limit")
		}
		// The other listener was in accept before the limit was reached. What it
		// takes has to wait as well.
		third, accepted := l[1].offer()
		if !accepted {
			t.Fatal("not accepted")
		}
		synctest.Wait()
		if n := c.NumberOfProcessingSessions(); n != 2 {
			t.Errorf("%d sessions, want 2", n)
		}
		if _, accepted := l[1].offer(); accepted {
			t.Error("accept goes on at the limit")
		}
		// Sessions that run are not hindered.
		first.mail(t)
		first.endOfMessage(t)

		before := time.Now()
		first.Close()
		third.negotiate(t)
		second.Close()
		fourth, accepted := l[0].offer()
		if !accepted {
			t.Fatal("not accepted below the limit")
		}
		fourth.negotiate(t)
		if d := time.Since(before); d != 0 {
			t.Errorf("a free place was taken after %v, want at once", d)
		}
		if n := strings.Count(log.String(), "limit=2"); n != 2 {
			t.Errorf("%d log lines about the limit, want one of each listener:\n%s", n, log.String())
		}

		// A waiting connection does not hinder the end.
		fifth, accepted := l[1].offer()
		if !accepted {
			t.Fatal("not accepted")
		}
		if err := c.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		fifth.hungUp(t)
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// Connections above the limit wait in the backlogs of real sockets.
func TestMaxConnectionsBacklog(t *testing.T) {
	c := newClient(t)
	const sockets, n = 4, 40
	for range sockets - 1 {
		if err := c.AddConnectionSpec("inet:0@127.0.0.1"); err != nil {
			t.Fatal(err)
		}
	}
	c.MaxConnections = 1
	run(t, c)
	var group sync.WaitGroup
	for i := range n {
		m := dial(t, c.Addrs()[i%sockets])
		group.Go(func() {
			m.negotiate(t)
			if got := c.NumberOfProcessingSessions(); got != 1 {
				t.Errorf("%d sessions, want 1", got)
			}
			m.Close()
		})
	}
	group.Wait()
}

// Of two connections that wait for the same place one gets it.
func TestMaxConnectionsOnePlace(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			c, l := newFake(t, "/run/a", "/run/b")
			c.MaxConnections = 1
			go c.Run()
			synctest.Wait()
			ours, theirs := net.Pipe()
			go c.ServeConn(ours)
			(&mta{Conn: theirs}).negotiate(t)
			waiting := []*mta{l[0].connect(), l[1].connect()}
			synctest.Wait()
			theirs.Close()
			synctest.Wait()
			if n := c.NumberOfProcessingSessions(); n != 1 {
				t.Fatalf("%d sessions, want 1", n)
			}
			c.Close()
			for _, m := range waiting {
				m.hungUp(t)
			}
		})
	}
}

// ServeConn does not wait, but what it serves counts.
func TestMaxConnectionsServeConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := newFake(t, "/run/s")
		c.MaxConnections = 1
		for range 2 {
			ours, theirs := net.Pipe()
			go c.ServeConn(ours)
			(&mta{Conn: theirs}).negotiate(t)
		}
		go c.Run()
		if _, accepted := l[0].offer(); accepted {
			t.Error("a connection was accepted above the limit")
		}
		c.Close()
	})
}
