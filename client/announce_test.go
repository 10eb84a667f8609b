//go:build unix

package client_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
)

// An address that other machines may reach is warned of once for each listener,
// those that were given included, unless it is meant.
func TestRemoteWarning(t *testing.T) {
	for _, test := range []struct {
		name  string
		specs []string
		given net.Addr
		allow bool
		want  []string // the level and the address of each line
	}{
		{"loopback", []string{"inet:0@127.0.0.1"}, nil, false, []string{"INFO 127.0.0.1"}},
		{"another loopback", nil, &net.TCPAddr{IP: net.IPv4(127, 8, 9, 1)}, false, []string{"INFO 127.8.9.1"}},
		{"IPv6 loopback", nil, &net.TCPAddr{IP: net.IPv6loopback}, false, []string{"INFO ::1"}},
		{"unix", nil, &net.UnixAddr{Name: "/s", Net: "unix"}, false, []string{"INFO unix:/s"}},
		{"any", []string{"inet:0"}, nil, false, []string{"INFO 0.0.0.0", "WARN 0.0.0.0"}},
		{"two", []string{"inet:0", "inet:0@127.0.0.1", "inet:0"}, nil, false,
			[]string{"INFO 0.0.0.0", "WARN 0.0.0.0", "INFO 127.0.0.1", "INFO 0.0.0.0", "WARN 0.0.0.0"}},
		{"given", nil, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, false, []string{"INFO 192.0.2.1", "WARN 192.0.2.1"}},
		{"given, any IPv6", nil, &net.TCPAddr{IP: net.IPv6unspecified}, false, []string{"INFO ::", "WARN ::"}},
		{"given, no address", nil, &net.TCPAddr{}, false, []string{"INFO ", "WARN "}},
		{"allowed", []string{"inet:0"}, nil, true, []string{"INFO 0.0.0.0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := client.New()
			var log lockedBuffer
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			c.AllowRemote = test.allow
			for _, spec := range test.specs {
				if err := c.AddConnectionSpec(spec); err != nil {
					t.Fatal(err)
				}
			}
			if test.given != nil {
				c.SetListener(addressed{newFakeListener(""), test.given})
			}
			listen(t, c)
			if err := c.Listen(); err != nil { // says nothing more
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(log.String()) {
				_, level, _ := strings.Cut(line, "level=")
				level, _, _ = strings.Cut(level, " ")
				_, on, _ := strings.Cut(line, "on=")
				on, _, _ = strings.Cut(strings.TrimSpace(strings.Trim(on, `"`)), "\"")
				if _, host, ok := strings.Cut(on, "@["); ok {
					on = strings.TrimSuffix(host, "]")
				} else if !strings.HasPrefix(on, "unix:") {
					on = ""
				}
				if level == "WARN" && !strings.Contains(line, "CAN PLAY MTA") {
					t.Errorf("another warning: %s", line)
				}
				if !strings.Contains(line, "chrooted") { // on a machine that has Postfix
					got = append(got, level+" "+on)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("log (-want +got):\n%s\n%s", diff, log.String())
			}
		})
	}
}

type addressed struct {
	*fakeListener
	addr net.Addr
}

func (a addressed) Addr() net.Addr { return a.addr }

// What a user of Postfix has to know about a unix socket is in the log, and in the
// error if there is none.
func TestPostfixHint(t *testing.T) {
	c, path := newUnixClient(t)
	var log lockedBuffer
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	l := addressed{newFakeListener(""), &net.UnixAddr{Name: "/var/spool/postfix/milter/m.sock", Net: "unix"}}
	c.SetListener(l)
	listen(t, c)
	if want := `msg="milter: in main.cf of Postfix this socket is \"unix:milter/m.sock\"" on=unix:/var/spool/postfix/milter/m.sock`; !strings.Contains(log.String(), want) {
		t.Errorf("the log does not contain %s:\n%s", want, log.String())
	}

	c, _ = newUnixClient(t)
	missing := "/var/spool/postfix/" + strings.ReplaceAll(path, "/", "-") // which no Postfix has
	if err := c.SetConnectionSpec("unix:" + filepath.Join(missing, "s")); err != nil {
		t.Fatal(err)
	}
	if err, want := c.Listen(), fmt.Sprintf(`in main.cf of Postfix this socket is "unix:%s/s"`, filepath.Base(missing)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Listen: %v; want it to say %s", err, want)
	}
}

// A panic in an OnListenStarted handler is reported, and the client goes on.
func TestListenStartedPanic(t *testing.T) {
	c := newClient(t)
	reports := make(chan error, 1)
	c.OnError(func(err error) { reports <- err })
	c.OnListenStarted(func(net.Addr) { panic("of the test") })
	told := false
	c.OnListenStarted(func(net.Addr) { told = true })
	run(t, c)
	if err := <-reports; !errors.Is(err, context.ErrPanic) || err.Error() != "client: OnListenStarted: context: handler panicked: of the test" {
		t.Errorf("OnError got %v", err)
	}
	if !told {
		t.Error("the other handler was not called")
	}
	dial(t, c.Addrs()[0]).negotiate(t)
}

// A handler that panics for every connection is reported once a second, with the
// number of those between.
func TestEstablishedPanicsAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := newFake(t, "/run/s")
		var log lockedBuffer
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		reports := 0
		c.OnError(func(error) { reports++ })
		c.OnConnectionEstablished(func(*context.ClientContext) { panic("of the test") })
		go c.Run()
		for range 25 { // in 2.5 s
			l[0].connect().hungUp(t)
			synctest.Wait()
			time.Sleep(100 * time.Millisecond)
		}
		c.Close()
		synctest.Wait()
		if reports != 3 {
			t.Errorf("%d reports, want 3", reports)
		}
		var got []string
		for line := range strings.Lines(log.String()) {
			if _, n, ok := strings.Cut(line, "unreported="); ok && strings.Contains(line, "of the test") {
				got = append(got, strings.TrimSpace(n))
			}
		}
		if diff := cmp.Diff([]string{"0", "9", "9"}, got); diff != "" {
			t.Errorf("unreported panics (-want +got):\n%s", diff)
		}
	})
}
