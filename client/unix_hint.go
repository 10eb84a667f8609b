package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// postfixQueue is the queue directory of Postfix, which is also the root directory
// of those of its processes that run chrooted (postconf(5), queue_directory).
const postfixQueue = "/var/spool/postfix"

// postfixHint says how Postfix finds a unix socket, given its queue directory; ""
// on a machine without Postfix.
func postfixHint(path, queue string) string {
	if inside, ok := strings.CutPrefix(path, queue+"/"); ok {
		// Postfix works in its queue directory, chrooted or not.
		return fmt.Sprintf("in main.cf of Postfix this socket is %q", "unix:"+inside)
	}
	if _, err := os.Stat(queue); err != nil {
		return ""
	}
	return fmt.Sprintf("a Postfix that runs chrooted (master.cf) sees only sockets below %q", queue)
}

// passHint says that no other user can get to path; "" if some may.
func passHint(path string) string {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && info.Mode().Perm()&0o011 == 0 {
			return fmt.Sprintf("only user %d and root can pass directory %q: an MTA of another user cannot connect", ownerOf(info), dir)
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// directoryHint says what to do when no file can be made beside path.
func directoryHint(err error, path string) string {
	hint := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint = fmt.Sprintf("; create it, writable for user %d and searchable for the MTA's user", os.Geteuid())
	case errors.Is(err, syscall.ENOTDIR):
		hint = "; a part of the path is not a directory"
	case errors.Is(err, fs.ErrPermission):
		hint = fmt.Sprintf("; user %d needs the right to write and search there", os.Geteuid())
	case errors.Is(err, syscall.EROFS):
		hint = "; choose a directory that is not read-only, such as one in /run"
	}
	if strings.HasPrefix(path, postfixQueue+"/") {
		hint += "; " + postfixHint(path, postfixQueue)
	}
	return hint
}
