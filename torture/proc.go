//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	// clockTick is USER_HZ, which is 100 on every Linux that Go runs on.
	clockTick = time.Second / 100
)

func (p *process) file(name string) string { return fmt.Sprintf("/proc/%d/%s", p.pid(), name) }

// descriptors returns how many descriptors the process has open.
func (p *process) descriptors() (int, error) {
	entries, err := os.ReadDir(p.file("fd"))
	return len(entries), err
}

// memory returns a value of /proc/PID/status in bytes: VmRSS, VmHWM (the largest
// VmRSS since resetPeak), VmSize.
func (p *process) memory(name string) (int64, error) {
	text, err := os.ReadFile(p.file("status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n * kib, err
		}
	}
	return 0, fmt.Errorf("no %s in %s", name, p.file("status"))
}

// resetPeak makes VmHWM begin anew (proc(5), clear_refs), and returns VmRSS.
func (p *process) resetPeak() (int64, error) {
	if err := os.WriteFile(p.file("clear_refs"), []byte("5"), 0); err != nil {
		return 0, err
	}
	return p.memory("VmRSS")
}

// cpu returns how much time the process has spent on processors.
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(p.file("stat"))
	if err != nil {
		return 0, err
	}
	// The second field may hold anything, but ends with the last parenthesis.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("odd %s: %q", p.file("stat"), text)
	}
	var ticks int64
	for _, field := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// mibOf formats bytes.
func mibOf(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/float64(mib)) }
