//go:build unix

package client_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/milter-go/milter/client"
)

func TestParseMode(t *testing.T) {
	for _, test := range []struct {
		mode    string
		want    os.FileMode
		wantErr string
	}{
		{"660", 0o660, ""},
		{"0660", 0o660, ""},
		{"777", 0o777, ""},
		{"0", 0, ""},
		{"20", 0o020, ""},
		{"000", 0, ""},
		{"0000", 0, ""},
		{"", 0, "client: mode should not be empty"},
		{"6600", 0, `client: mode must be at most 3 digits: "6600"`},
		{"00660", 0, `client: mode must be at most 3 digits: "00660"`},
		{"668", 0, `client: mode must be 0-7: "668": "8"`},
		{"0o660", 0, `client: mode must be 0-7: "0o660": "o"`},
		{"-66", 0, `client: mode must be 0-7: "-66": "-"`},
		{"u=rw", 0, `client: mode must be 0-7: "u=rw": "u"`},
	} {
		got, err := client.ParseMode(test.mode)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != test.want || text != test.wantErr {
			t.Errorf("ParseMode(%q) = %#o, %q; want %#o, %q", test.mode, uint32(got), text, uint32(test.want), test.wantErr)
		}
	}
}

// newUnixClient returns a client for a unix socket in a directory of its own.
func newUnixClient(t *testing.T) (c *client.Client, path string) {
	t.Helper()
	c = newClient(t)
	path = filepath.Join(t.TempDir(), "m.sock")
	if err := c.SetConnectionSpec("unix:" + path); err != nil {
		t.Fatal(err)
	}
	return c, path
}

// leaveStale makes a socket that nobody listens on.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
}

// onlyFiles checks that nothing else is left in the directory of path.
func onlyFiles(t *testing.T, path string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), strings.Join(want, " "); got != want {
		t.Errorf("the directory contains %q, want %q", got, want)
	}
}

func TestUnixSocketMode(t *testing.T) {
	for _, mode := range []os.FileMode{0, 0o600, 0o660, 0o666, 0o777} {
		c, path := newUnixClient(t)
		c.UnixSocketMode = mode
		listen(t, c)
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != fs.ModeSocket|mode {
			t.Errorf("mode is %v, want a socket of %v", info.Mode(), mode)
		}
		onlyFiles(t, path, "m.sock")
		c.Close()
		onlyFiles(t, path)
	}

	c, path := newUnixClient(t)
	c.UnixSocketMode = 0o4770
	err := c.Listen()
	if want := fmt.Sprintf(`client: cannot listen on %q: impossible unix socket mode: 04770`, "unix:"+path); err == nil || err.Error() != want {
		t.Errorf("Listen: %v, want %s", err, want)
	}
	onlyFiles(t, path)
}

func TestUnixSocketGroup(t *testing.T) {
	c, path := newUnixClient(t)
	for _, group := range []string{"no-such-group", "4294967295", "-1", "1x"} {
		c.UnixSocketGroup = group
		err := c.Listen()
		if want := fmt.Sprintf(`unknown unix socket group: %q`, group); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("Listen: %v, want ...%s", err, want)
		}
		onlyFiles(t, path)
	}

	// A group that the user of the test may give files to.
	want := os.Getgid()
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if g != want {
			want = g
		}
	}
	if os.Getuid() == 0 {
		want = 12345
	}
	c.UnixSocketGroup = strconv.Itoa(want)
	listen(t, c)
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := int(info.Sys().(*syscall.Stat_t).Gid); got != want {
		t.Errorf("group is %d, want %d", got, want)
	}
	if info.Mode().Perm() != 0o660 {
		t.Errorf("mode is %v, want 0660", info.Mode())
	}

	if name := groupName(t); name != "" {
		c, _ := newUnixClient(t)
		c.UnixSocketGroup = name
		listen(t, c)
	}
}

// groupName returns the name of the first group in the list of groups.
func groupName(t *testing.T) string {
	list, err := os.ReadFile("/etc/group")
	if err != nil || os.Getuid() != 0 {
		t.Logf("a group by name is not tested: %v", err)
		return ""
	}
	name, _, _ := strings.Cut(string(list), ":")
	return name
}

// No moment sees the socket with another mode or group than its final ones, or
// refusing a connection, whatever the umask is.
func TestUnixSocketIsBornReady(t *testing.T) {
	_, path := newUnixClient(t)
	if os.Getuid() != 0 {
		t.Log("the group is not tested: it takes root")
	}
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	stop := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for seen := 0; ; {
			select {
			case <-stop:
				if seen == 0 {
					t.Error("the watcher has never seen the socket")
				}
				return
			default:
			}
			info, err := os.Lstat(path)
			if err != nil {
				continue
			}
			seen++
			if info.Mode() != fs.ModeSocket|0o620 || os.Getuid() == 0 && info.Sys().(*syscall.Stat_t).Gid != 54321 {
				t.Errorf("the socket was seen with mode %v, group %d", info.Mode(), info.Sys().(*syscall.Stat_t).Gid)
				return
			}
			if conn, err := net.Dial("unix", path); err == nil {
				conn.Close()
			} else if _, err := os.Lstat(path); err == nil && errors.Is(err, syscall.ECONNREFUSED) {
				t.Error("the socket was seen before it listened")
				return
			}
		}
	})
	for range 200 {
		c := newClient(t)
		c.UnixSocketMode = 0o620
		if os.Getuid() == 0 {
			c.UnixSocketGroup = "54321"
		}
		if err := errors.Join(c.SetConnectionSpec("unix:"+path), c.Listen()); err != nil {
			t.Error(err)
			break
		}
		runtime.Gosched()
		c.Close()
	}
	close(stop)
	watcher.Wait()
}

func TestUnixSocketDirectory(t *testing.T) {
	c, path := newUnixClient(t)
	missing := filepath.Join(filepath.Dir(path), "missing") + "/"
	if err := c.SetConnectionSpec("unix:" + missing + "s"); err != nil {
		t.Fatal(err)
	}
	err := c.Listen()
	want := fmt.Sprintf(`client: cannot listen on %q: cannot create a file in directory %q: no such file or directory; create it, writable for user %d and searchable for the MTA's user`, "unix:"+missing+"s", missing, os.Geteuid())
	if err == nil || err.Error() != want {
		t.Errorf("Listen: %v, want %s", err, want)
	}
}

// A path that only just fits a socket address leaves no room for the private
// directory; Linux has a way around.
func TestUnixSocketLongPath(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it takes /proc/self/fd")
	}
	c, path := newUnixClient(t)
	t.Chdir(filepath.Dir(path))
	path = strings.Repeat("x", 107)
	if err := c.SetConnectionSpec("unix:" + path); err != nil {
		t.Fatal(err)
	}
	listen(t, c)
	c.Close()
	onlyFiles(t, path)
	leaveStale(t, path)
	c = newClient(t)
	if err := c.SetConnectionSpec("unix:" + path); err != nil {
		t.Fatal(err)
	}
	listen(t, c)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	onlyFiles(t, path, path)
}

// What only root may do fails for others, and leaves nothing behind.
func TestUnixSocketForeignGroup(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("NOT TESTED: root may give a file to any group")
	}
	c, path := newUnixClient(t)
	c.UnixSocketGroup = "0"
	err := c.Listen()
	if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), `cannot give the socket to group "0"`) {
		t.Errorf("Listen: %v, want operation not permitted", err)
	}
	onlyFiles(t, path)

	c, path = newUnixClient(t)
	leaveStale(t, path)
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Listen(); !errors.Is(err, syscall.EADDRINUSE) || !errors.Is(err, syscall.EACCES) {
		t.Errorf("Listen: %v, want address in use, permission denied", err)
	}
	onlyFiles(t, path, "m.sock")
}
