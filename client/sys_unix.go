//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package client

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxUnixPath is the longest path of a unix socket, in bytes: sun_path less its
// NUL.
const maxUnixPath = len(unix.RawSockaddrUnix{}.Path) - 1

// setBacklog sets how many connections may wait to be accepted. A second
// listen(2) is the way to do that on a socket that listens already.
func setBacklog(socket syscall.RawConn, backlog int) error {
	var err error
	if controlErr := socket.Control(func(fd uintptr) { err = unix.Listen(int(fd), backlog) }); controlErr != nil {
		return controlErr
	}
	return err
}

// tryLock locks a file or directory until it is closed. It returns false while
// somebody else has the lock.
func tryLock(f *os.File) bool {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	return err != unix.EWOULDBLOCK && err != unix.EINTR
}
