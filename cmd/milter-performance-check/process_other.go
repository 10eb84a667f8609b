//go:build !linux

package main

import (
	"errors"
	"runtime"
)

// A process is the milter's, as the system sees it.
type process struct{}

func openProcess(int) (*process, error) {
	return nil, errors.New("--pid works on Linux only, this is " + runtime.GOOS)
}

func (*process) usage() (usage, error) { return usage{}, errors.ErrUnsupported }
