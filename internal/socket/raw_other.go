//go:build !unix

package socket

import "errors"

// Elsewhere package net knows better.
const canReadRaw = false

func readRaw(uintptr, []byte) (int, error)  { return 0, errors.ErrUnsupported }
func writeRaw(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
