package run

import (
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// CanPin reports whether filter and generator can have a processor each.
func CanPin() bool { return runtime.NumCPU() >= 2 }

// The processors of the two, when they are pinned.
const (
	generatorCPU = 0
	filterCPU    = 1
)

// startOn starts a process that runs on one processor only. A process takes the
// binding of the thread that starts it.
func startOn(cmd *exec.Cmd, cpu int) error {
	if cpu < 0 {
		return cmd.Start()
	}
	runtime.LockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err := cmd.Start()
	if unix.SchedSetaffinity(0, &before) == nil {
		runtime.UnlockOSThread()
	} // else the thread ends with its goroutine
	return err
}
