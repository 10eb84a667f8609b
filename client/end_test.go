//go:build unix

package client_test

import (
	stdcontext "context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// Both ways to end a client, for the tests in which they behave alike.
var ends = []struct {
	name string
	end  func(*client.Client) error
}{
	{"Shutdown", func(c *client.Client) error { return c.Shutdown(stdcontext.Background()) }},
	{"Close", (*client.Client).Close},
}

func TestEndInEveryPhase(t *testing.T) {
	for _, end := range ends {
		for _, test := range []struct {
			name string
			run  func(t *testing.T, c *client.Client)
		}{
			{"before everything", func(t *testing.T, c *client.Client) {
				if err := end.end(c); err != nil {
					t.Error(err)
				}
			}},
			{"between Listen and Run", func(t *testing.T, c *client.Client) {
				addr := listen(t, c)
				if err := end.end(c); err != nil {
					t.Error(err)
				}
				if conn, err := net.Dial(addr.Network(), addr.String()); err == nil {
					conn.Close()
					t.Error("the socket is open")
				}
			}},
			{"in OnListenStarted", func(t *testing.T, c *client.Client) {
				c.OnListenStarted(func(net.Addr) {
					if err := end.end(c); err != nil {
						t.Error(err)
					}
				})
				if err := c.Listen(); err != nil {
					t.Error(err)
				}
			}},
			{"while Run is idle", func(t *testing.T, c *client.Client) {
				wait := run(t, c)
				if err := end.end(c); err != nil {
					t.Error(err)
				}
				if err := wait(); err != nil {
					t.Error(err)
				}
			}},
			{"with a connection", func(t *testing.T, c *client.Client) {
				wait := run(t, c)
				m := dial(t, c.Addrs()[0])
				m.negotiate(t)
				if err := end.end(c); err != nil {
					t.Error(err)
				}
				m.hungUp(t)
				if err := wait(); err != nil {
					t.Error(err)
				}
			}},
			{"with a connection that has sent nothing", func(t *testing.T, c *client.Client) {
				wait := run(t, c)
				m := dial(t, c.Addrs()[0])
				if err := end.end(c); err != nil {
					t.Error(err)
				}
				if _, err := m.Read(make([]byte, 1)); err == nil {
					t.Error("the connection is open")
				}
				if err := wait(); err != nil {
					t.Error(err)
				}
			}},
			{"with a connection in the backlog", func(t *testing.T, c *client.Client) {
				m := dial(t, listen(t, c))
				if err := end.end(c); err != nil {
					t.Error(err)
				}
				if _, err := m.Read(make([]byte, 1)); err == nil {
					t.Error("the connection is open")
				}
			}},
			{"twice", func(t *testing.T, c *client.Client) {
				wait := run(t, c)
				if err := errors.Join(end.end(c), end.end(c), c.Close(), c.Shutdown(t.Context()), wait()); err != nil {
					t.Error(err)
				}
			}},
			{"after Run", func(t *testing.T, c *client.Client) {
				wait := run(t, c)
				c.Close()
				if err := errors.Join(wait(), end.end(c)); err != nil {
					t.Error(err)
				}
			}},
			{"from 50 goroutines", func(t *testing.T, c *client.Client) {
				c.OnConnectionEstablished(takeMail)
				wait := run(t, c)
				m := dial(t, c.Addrs()[0])
				m.negotiate(t)
				var group sync.WaitGroup
				for i := range 50 {
					group.Go(func() {
						if err := ends[i%2].end(c); err != nil {
							t.Error(err)
						}
					})
				}
				group.Wait()
				m.hungUp(t)
				if err := wait(); err != nil {
					t.Error(err)
				}
			}},
		} {
			t.Run(end.name+" "+test.name, func(t *testing.T) {
				c := newClient(t)
				c.OnError(func(err error) { t.Errorf("OnError: %v", err) })
				path := filepath.Join(t.TempDir(), "s")
				if err := c.AddConnectionSpec("unix:" + path); err != nil {
					t.Fatal(err)
				}
				test.run(t, c)
				onlyFiles(t, path)
				if err := c.Run(); err != nil {
					t.Errorf("Run of a client that has ended: %v", err)
				}
				if err := c.Listen(); !errors.Is(err, client.ErrClosed) {
					t.Errorf("Listen of a client that has ended: %v, want ErrClosed", err)
				}
				if n := c.NumberOfProcessingSessions(); n != 0 {
					t.Errorf("%d sessions are left", n)
				}
			})
		}
	}
}

// The end comes at any moment between the calls of another goroutine.
func TestEndRaces(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	for i := range rounds {
		c := newClient(t)
		path := filepath.Join(t.TempDir(), "s")
		if err := c.SetConnectionSpec("unix:" + path); err != nil {
			t.Fatal(err)
		}
		started := make(chan net.Addr, 1)
		c.OnListenStarted(func(addr net.Addr) { started <- addr })
		done := goRun(c)
		if i%3 > 0 {
			addr := <-started
			for range i % 5 {
				if conn, err := net.Dial(addr.Network(), addr.String()); err == nil {
					defer conn.Close()
				}
			}
		}
		var group sync.WaitGroup
		for j := range 3 {
			group.Go(func() {
				if err := ends[(i+j)%2].end(c); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if err := <-done; err != nil {
			t.Fatalf("round %d: Run: %v", i, err)
		}
		if conn, err := net.Dial("unix", path); err == nil || !errors.Is(err, syscall.ENOENT) {
			t.Fatalf("round %d: the socket is left: %v, %v", i, conn, err)
		}
	}
}

// Either call is legal in any handler. Close does not wait for the handler;
// Shutdown waits as long as its context allows.
func TestEndInHandler(t *testing.T) {
	for _, end := range []struct {
		name string
		end  func(c *client.Client) error
		want error
	}{
		{"Close", (*client.Client).Close, nil},
		{"Shutdown", func(c *client.Client) error {
			ctx, cancel := stdcontext.WithTimeout(stdcontext.Background(), time.Minute)
			defer cancel()
			return c.Shutdown(ctx)
		}, stdcontext.DeadlineExceeded},
		{"go Shutdown", func(c *client.Client) error {
			go c.Shutdown(stdcontext.Background())
			return nil
		}, nil},
	} {
		for _, handler := range []string{"OnConnectionEstablished", "OnEnvelopeFrom", "OnFinished", "OnError"} {
			t.Run(fmt.Sprintf("%s in %s", end.name, handler), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, l := newFake(t, "/run/s")
					calls := 0
					call := func(in string) {
						if in != handler {
							return
						}
						calls++
						if err := end.end(c); !errors.Is(err, end.want) && !(err == nil && in == "OnError") {
							t.Errorf("error %v, want %v", err, end.want)
						}
					}
					c.OnError(func(error) { call("OnError") })
					c.OnConnectionEstablished(func(ctx *context.ClientContext) {
						call("OnConnectionEstablished")
						ctx.OnEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) protocol.Status {
							call("OnEnvelopeFrom")
							return protocol.StatusAccept
						})
						ctx.OnFinished(func(*context.ClientContext) { call("OnFinished") })
					})
					done := goRun(c)
					if handler == "OnError" {
						l[0].errs <- syscall.EMFILE
					} else {
						m := l[0].connect()
						go io.Copy(io.Discard, m)
						p := protocol.Negotiate{Option: option.All()}.Append(nil)
						p = protocol.EnvelopeFrom{Path: "<>"}.Append(p)
						p = protocol.Bare(protocol.CommandQuit).Append(p)
						go m.Write(p) // fails when the session ends before
					}
					if err := <-done; err != nil {
						t.Errorf("Run: %v", err)
					}
					if calls != 1 {
						t.Errorf("the handler was called %d times, want 1", calls)
					}
				})
			})
		}
	}
}

func boomEstablished() { panic("oops") }

// TestEstablishedPanicCrash: with PanicCrash the process ends with what the handler
// panicked with, and where.
func TestEstablishedPanicCrash(t *testing.T) {
	c := client.New()
	c.PanicCrash = true
	c.Logger = slog.New(slog.DiscardHandler)
	c.OnConnectionEstablished(func(*context.ClientContext) { boomEstablished() })
	ours, _ := net.Pipe()
	value := func() (v any) {
		defer func() { v = recover() }()
		_ = c.ServeConn(ours)
		return nil
	}()
	if text := fmt.Sprint(value); !strings.Contains(text, "oops") || !strings.Contains(text, "boomEstablished") {
		t.Errorf("panic %v, want oops and its stack", value)
	}
}

// TestCloseWithBusyHandler: the MTA sees the end at once, also while a handler does
// not return.
func TestCloseWithBusyHandler(t *testing.T) {
	c := newClient(t)
	busy, release := make(chan struct{}), make(chan struct{})
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		ctx.OnHelo(func(*context.ClientContext, string) protocol.Status {
			close(busy)
			<-release
			return protocol.StatusContinue
		})
	})
	defer close(release)
	wait := run(t, c)
	m := dial(t, c.Addrs()[0])
	m.say(offer, protocol.Helo{Name: "x"}.Append(nil))
	<-busy
	c.Close()
	if _, err := io.ReadAll(m); err != nil {
		t.Errorf("the MTA reads until %v, want the end", err)
	}
	if err := wait(); err != nil {
		t.Errorf("Run returned %v", err)
	}
}
