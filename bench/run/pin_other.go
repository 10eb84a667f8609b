//go:build !linux

package run

import "os/exec"

// CanPin reports whether filter and generator can have a processor each.
func CanPin() bool { return false }

const (
	generatorCPU = -1
	filterCPU    = -1
)

// startOn starts a process; here it cannot be bound to a processor.
func startOn(cmd *exec.Cmd, _ int) error { return cmd.Start() }
