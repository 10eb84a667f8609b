//go:build !linux

package client

// renameNoReplace moves a file to a place where nothing is.
func renameNoReplace(from, to string) error { return renameIfFree(from, to) }
