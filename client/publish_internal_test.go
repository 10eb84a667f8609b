package client

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A socket replaces nothing that has appeared in its place, also on a file system
// without hard links, where a rename has to do.
func TestPublish(t *testing.T) {
	noLinks := func(from, to string) error { return &os.LinkError{Op: "link", Old: from, New: to, Err: syscall.EPERM} }
	for _, test := range []struct {
		name string
		link func(from, to string) error
		is   string // what is there
		want error
	}{
		{"free", os.Link, "", nil},
		{"taken", os.Link, "somebody's", syscall.EADDRINUSE},
		{"free, no links", noLinks, "", nil},
		{"taken, no links", noLinks, "somebody's", syscall.EADDRINUSE},
	} {
		t.Run(test.name, func(t *testing.T) {
			inner, path := filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "m.sock")
			if err := os.WriteFile(inner, []byte("ours"), 0o600); err != nil {
				t.Fatal(err)
			}
			want := "ours"
			if test.is != "" {
				want = test.is
				if err := os.WriteFile(path, []byte(test.is), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := publish(inner, path, test.link); !errors.Is(err, test.want) {
				t.Errorf("publish: %v, want %v", err, test.want)
			}
			if got, err := os.ReadFile(path); string(got) != want {
				t.Errorf("at the path is %q, %v; want %q", got, err, want)
			}
		})
	}
}
