//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package client

import (
	"errors"
	"os"
	"syscall"
)

// maxUnixPath is the longest path of a unix socket, in bytes.
const maxUnixPath = 107

// setBacklog leaves the system's default in place.
func setBacklog(socket syscall.RawConn, backlog int) error { return nil }

// openReserve is for systems with a limit that a process may reach.
func openReserve() (*os.File, error) { return nil, errors.ErrUnsupported }

// drop does nothing, as there is no reserve.
func drop(socket syscall.RawConn) bool { return false }

// ownerOf takes every file for ours.
func ownerOf(info os.FileInfo) int { return os.Geteuid() }

// tryLock locks nothing.
func tryLock(f *os.File) bool { return true }
