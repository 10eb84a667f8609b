package client

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// vacate makes room for a socket at path: it removes a socket that is ours or
// root's and that nobody listens on. An error says that something is there that
// must stay.
//
// What is at path may be another thing a moment later. So a stale socket is moved
// to the private directory first, where nobody else can get at it, and judged
// again there; what must stay is put back.
func (c *Client) vacate(path string, dir *privateDir) error {
	if !c.RemoveUnixSocketOnCreate {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %q exists", syscall.EADDRINUSE, path)
		}
		return nil
	}
	err := checkStale(path, path, path)
	if err == nil {
		err = dir.take(path, func(taken, address string) error { return checkStale(taken, address, path) })
		if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("cannot remove the old socket %q: %w", path, shorten(err))
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// checkStale returns nil if a file is a socket that may be removed. The address is
// the file's as a socket address, path what it is called in errors.
func checkStale(file, address, path string) error {
	info, err := os.Lstat(file)
	switch {
	case err != nil:
		return shorten(err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%w: %q is %s, not a socket", syscall.EADDRINUSE, path, kindOf(info.Mode()))
	}
	if owner := ownerOf(info); owner != os.Geteuid() && owner != 0 {
		return fmt.Errorf("%w: %q belongs to user %d; remove it if nobody needs it", syscall.EADDRINUSE, path, owner)
	}
	conn, err := net.DialTimeout("unix", address, time.Second)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("%w: somebody listens on %q", syscall.EADDRINUSE, path)
	case !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: somebody may listen on %q: %w", syscall.EADDRINUSE, path, shorten(err))
	}
	return nil
}

// removeSocket removes the socket at path if it is the one that file says.
func removeSocket(path string, file os.FileInfo) error {
	same := func(path string) error {
		info, err := os.Lstat(path)
		if err == nil && !os.SameFile(info, file) {
			err = fs.ErrNotExist
		}
		return err
	}
	err := same(path)
	if err == nil {
		var dir *privateDir
		if dir, err = newPrivateDir(path); err == nil {
			err = dir.take(path, func(taken, _ string) error { return same(taken) })
			dir.remove()
		} else { // the file system is full, say
			err = os.Remove(path)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// lockDirectory keeps others that run this function out, so that of several
// milters that find the same old socket only one takes its place. It is
// content with a try of a second: somebody may hold the lock for another reason,
// such as to keep systemd-tmpfiles(8) from cleaning up.
func (c *Client) lockDirectory(dir string) (unlock func()) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}
	}
	for end := time.Now().Add(time.Second); !tryLock(f) && time.Now().Before(end) && c.stop.Err() == nil; {
		time.Sleep(time.Millisecond)
	}
	return func() { f.Close() }
}

func kindOf(mode os.FileMode) string {
	switch mode.Type() {
	case 0:
		return "a regular file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	}
	return "a special file"
}

// renameIfFree moves a file to a place where nothing was a moment ago, which is
// the best that all systems can do.
func renameIfFree(from, to string) error {
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

// publish moves a socket from the private directory to path, where nothing may
// be. A hard link does not replace anything, as a rename would. Where link fails
// for another reason (file systems without hard links) a rename has to do.
func publish(inner, path string, link func(from, to string) error) error {
	err := link(inner, path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = renameNoReplace(inner, path)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w: %q was created a moment ago", syscall.EADDRINUSE, path)
	case err != nil:
		return fmt.Errorf("cannot move the socket to %q: %w", path, shorten(err))
	}
	return nil
}

// A privateDir is a directory that only this user can enter, beside the place
// where a socket is to appear.
type privateDir struct {
	path  string
	short string   // the same in few bytes
	open  *os.File // what short goes through; nil if short is path
}

func newPrivateDir(beside string) (*privateDir, error) {
	parent, base := filepath.Split(beside)
	if parent == "" {
		parent = "."
	}
	path, err := os.MkdirTemp(parent, "."+base+"-")
	if err != nil {
		return nil, fmt.Errorf("cannot create a file in directory %q: %w%s", parent, shorten(err), directoryHint(err, beside))
	}
	d := &privateDir{path: path, short: path}
	if excess := len(d.socket("old")) - maxUnixPath; excess > 0 {
		if runtime.GOOS != "linux" {
			d.remove()
			return nil, fmt.Errorf("path is %d bytes too long; choose a shorter one", excess)
		}
		if d.open, err = os.Open(path); err != nil {
			d.remove()
			return nil, shorten(err)
		}
		d.short = "/proc/self/fd/" + strconv.Itoa(int(d.open.Fd()))
	}
	return d, nil
}

// file returns the path of a file in d.
func (d *privateDir) file(name string) string { return filepath.Join(d.path, name) }

// socket returns the path of a file in d that fits a socket address.
func (d *privateDir) socket(name string) string { return filepath.Join(d.short, name) }

// take moves what is at path into d, and removes it there if check says so, else
// puts it back and returns check's error.
func (d *privateDir) take(path string, check func(taken, address string) error) error {
	taken := d.file("old")
	if err := os.Rename(path, taken); err != nil {
		return err
	}
	err := check(taken, d.socket("old"))
	if err == nil {
		return os.Remove(taken)
	}
	if back := renameNoReplace(taken, path); back != nil {
		return fmt.Errorf("%w; it was moved to %q and cannot be put back: %w", err, taken, shorten(back))
	}
	return err
}

// remove removes d, unless something is in it that could not be put back.
func (d *privateDir) remove() {
	if d.open != nil {
		d.open.Close()
	}
	os.Remove(d.file("s"))
	os.Remove(d.path)
}
