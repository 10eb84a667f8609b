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

// openReserve returns a descriptor that needs nothing but room for it: no file,
// which a changed root directory may not have.
func openReserve() (*os.File, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "reserve"), nil
}

// drop closes the connection that has waited longest at a listening socket. It
// returns false if none waits, or it cannot be accepted.
func drop(socket syscall.RawConn) (dropped bool) {
	err := socket.Control(func(fd uintptr) {
		syscall.ForkLock.RLock() // no child gets the connection
		defer syscall.ForkLock.RUnlock()
		if conn, _, err := unix.Accept(int(fd)); err == nil {
			unix.Close(conn)
			dropped = true
		}
	})
	return err == nil && dropped
}

// ownerOf returns the user that a file belongs to.
func ownerOf(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// tryLock locks a file or directory until it is closed. It returns false while
// somebody else has the lock.
func tryLock(f *os.File) bool {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	return err != unix.EWOULDBLOCK && err != unix.EINTR
}
