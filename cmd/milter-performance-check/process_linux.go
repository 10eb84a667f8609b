package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A process is the milter's, as the system sees it.
type process struct {
	pid   int
	clock int32 // of its CPU time
}

// openProcess finds the process and checks that all of it can be read.
//
// Its CPU time is that of the clock that clock_getcpuclockid(3) returns: it counts
// nanoseconds, and the threads that have ended. /proc/PID/stat has the same in
// hundredths of a second; /proc/PID/task/TID/schedstat has nanoseconds, and loses a
// thread with its end, which a milter with a thread for each connection would thank
// for.
func openProcess(pid int) (*process, error) {
	const cpuClock = 2 // CPUCLOCK_SCHED of a whole process (linux/posix-timers.h)
	p := &process{pid: pid, clock: int32(^pid<<3 | cpuClock)}
	_, err := p.usage()
	return p, err
}

// usage reads what the process has used so far.
func (p *process) usage() (u usage, err error) {
	var cpu unix.Timespec
	if err := unix.ClockGettime(p.clock, &cpu); err != nil {
		return u, fmt.Errorf("process %d: %w", p.pid, noProcess(err))
	}
	u.cpu = time.Duration(cpu.Nano())
	if u.resident, err = p.number("status", "VmRSS:"); err != nil {
		return u, err
	}
	u.resident <<= 10
	if u.reads, err = p.number("io", "syscr:"); err != nil {
		return u, err
	}
	u.writes, err = p.number("io", "syscw:")
	return u, err
}

// number reads the number behind key in a file of /proc/PID.
func (p *process) number(file, key string) (uint64, error) {
	path := fmt.Sprintf("/proc/%d/%s", p.pid, file)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("process %d: %w", p.pid, noProcess(err))
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok {
			return strconv.ParseUint(string(bytes.Fields(rest)[0]), 10, 64)
		}
	}
	return 0, fmt.Errorf("process %d: %s has no %q: it has ended", p.pid, path, key)
}

func noProcess(err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) || errors.Is(err, os.ErrNotExist) {
		return errors.New("there is no such process")
	}
	return err
}
