//go:build unix

package client_test

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// needIPv6 skips the test on a machine that has no ::1.
func needIPv6(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("NOT TESTED: this machine has no ::1: %v", err)
	}
	l.Close()
}

// A session goes through on every kind of socket, and Addrs says where.
func TestListen(t *testing.T) {
	for _, test := range []struct{ name, spec, wantPrefix string }{
		{"inet", "inet:0@127.0.0.1", "inet:P@[127.0.0.1]"},
		{"inet in brackets", "inet:0@[127.0.0.1]", "inet:P@[127.0.0.1]"},
		{"inet by name", "inet:0@localhost", "inet:P@[127.0.0.1]"},
		{"inet, any address", "inet:0", "inet:P@[0.0.0.0]"},
		{"inet6", "inet6:0@::1", "inet6:P@[::1]"},
		{"inet6 in brackets", "inet6:0@[::1]", "inet6:P@[::1]"},
		{"inet6, any address", "inet6:0", "inet6:P@[::]"},
		{"unix", "unix:DIR/s", "unix:DIR/s"},
		{"local", "local:DIR/s", "unix:DIR/s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if strings.HasPrefix(test.spec, "inet6") {
				needIPv6(t)
			}
			dir := t.TempDir()
			c := newClient(t)
			if err := c.SetConnectionSpec(strings.Replace(test.spec, "DIR", dir, 1)); err != nil {
				t.Fatal(err)
			}
			run(t, c)
			addr := c.Addrs()[0]
			want := strings.Replace(test.wantPrefix, "DIR", dir, 1)
			if tcp, ok := addr.(*net.TCPAddr); ok {
				want = strings.Replace(want, "P", strconv.Itoa(tcp.Port), 1)
			}
			if got := client.SpecOf(addr); got != want {
				t.Errorf("listens on %s, want %s", got, want)
			}
			dial(t, addr).negotiate(t)
		})
	}
}

// An inet6 socket for any address leaves the same port of IPv4 to others.
func TestListenIPv6Only(t *testing.T) {
	needIPv6(t)
	c := newClient(t)
	if err := c.SetConnectionSpec("inet6:0"); err != nil {
		t.Fatal(err)
	}
	port := listen(t, c).(*net.TCPAddr).Port
	if conn, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
		conn.Close()
		t.Error("the inet6 socket takes IPv4 connections")
	}
	other := newClient(t)
	if err := other.SetConnectionSpec("inet:" + strconv.Itoa(port)); err != nil {
		t.Fatal(err)
	}
	listen(t, other)
}

func TestListenErrors(t *testing.T) {
	// No label of a name is longer than 63 bytes, so no resolver is asked.
	noName := strings.Repeat("x", 64) + ".example"
	taken := newClient(t)
	used := client.SpecOf(listen(t, taken))
	for _, test := range []struct {
		spec string
		want string
		is   error
	}{
		{used, `client: cannot listen on ` + strconv.Quote(used) + `: bind: address already in use`, syscall.EADDRINUSE},
		{"inet:0@192.0.2.77", `client: cannot listen on "inet:0@192.0.2.77": bind: cannot assign requested address`, syscall.EADDRNOTAVAIL},
		{"inet:0@" + noName, fmt.Sprintf(`client: cannot listen on "inet:0@%s": invalid host address: %q: lookup %[1]s: no such host`, noName, noName), nil},
		{"inet6:0@[fe80::1%no-such-zone]", `client: cannot listen on "inet6:0@[fe80::1%no-such-zone]": `, nil},
	} {
		c := newClient(t)
		c.OnListenStarted(func(addr net.Addr) { t.Errorf("OnListenStarted(%v) although Listen failed", addr) })
		path := filepath.Join(t.TempDir(), "s")
		// The good one is taken back.
		if err := errors.Join(c.SetConnectionSpec("unix:"+path), c.AddConnectionSpec(test.spec)); err != nil {
			t.Fatal(err)
		}
		for _, listen := range []func() error{c.Listen, c.Run} {
			err := listen()
			if err == nil || !strings.HasPrefix(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v, want %s", err, test.want)
			}
		}
		if addrs := c.Addrs(); addrs != nil {
			t.Errorf("listens on %v although Listen failed", addrs)
		}
		onlyFiles(t, path)

		// It can be tried again.
		if err := c.SetConnectionSpec("unix:" + path); err != nil {
			t.Error(err)
		}
	}
}

func TestListenAndServe(t *testing.T) {
	c := newClient(t)
	if err := c.ListenAndServe("tcp:1"); err == nil || !strings.Contains(err.Error(), "protocol must be") {
		t.Errorf("ListenAndServe of a bad spec: %v", err)
	}
	addrs := make(chan net.Addr, 1)
	c.OnListenStarted(func(addr net.Addr) { addrs <- addr })
	done := make(chan error, 1)
	go func() { done <- c.ListenAndServe("inet:0@127.0.0.1") }()
	dial(t, <-addrs).negotiate(t)
	if err := c.Run(); !errors.Is(err, client.ErrRunning) {
		t.Errorf("a second Run: %v, want ErrRunning", err)
	}
	c.Close()
	if err := <-done; err != nil {
		t.Errorf("ListenAndServe: %v", err)
	}
}

// Without spec and listener there is the default, here seen by the place being
// taken or free.
func TestListenDefault(t *testing.T) {
	c := newClient(t)
	if err := c.SetConnectionSpec(""); err != nil {
		t.Fatal(err)
	}
	err := c.Listen()
	defer c.Close()
	switch {
	case err == nil:
		if got := client.SpecOf(c.Addrs()[0]); got != client.DefaultConnectionSpec {
			t.Errorf("listens on %s, want %s", got, client.DefaultConnectionSpec)
		}
	case !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), client.DefaultConnectionSpec):
		t.Error(err)
	}
}

// Several specs and two given listeners are served together.
func TestListenSeveral(t *testing.T) {
	c := newClient(t)
	path := filepath.Join(t.TempDir(), "s")
	if err := errors.Join(c.AddConnectionSpec("unix:"+path), c.AddConnectionSpec("inet:0@127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	replaced, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.SetListener(replaced)
	var given [2]net.Listener
	for i := range given {
		given[i], err = net.Listen("unix", filepath.Join(t.TempDir(), "given"))
		if err != nil {
			t.Fatal(err)
		}
	}
	c.SetListener(given[0])
	c.AddListener(given[1])
	if c.Listener() != given[0] {
		t.Errorf("Listener() is %v, want the first one that was given and not replaced", c.Listener())
	}
	var started []string
	c.OnListenStarted(func(addr net.Addr) { started = append(started, "1 "+client.SpecOf(addr)) })
	c.OnListenStarted(func(addr net.Addr) { started = append(started, "2 "+client.SpecOf(addr)) })
	run(t, c)

	var want []string
	for _, addr := range c.Addrs() {
		want = append(want, "1 "+client.SpecOf(addr), "2 "+client.SpecOf(addr))
		dial(t, addr).negotiate(t)
	}
	if diff := cmp.Diff(want, started); diff != "" {
		t.Errorf("OnListenStarted (-want +got):\n%s", diff)
	}
	if len(want) != 10 || c.Addrs()[1].String() != path || c.Addrs()[4].String() != given[1].Addr().String() {
		t.Errorf("listens on %v", c.Addrs())
	}
	if err := c.Listen(); err != nil || len(started) != 10 {
		t.Errorf("a second Listen: %v, %d calls of OnListenStarted", err, len(started))
	}
	if err := replaced.Close(); err != nil {
		t.Errorf("the listener that was replaced: %v", err)
	}
	c.Close()
	for _, l := range given {
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a given listener is open after Close: %v", err)
		}
	}
}

// The file of a given socket is the giver's.
func TestListenGivenUnixSocket(t *testing.T) {
	c := newClient(t)
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := c.SetConnectionSpec(""); err != nil {
		t.Fatal(err)
	}
	c.SetListener(l)
	c.UnixSocketGroup = "no such group"
	run(t, c)
	if n := len(c.Addrs()); n != 1 {
		t.Errorf("%d sockets; with a given one the default is not wanted", n)
	}
	dial(t, c.Addrs()[0]).negotiate(t)
	c.Close()
	onlyFiles(t, path, "s")
}

// The system keeps as many connections waiting as was asked for, and one more.
func TestListenBacklog(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("NOT TESTED: only Linux refuses a connection to a full unix socket at once, and after exactly so many")
	}
	c, _ := newUnixClient(t)
	c.ListenBacklog = 3
	addr := listen(t, c)
	for range 4 {
		dial(t, addr)
	}
	if conn, err := net.Dial("unix", addr.String()); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("the connection above the backlog: %v, %v; want EAGAIN", conn, err)
	}
	c = newClient(t)
	c.ListenBacklog = 3
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		ctx.OnHelo(func(*context.ClientContext, string) protocol.Status { return protocol.StatusContinue })
	})
	run(t, c)
	dial(t, c.Addrs()[0]).negotiate(t)
}

func TestAddListenerAfterClose(t *testing.T) {
	c := client.New()
	if l := c.Listener(); l != nil {
		t.Errorf("Listener() of a new client is %v", l)
	}
	c.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.AddListener(l)
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}
