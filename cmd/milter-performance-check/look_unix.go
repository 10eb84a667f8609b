//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package main

import (
	"io"

	"golang.org/x/sys/unix"
)

// readWithoutWaiting reads what is there. The error is io.EOF at the end.
func readWithoutWaiting(fd uintptr, p []byte) (n int, err error) {
	n, err = unix.Read(int(fd), p)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return 0, nil
	case err == nil && n == 0:
		return 0, io.EOF
	}
	return n, err
}
