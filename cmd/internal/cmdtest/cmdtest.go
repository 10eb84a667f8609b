// Package cmdtest is what the tests of the commands share: golden files, milters
// that send what a test tells them to, places where none listens, and the
// commands as processes.
package cmdtest

import (
	"flag"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Golden compares got with the file called name in testdata.
func Golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		Must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	Must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// Must ends the test if err is not nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A Nowhere is a place where no milter listens.
type Nowhere struct {
	Name string
	Spec string
	Want string // what a command says of it
}

// Nowheres returns one of each kind.
func Nowheres(t *testing.T) []Nowhere {
	t.Helper()
	dir := t.TempDir()
	none, dead := filepath.Join(dir, "none"), filepath.Join(dir, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	Must(t, err)
	l.SetUnlinkOnClose(false)
	Must(t, l.Close())
	port, err := net.Listen("tcp4", "127.0.0.1:0")
	Must(t, err)
	closed := client.SpecOf(port.Addr())
	Must(t, port.Close())
	return []Nowhere{
		{"no file", none, "failed to connect to unix:" + none + ": no such file or directory"},
		{"dead socket", "unix:" + dead, "failed to connect to unix:" + dead + ": connection refused"},
		{"closed port", closed, "failed to connect to " + closed + ": connection refused"},
	}
}
