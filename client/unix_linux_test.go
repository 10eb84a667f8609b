package client_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/milter-go/milter/client"
)

// watch returns what has happened in a directory since the call, other than to
// files whose names begin with a dot.
func watch(t *testing.T, dir string) (events func() []string) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	names := map[uint32]string{
		unix.IN_CREATE: "create", unix.IN_ATTRIB: "change attributes of", unix.IN_DELETE: "delete",
		unix.IN_MOVED_FROM: "move", unix.IN_MOVED_TO: "move to",
	}
	mask := uint32(0)
	for bit := range names {
		mask |= bit
	}
	if _, err := unix.InotifyAddWatch(fd, dir, mask); err != nil {
		t.Fatal(err)
	}
	return func() (events []string) {
		t.Helper()
		buf := make([]byte, 64<<10)
		for {
			n, err := unix.Read(fd, buf)
			if errors.Is(err, unix.EAGAIN) {
				return events
			}
			if err != nil {
				t.Fatal(err)
			}
			for b := buf[:n]; len(b) > 0; {
				mask, size := binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[12:])
				name := string(bytes.TrimRight(b[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+size], "\x00"))
				b = b[unix.SizeofInotifyEvent+size:]
				if !strings.HasPrefix(name, ".") {
					events = append(events, names[mask&^unix.IN_ISDIR]+" "+name)
				}
			}
		}
	}
}

// The system's own record of the directory says that the socket appears in one
// step, with its mode and group, and that nothing about it changes afterwards:
// whatever the umask is there was never a wider mode. Before that it is in a
// directory that nobody else can enter.
func TestUnixSocketIsNeverWider(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o777} {
		for _, mode := range []os.FileMode{0o600, 0o660, 0o666} {
			_, path := newUnixClient(t)
			events := watch(t, filepath.Dir(path))
			c := newClient(t)
			c.UnixSocketMode = mode
			if os.Getuid() == 0 {
				c.UnixSocketGroup = "54321"
			}
			if err := c.SetConnectionSpec("unix:" + path); err != nil {
				t.Fatal(err)
			}
			old := syscall.Umask(umask)
			err := c.Listen()
			syscall.Umask(old)
			if err != nil {
				if umask == 0o777 && os.Getuid() != 0 {
					continue // the private directory is not ours to enter
				}
				t.Fatal(err)
			}
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"create m.sock"}, events()); diff != "" {
				t.Errorf("umask %#o: events of Listen (-want +got):\n%s", umask, diff)
			}
			if info.Mode() != fs.ModeSocket|mode {
				t.Errorf("umask %#o: mode is %v, want %v", umask, info.Mode(), mode)
			}
			c.Close()
			onlyFiles(t, path)
		}
	}
}

// The private directory lets nobody in, from its birth on.
func TestUnixSocketPrivateDirectory(t *testing.T) {
	c, path := newUnixClient(t)
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil { // Listen waits when all is made
		t.Fatal(err)
	}
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	result := make(chan error, 1)
	go func() { result <- c.Listen() }()
	var private []string
	eventually(t, "there is a private directory", func() bool {
		private, _ = filepath.Glob(filepath.Join(filepath.Dir(path), ".m.sock-*"))
		return len(private) > 0
	})
	info, err := os.Lstat(private[0])
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("the mode of the private directory is %v, want 0700", info.Mode())
	}
	c.Close()
	if err := <-result; !errors.Is(err, client.ErrClosed) {
		t.Errorf("Listen: %v", err)
	}
}

// Somebody puts something in the place of a stale socket while it is being
// removed, and in the place of our own while that is: it stays, whatever it is.
// TestRemoveSwapped does a part of it more often.
func TestUnixSocketSwapped(t *testing.T) {
	const rounds = 500
	_, path := newUnixClient(t)
	precious := path + ".precious"
	var listener net.Listener
	kinds := []func() error{
		func() error { return os.WriteFile(precious, []byte("precious"), 0o600) },
		func() error { return os.Symlink("/etc/passwd", precious) },
		func() (err error) {
			if listener, err = net.Listen("unix", precious); err == nil {
				listener.(*net.UnixListener).SetUnlinkOnClose(false)
			}
			return err
		},
	}
	created := 0
	for i := range rounds {
		leaveStale(t, path)
		if err := kinds[i%len(kinds)](); err != nil {
			t.Fatal(err)
		}
		before, err := os.Lstat(precious)
		if err != nil {
			t.Fatal(err)
		}
		c := client.New()
		c.Logger = quiet
		if err := c.SetConnectionSpec("unix:" + path); err != nil {
			t.Fatal(err)
		}
		var swapper sync.WaitGroup
		begin := make(chan bool)
		swapper.Go(func() {
			<-begin
			// Anywhere in what Listen and Close take, about 300 µs.
			for end := time.Now().Add(time.Duration(i*7919%300) * time.Microsecond); time.Now().Before(end); {
				runtime.Gosched()
			}
			if err := os.Rename(precious, path); err != nil {
				t.Error(err)
			}
		})
		close(begin)
		if err := c.Listen(); err == nil {
			created++
		} else if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("Listen: %v", err)
		}
		c.Close()
		swapper.Wait()
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
			t.Fatalf("round %d: what was put there is gone: %v", i, err)
		}
		if listener != nil {
			listener.Close()
			listener = nil
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	onlyFiles(t, path)
	t.Logf("%d of %d times the socket was created", created, rounds)
	if created == 0 || created == rounds {
		t.Error("the swapper always comes at the same time")
	}
}

// A child process gets none of the client's descriptors, whatever the client is
// doing.
func TestCloseOnExec(t *testing.T) {
	c := newClient(t)
	dir := t.TempDir()
	t.Chdir(dir)
	path := strings.Repeat("x", 100) // so long that it takes a descriptor of the directory, too
	if err := c.AddConnectionSpec("unix:" + path); err != nil {
		t.Fatal(err)
	}
	stop := make(chan bool)
	var others sync.WaitGroup
	defer others.Wait()
	defer close(stop)
	others.Go(func() { // what is open for a moment only
		for {
			select {
			case <-stop:
				return
			default:
			}
			other := newClient(t)
			if err := errors.Join(other.SetConnectionSpec("unix:"+path+".o"), other.Listen()); err != nil {
				t.Error(err)
			}
			other.Close()
		}
	})
	c.MaxConnections, c.RefuseAtLimit = 2, true
	run(t, c)
	// The whole path, in Addrs, is too long to connect to.
	for _, addr := range []net.Addr{&net.UnixAddr{Name: path, Net: "unix"}, c.Addrs()[0]} {
		dial(t, addr).negotiate(t)
		m := dial(t, addr) // to be refused
		if _, err := m.Write(offer); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		out, err := exec.Command("/bin/ls", "-l", "/proc/self/fd").Output()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(out, []byte("socket:")) || bytes.Contains(out, []byte(dir)) {
			t.Fatalf("a child has descriptors of ours:\n%s", out)
		}
	}
}
