package client

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestHints(t *testing.T) {
	open := t.TempDir()
	private := filepath.Join(open, "private")
	if err := os.MkdirAll(private+"/below", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	user := os.Geteuid()
	for _, test := range []struct {
		name string
		got  string
		want string
	}{
		{"below the queue directory", postfixHint(open+"/milter/m.sock", open), `in main.cf of Postfix this socket is "unix:milter/m.sock"`},
		{"below it, without Postfix", postfixHint(open+"/gone/m.sock", open+"/gone"), `in main.cf of Postfix this socket is "unix:m.sock"`},
		{"beside it", postfixHint(open+"x/m.sock", open), fmt.Sprintf("a Postfix that runs chrooted (master.cf) sees only sockets below %q", open)},
		{"no Postfix", postfixHint("/run/m.sock", open+"/gone"), ""},
		{"everybody can pass", passHint("/usr/m.sock"), ""},
		{"only we can pass", passHint(private + "/m.sock"), fmt.Sprintf("only user %d and root can pass directory %q: an MTA of another user cannot connect", user, private)},
		{"only we can pass above", passHint(private + "/below/m.sock"), fmt.Sprintf("only user %d and root can pass directory %q: an MTA of another user cannot connect", user, private)},
		{"missing", directoryHint(syscall.ENOENT, "/x/s"), fmt.Sprintf("; create it, writable for user %d and searchable for the MTA's user", user)},
		{"missing below Postfix", directoryHint(syscall.ENOENT, "/var/spool/postfix/x/s"),
			fmt.Sprintf(`; create it, writable for user %d and searchable for the MTA's user; in main.cf of Postfix this socket is "unix:x/s"`, user)},
		{"a file", directoryHint(syscall.ENOTDIR, "/x/s"), "; a part of the path is not a directory"},
		{"no right", directoryHint(syscall.EACCES, "/x/s"), fmt.Sprintf("; user %d needs the right to write and search there", user)},
		{"read-only", directoryHint(syscall.EROFS, "/x/s"), "; choose a directory that is not read-only, such as one in /run"},
		{"another fault", directoryHint(syscall.ENOSPC, "/x/s"), ""},
	} {
		if test.got != test.want {
			t.Errorf("%s: %q, want %q", test.name, test.got, test.want)
		}
	}
}
