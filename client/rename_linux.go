package client

import (
	"errors"

	"golang.org/x/sys/unix"
)

// renameNoReplace moves a file to a place where nothing is.
func renameNoReplace(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) { // an old system, or NFS
		return renameIfFree(from, to)
	}
	return err
}
