//go:build !unix

package main

import "os/exec"

// killGroup does nothing: only cmd itself is killed.
func killGroup(*exec.Cmd) {}
