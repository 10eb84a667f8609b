//go:build unix

package client_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/milter-go/milter/client"
)

func TestUnixSocketPlaceIsTaken(t *testing.T) {
	for _, test := range []struct {
		name string
		put  func(t *testing.T, path string)
		want string // in the error; "" if the socket can be created
	}{
		{"nothing", func(*testing.T, string) {}, ""},
		{"stale socket", leaveStale, ""},
		{"live socket", func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, "address already in use: somebody listens on"},
		{"socket of another kind", func(t *testing.T, path string) {
			l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, "address already in use: somebody may listen on"},
		{"somebody else's stale socket", func(t *testing.T, path string) {
			if os.Getuid() != 0 {
				t.Skip("NOT TESTED: only root can give a file to somebody")
			}
			leaveStale(t, path)
			if err := os.Lchown(path, 54321, -1); err != nil {
				t.Fatal(err)
			}
		}, "belongs to user 54321; remove it if nobody needs it"},
		{"regular file", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is a regular file, not a socket"},
		{"directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "is a directory, not a socket"},
		{"symbolic link to a stale socket", func(t *testing.T, path string) {
			leaveStale(t, path+".old")
			if err := os.Symlink(path+".old", path); err != nil {
				t.Fatal(err)
			}
		}, "is a symbolic link, not a socket"},
		{"dangling symbolic link", func(t *testing.T, path string) {
			if err := os.Symlink(path+".gone", path); err != nil {
				t.Fatal(err)
			}
		}, "is a symbolic link, not a socket"},
		{"pipe", func(t *testing.T, path string) {
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is a special file, not a socket"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, path := newUnixClient(t)
			test.put(t, path)
			before, _ := os.Lstat(path)
			err := c.Listen()
			defer c.Close()
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				conn, err := net.Dial("unix", path)
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
				onlyFiles(t, path, "m.sock")
				return
			}
			if err == nil || !errors.Is(err, syscall.EADDRINUSE) ||
				!strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), strconv.Quote("unix:"+path)) {
				t.Errorf("Listen: %v, want %s, and the spec", err, test.want)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("what was there is gone: %v", err)
			}
		})
	}
}

func TestUnixSocketNotRemovedOnCreate(t *testing.T) {
	c, path := newUnixClient(t)
	leaveStale(t, path)
	c.RemoveUnixSocketOnCreate = false
	err := c.Listen()
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), strconv.Quote(path)+" exists") {
		t.Errorf("Listen: %v, want address already in use", err)
	}
	onlyFiles(t, path, "m.sock")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	listen(t, c)
}

// Of many clients that start at once one gets the place of a stale socket. It
// keeps it.
func TestUnixSocketRace(t *testing.T) {
	const rounds, clients = 30, 8
	for range rounds {
		_, path := newUnixClient(t)
		leaveStale(t, path)
		var group sync.WaitGroup
		winners := make(chan *client.Client, clients)
		for range clients {
			c := newClient(t)
			if err := c.SetConnectionSpec("unix:" + path); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			group.Go(func() {
				switch err := c.Listen(); {
				case err == nil:
					winners <- c
				case !errors.Is(err, syscall.EADDRINUSE):
					t.Errorf("Listen: %v, want address already in use", err)
				}
			})
		}
		group.Wait()
		if len(winners) != 1 {
			t.Fatalf("%d clients have got the socket", len(winners))
		}
		onlyFiles(t, path, "m.sock")
		run(t, <-winners)
		dial(t, &net.UnixAddr{Name: path, Net: "unix"}).negotiate(t)
	}
}

func TestUnixSocketRemovedOnClose(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T, c *client.Client, path string)
		want   []string // the files that are left
	}{
		{"ours", func(*testing.T, *client.Client, string) {}, nil},
		{"to be kept", func(t *testing.T, c *client.Client, path string) {}, []string{"m.sock"}},
		{"removed by somebody", func(t *testing.T, c *client.Client, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"replaced by somebody", func(t *testing.T, c *client.Client, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			leaveStale(t, path)
		}, []string{"m.sock"}},
		{"moved away", func(t *testing.T, c *client.Client, path string) {
			if err := os.Rename(path, path+".moved"); err != nil {
				t.Fatal(err)
			}
		}, []string{"m.sock.moved"}},
		{"in another working directory", func(t *testing.T, c *client.Client, path string) { t.Chdir("/") }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, path := newUnixClient(t)
			t.Chdir(filepath.Dir(path))
			if err := c.SetConnectionSpec("unix:m.sock"); err != nil {
				t.Fatal(err)
			}
			c.RemoveUnixSocketOnClose = test.name != "to be kept"
			c.OnError(func(err error) { t.Errorf("OnError: %v", err) })
			if addr := listen(t, c); addr.String() != path {
				t.Errorf("address is %v, want %v", addr, path)
			}
			test.change(t, c, path)
			c.Close()
			onlyFiles(t, path, test.want...)
		})
	}
}

func TestUnixSocketNotRemovable(t *testing.T) {
	c, path := newUnixClient(t)
	errs := make(chan error, 1)
	c.OnError(func(err error) { errs <- err })
	listen(t, c)
	// Even root cannot look for a file below another file.
	dir := filepath.Dir(path)
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Close()
	want := fmt.Sprintf("client: cannot remove unix socket %q: not a directory", path)
	if err := <-errs; err.Error() != want {
		t.Errorf("OnError got %v, want %s", err, want)
	}
}

// Somebody has the lock of the directory: Listen goes on without it after a
// second, and the end of the client ends the wait.
func TestUnixSocketDirectoryLocked(t *testing.T) {
	if runtime.GOOS == "solaris" || runtime.GOOS == "aix" {
		t.Skip("there is no flock(2)")
	}
	c, path := newUnixClient(t)
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	listen(t, c)
	if d := time.Since(start); d < time.Second {
		t.Errorf("Listen has returned after %v, want a second", d)
	}
	c.Close()

	c, path = newUnixClient(t)
	if err := c.SetConnectionSpec("unix:" + filepath.Join(dir.Name(), "m.sock")); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- c.Listen() }()
	for { // until the private directory shows that Listen has begun
		entries, err := os.ReadDir(dir.Name())
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) > 0 {
			break
		}
		runtime.Gosched()
	}
	c.Close()
	if err := <-result; !errors.Is(err, client.ErrClosed) {
		t.Errorf("Listen: %v, want ErrClosed", err)
	}
	onlyFiles(t, path)
}
