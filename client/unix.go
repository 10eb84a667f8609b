package client

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ParseMode reads the mode of a unix socket: one to three octal digits, which a 0
// may precede, such as "660" or "0660".
func ParseMode(mode string) (os.FileMode, error) {
	digits := mode
	if len(digits) == 4 {
		digits = strings.TrimPrefix(digits, "0")
	}
	if digits == "" {
		return 0, errors.New("client: mode should not be empty")
	}
	var m os.FileMode
	for _, r := range digits {
		if r < '0' || r > '7' {
			return 0, fmt.Errorf("client: mode must be 0-7: %q: %q", mode, string(r))
		}
		m = m<<3 | os.FileMode(r-'0')
	}
	if len(digits) > 3 {
		return 0, fmt.Errorf("client: mode must be at most 3 digits: %q", mode)
	}
	return m, nil
}

// parseGroup returns the number of a group given by name or number, -1 for none.
func parseGroup(group string) (gid int, err error) {
	if group == "" {
		return -1, nil
	}
	number := group
	if g, err := user.LookupGroup(group); err == nil {
		number = g.Gid
	}
	// The largest number is the -1 of chown(2).
	id, err := strconv.ParseUint(number, 10, 32)
	if err != nil || id == 1<<32-1 {
		return 0, fmt.Errorf("unknown unix socket group: %q", group)
	}
	return int(id), nil
}

// listenUnix makes a unix socket at path. It is bound in a private directory
// beside path, gets its group and mode there, listens, and only then appears at
// path by a hard link. So nobody ever sees it at path with another mode, or
// refusing connections. The alternative, umask(2), would be one for the whole
// process: every file that another goroutine creates at that moment would have
// it, too.
func (c *Client) listenUnix(path string) (_ *listener, err error) {
	if c.UnixSocketMode&^0o777 != 0 {
		return nil, fmt.Errorf("impossible unix socket mode: %#o", uint32(c.UnixSocketMode))
	}
	gid, err := parseGroup(c.UnixSocketGroup)
	if err != nil {
		return nil, err
	}
	dir, err := newPrivateDir(path)
	if err != nil {
		return nil, err
	}
	defer dir.remove()

	var config net.ListenConfig
	bound, err := config.Listen(c.stop, "unix", dir.socket("s"))
	if err != nil {
		return nil, shorten(err)
	}
	// The name that package net knows is gone soon. It must not remove what may
	// have that name then.
	bound.(*net.UnixListener).SetUnlinkOnClose(false)
	defer func() {
		if err != nil {
			bound.Close()
		}
	}()
	inner := dir.file("s")
	if gid >= 0 {
		if err := os.Lchown(inner, -1, gid); err != nil {
			return nil, fmt.Errorf("cannot give the socket to group %q: %w", c.UnixSocketGroup, shorten(err))
		}
	}
	if err := os.Chmod(inner, c.UnixSocketMode); err != nil {
		return nil, fmt.Errorf("cannot give the socket mode %#o: %w", uint32(c.UnixSocketMode), shorten(err))
	}
	if err := c.setBacklog(bound); err != nil {
		return nil, err
	}
	l := &listener{Listener: bound}
	if l.file, err = os.Lstat(inner); err != nil {
		return nil, shorten(err)
	}
	// The process may change its directory before it closes the socket.
	if l.path, err = filepath.Abs(path); err != nil {
		return nil, shorten(err)
	}
	l.addr = &net.UnixAddr{Name: l.path, Net: "unix"}
	if !c.RemoveUnixSocketOnClose {
		l.path = ""
	}
	defer c.lockDirectory(filepath.Dir(path))()
	if err := c.vacate(path); err != nil {
		return nil, err
	}
	if err := publish(inner, path, os.Link); err != nil {
		return nil, err
	}
	return l, nil
}

// vacate makes room for a socket at path: it removes a socket that nobody listens
// on. An error says that something is there that must stay.
func (c *Client) vacate(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return shorten(err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%w: %q is %s, not a socket", syscall.EADDRINUSE, path, kindOf(info.Mode()))
	case !c.RemoveUnixSocketOnCreate:
		return fmt.Errorf("%w: %q exists", syscall.EADDRINUSE, path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("%w: somebody listens on %q", syscall.EADDRINUSE, path)
	case !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: somebody may listen on %q: %w", syscall.EADDRINUSE, path, shorten(err))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the old socket %q: %w", path, shorten(err))
	}
	return nil
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

// publish moves a socket from the private directory to path, where nothing may
// be. A hard link does not replace anything, as a rename would. Where link fails
// for another reason (file systems without hard links) a rename has to do.
func publish(inner, path string, link func(from, to string) error) error {
	err := link(inner, path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		if _, statErr := os.Lstat(path); errors.Is(statErr, fs.ErrNotExist) {
			err = os.Rename(inner, path)
		}
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
// where a socket is to appear. It is removed with what is in it.
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
		return nil, fmt.Errorf("cannot create a file in directory %q: %w", parent, shorten(err))
	}
	d := &privateDir{path: path, short: path}
	if excess := len(d.socket("s")) - maxUnixPath; excess > 0 {
		if runtime.GOOS != "linux" {
			d.remove()
			return nil, fmt.Errorf("path is %d bytes too long", excess)
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

func (d *privateDir) remove() {
	if d.open != nil {
		d.open.Close()
	}
	os.RemoveAll(d.path)
}

// shorten takes the operation and the path off an error of package os, and the
// addresses off one of package net, where our own text says what was tried.
func shorten(err error) error {
	switch e := err.(type) {
	case *net.OpError:
		return e.Err
	case *fs.PathError:
		return e.Err
	case *os.LinkError:
		return e.Err
	}
	return err
}
