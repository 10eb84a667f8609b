package client

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
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
	if err := c.vacate(path, dir); err != nil {
		return nil, err
	}
	if err := publish(inner, path, os.Link); err != nil {
		return nil, err
	}
	return l, nil
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
