package client

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// On a file system without hard links a rename has to do, which must not replace
// anything either.
func TestPublishWithoutHardLinks(t *testing.T) {
	noLinks := func(from, to string) error { return &os.LinkError{Op: "link", Old: from, New: to, Err: syscall.EPERM} }
	for _, test := range []struct {
		name string
		to   string // what is there
		want error
	}{
		{"free", "", nil},
		{"taken", "somebody's", syscall.EPERM},
	} {
		t.Run(test.name, func(t *testing.T) {
			inner, path := filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "m.sock")
			if err := os.WriteFile(inner, []byte("ours"), 0o600); err != nil {
				t.Fatal(err)
			}
			want := "ours"
			if test.to != "" {
				want = test.to
				if err := os.WriteFile(path, []byte(test.to), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := publish(inner, path, noLinks); !errors.Is(err, test.want) {
				t.Errorf("publish: %v, want %v", err, test.want)
			}
			if got, err := os.ReadFile(path); string(got) != want {
				t.Errorf("at the path is %q, %v; want %q", got, err, want)
			}
		})
	}
}
