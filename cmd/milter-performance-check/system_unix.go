//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// needFiles makes sure that n files can be open. Go has raised the soft limit to
// the hard one already when the program started (package os), where it could.
func needFiles(n int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) >= uint64(n) {
		return nil // or else opening them will tell
	}
	limit.Cur = limit.Max
	if uint64(limit.Max) < uint64(n) || unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return fmt.Errorf("%d files must be open at once, the limit is %d: raise it (ulimit -Hn) or use fewer sessions", n, limit.Max)
	}
	return nil
}

// ownCPU returns the CPU time of this program.
func ownCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
