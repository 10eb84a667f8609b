//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// killGroup lets cmd run in a process group of its own, and kills the whole group
// where otherwise only cmd would be killed.
func killGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
