//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package client

import (
	"os"
	"syscall"
)

// maxUnixPath is the longest path of a unix socket, in bytes.
const maxUnixPath = 107

// setBacklog leaves the system's default in place.
func setBacklog(socket syscall.RawConn, backlog int) error { return nil }

// tryLock locks nothing.
func tryLock(f *os.File) bool { return true }
