//go:build linux

package client

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Somebody puts a file, a link or a live socket in the place of a stale socket
// while that is being removed, and in the place of our own: it stays. 10000 times,
// a tenth of that with -short.
func TestRemoveSwapped(t *testing.T) {
	rounds := 10000
	if testing.Short() {
		rounds /= 10
		t.Logf("-short: %d rounds in place of 10000", rounds)
	}
	dir := t.TempDir()
	path, swap, stale := filepath.Join(dir, "m.sock"), filepath.Join(dir, "swap"), filepath.Join(dir, "stale")
	precious := []string{filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "live")}
	live, err := net.Listen("unix", precious[2])
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	go func() {
		for {
			conn, err := live.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	left, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	if err := errors.Join(os.WriteFile(precious[0], nil, 0o600), os.Symlink(stale, precious[1])); err != nil {
		t.Fatal(err)
	}
	var want []os.FileInfo
	for _, p := range precious {
		info, err := os.Lstat(p)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, info)
	}
	ours, err := os.Lstat(stale)
	if err != nil {
		t.Fatal(err)
	}
	private, err := newPrivateDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer private.remove()

	c := New()
	begin, end := make(chan time.Duration), make(chan error)
	go func() {
		for wait := range begin {
			for start := time.Now(); time.Since(start) < wait; {
				runtime.Gosched()
			}
			end <- os.Rename(swap, path)
		}
	}()
	defer close(begin)
	early, late := 0, 0
	for i := range rounds {
		k := i % len(precious)
		if err := errors.Join(os.Link(stale, path), os.Link(precious[k], swap)); err != nil {
			t.Fatal(err)
		}
		begin <- time.Duration(i*7919%100) * time.Microsecond // what it takes, about
		if i%2 == 0 {
			err = c.vacate(path, private)
		} else {
			err = removeSocket(path, ours)
		}
		switch {
		case err == nil:
			late++
		case errors.Is(err, syscall.EADDRINUSE):
			early++
		default:
			t.Errorf("round %d: %v", i, err)
		}
		if err := <-end; err != nil {
			t.Fatal(err)
		}
		if is, err := os.Lstat(path); err != nil || !os.SameFile(is, want[k]) {
			t.Fatalf("round %d: %s is gone: %v", i, precious[k], err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the swapper was early %d times, late or not noticed %d times", early, late)
	if early == 0 || late == 0 {
		t.Error("the swapper always comes at the same time")
	}
}

// What cannot be put back is not lost, and the error says where it is.
func TestTakeCannotPutBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.sock")
	if err := os.WriteFile(path, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := newPrivateDir(path)
	if err != nil {
		t.Fatal(err)
	}
	fault := errors.New("must stay")
	err = dir.take(path, func(taken, _ string) error {
		if err := os.WriteFile(path, []byte("second"), 0o600); err != nil {
			t.Error(err)
		}
		return fault
	})
	dir.remove()
	old := dir.file("old")
	if want := `must stay; it was moved to "` + old + `" and cannot be put back: file exists`; !errors.Is(err, fault) || err.Error() != want {
		t.Errorf("take: %v, want %s", err, want)
	}
	for file, want := range map[string]string{old: "first", path: "second"} {
		if got, err := os.ReadFile(file); string(got) != want {
			t.Errorf("%s is %q, %v; want %q", file, got, err, want)
		}
	}
}

// A system that knows no rename without replacing does its best.
func TestRenameIfFree(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := errors.Join(os.WriteFile(from, []byte("ours"), 0o600), os.Symlink("nowhere", to)); err != nil {
		t.Fatal(err)
	}
	if err := renameIfFree(from, to); !errors.Is(err, os.ErrExist) {
		t.Errorf("renameIfFree to a link: %v, want ErrExist", err)
	}
	if err := errors.Join(os.Remove(to), renameIfFree(from, to)); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(to); string(got) != "ours" {
		t.Errorf("after renameIfFree: %q, %v", got, err)
	}
}
