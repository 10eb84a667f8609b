package client_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
)

// A fakeListener accepts what is sent to it.
type fakeListener struct {
	name     string
	accepted chan net.Conn
	errs     chan error
	closed   chan struct{}
	once     sync.Once
}

func newFakeListener(name string) *fakeListener {
	return &fakeListener{name: name, accepted: make(chan net.Conn), errs: make(chan error), closed: make(chan struct{})}
}

func (l *fakeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accepted:
		return conn, nil
	case err := <-l.errs:
		return nil, &net.OpError{Op: "accept", Net: "fake", Addr: l.Addr(), Err: err}
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *fakeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *fakeListener) Addr() net.Addr { return &net.UnixAddr{Name: l.name, Net: "unix"} }

// connect returns the MTA's end of a connection that was accepted.
func (l *fakeListener) connect() *mta {
	ours, theirs := net.Pipe()
	l.accepted <- ours
	return &mta{Conn: theirs}
}

// offer is connect for a connection that may not be accepted.
func (l *fakeListener) offer() (m *mta, accepted bool) {
	ours, theirs := net.Pipe()
	synctest.Wait()
	select {
	case l.accepted <- ours:
		return &mta{Conn: theirs}, true
	default:
		return nil, false
	}
}

// newFake returns a client that runs with fake listeners in a synctest bubble.
func newFake(t *testing.T, names ...string) (c *client.Client, listeners []*fakeListener) {
	c = client.New()
	c.Logger = slog.New(slog.DiscardHandler)
	for _, name := range names {
		l := newFakeListener(name)
		listeners = append(listeners, l)
		c.AddListener(l)
	}
	return c, listeners
}

func TestAcceptBackOff(t *testing.T) {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR,
		syscall.ECONNRESET, syscall.EAGAIN, syscall.EPERM, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EOPNOTSUPP,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
	} {
		t.Run(errno.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, l := newFake(t, "/run/s")
				var reports []string
				start := time.Now()
				c.OnError(func(err error) {
					if !errors.Is(err, errno) {
						t.Errorf("OnError got %v, want %v", err, errno)
					}
					reports = append(reports, fmt.Sprint(time.Since(start), " ", err))
				})
				done := goRun(c)

				// A fault is taken when accept is tried again.
				var tries []time.Duration
				for range 12 {
					l[0].errs <- os.NewSyscallError("accept4", errno)
					tries = append(tries, time.Since(start))
				}
				synctest.Wait()
				ms := time.Millisecond
				want := []time.Duration{0, 5 * ms, 15 * ms, 35 * ms, 75 * ms, 155 * ms, 315 * ms, 635 * ms, 1275 * ms, 2275 * ms, 3275 * ms, 4275 * ms}
				if diff := cmp.Diff(want, tries); diff != "" {
					t.Errorf("times of accept (-want +got):\n%s", diff)
				}
				text := fmt.Sprintf(` client: cannot accept on "unix:/run/s": accept4: %v`, errno)
				wantReports := []string{"0s" + text, "1.275s" + text, "2.275s" + text, "3.275s" + text, "4.275s" + text}
				if diff := cmp.Diff(wantReports, reports); diff != "" {
					t.Errorf("reports (-want +got):\n%s", diff)
				}

				l[0].connect().negotiate(t) // the listener was kept
				before := time.Now()
				for range 2 {
					l[0].errs <- os.NewSyscallError("accept4", errno)
				}
				if d := time.Since(before); d != 5*ms {
					t.Errorf("accept rested %v after a connection was accepted; the delay has not begun anew", d)
				}
				// Now it rests for 10 ms.
				c.Close()
				if err := <-done; err != nil {
					t.Errorf("Run: %v", err)
				}
				if d := time.Since(before); d != 5*ms {
					t.Errorf("the end waited %v for accept to try again", d-5*ms)
				}
			})
		})
	}
}

// Without handler a fault is logged, not more than once a second.
func TestAcceptFaultIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := newFake(t, "/run/s")
		var log lockedBuffer
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		go c.Run()
		for range 9 { // at 0, 5, 15, 35, 75, 155, 315, 635 and 1275 ms
			l[0].errs <- syscall.EMFILE
		}
		synctest.Wait()
		c.Close()
		if n := strings.Count(log.String(), "too many open files"); n != 2 {
			t.Errorf("%d lines, want 2:\n%s", n, log.String())
		}
	})
}

// A listener that is broken for good ends the client, but no mail.
func TestAcceptBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := newFake(t, "/run/a", "/run/b")
		c.OnConnectionEstablished(takeMail)
		done := goRun(c)
		m := l[0].connect()
		m.negotiate(t)
		m.mail(t)
		l[1].errs <- syscall.EBADF
		synctest.Wait()
		select {
		case <-l[0].closed:
		default:
			t.Error("the other listener is open")
		}
		select {
		case err := <-done:
			t.Errorf("Run has returned within a mail: %v", err)
		default:
		}
		m.endOfMessage(t)
		if err := <-done; !errors.Is(err, syscall.EBADF) || !strings.Contains(err.Error(), "unix:/run/b") {
			t.Errorf("Run: %v, want EBADF of the listener", err)
		}
		if err := c.Run(); err != nil {
			t.Errorf("Run of a client that has ended: %v", err)
		}
	})
}

// Timeouts of a given listener are no fault of it.
func TestAcceptTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := newFake(t, "/run/s")
		go c.Run()
		l[0].errs <- os.ErrDeadlineExceeded
		l[0].connect().negotiate(t)
		c.Close()
	})
}

// What goes wrong when a listener is closed is reported, once, and changes
// nothing.
func TestListenerCloseFails(t *testing.T) {
	c, l := newFake(t, "/run/s")
	var reports []string
	c.OnError(func(err error) { reports = append(reports, err.Error()) })
	c.SetListener(failingListener{l[0]})
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Close(), c.Shutdown(t.Context()), c.Run()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{`client: close listener "unix:/run/s": no space left on device`}, reports); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

type failingListener struct{ *fakeListener }

func (l failingListener) Close() error { return syscall.ENOSPC }

// Without a Logger the default one is used.
func TestDefaultLogger(t *testing.T) {
	var log lockedBuffer
	old := slog.Default()
	defer slog.SetDefault(old)
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	c, l := newFake(t, "/run/s")
	c.Logger = nil
	c.SetListener(failingListener{l[0]})
	c.Close()
	if !strings.Contains(log.String(), "no space left on device") {
		t.Errorf("the log is %q", log.String())
	}
}
