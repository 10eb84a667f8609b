//go:build unix

// Package examples_test runs the example programs as somebody would who tries
// them: built, with a socket to listen on, and ended by a signal. What they do to
// a mail is tested next to each.
package examples_test

import (
	"bufio"
	"bytes"
	stdcontext "context"
	"go/build"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

// programs are the examples that listen, with arguments that let the mail pass.
var programs = []struct {
	name      string
	arguments []string
	graceful  bool // lets the mail that is under way end when it is told to
}{
	{"composite", nil, false},
	{"external", []string{"true"}, true},
	{"hello", nil, false},
	{"regexp", []string{"free money"}, false},
	{"reject-empty-body", nil, false},
	{"reject-nil-sender", nil, false},
	{"replace", []string{"colou?r", "hue"}, false},
	{"scan", []string{"-takes", "1ms"}, true},
	{"tarpit", []string{"-delay", "1ms"}, true},
}

var mail = miltertest.Mail{
	From:       "<alice@example.org>",
	Recipients: []miltertest.Recipient{{Path: "<bob@example.com>"}},
	Headers:    []protocol.Header{{Name: "Subject", Value: " hello"}},
	Body:       []byte("Hello\r\n"),
}

func TestPrograms(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the example programs are not built and run")
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "./...").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, tt := range programs {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			program, mta := start(t, filepath.Join(bin, tt.name), tt.arguments...)
			result, err := mta.Deliver(mail)
			if err != nil || !result.IsDelivered() {
				t.Errorf("got %v, %v; the mail should pass", result, err)
			}
			end(t, program, tt.graceful)
		})
	}
	t.Run("signal while a mail is under way", func(t *testing.T) {
		t.Parallel()
		program, mta := start(t, filepath.Join(bin, "tarpit"), "-delay", "2500ms")
		if _, err := mta.Negotiate(); err != nil {
			t.Fatal(err)
		}
		if err := mta.SendRaw(protocol.EndOfMessage{}.Append(nil)); err != nil {
			t.Fatal(err)
		}
		expect(t, mta, protocol.ReplyProgress) // now the mail waits
		if err := program.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		expect(t, mta, protocol.ReplyAccept)
		if err := program.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func expect(t *testing.T, mta *miltertest.Session, want protocol.Reply) {
	t.Helper()
	got, err := mta.ReadReply()
	if err != nil {
		t.Fatalf("%v; want %v", err, want)
	}
	if got.Reply() != want {
		t.Fatalf("got %v, want %v", got.Reply(), want)
	}
}

// start runs a program and connects to it.
func start(t *testing.T, path string, arguments ...string) (*exec.Cmd, *miltertest.Session) {
	t.Helper()
	// Not in t.TempDir: the path of a unix socket has to be short.
	dir, err := os.MkdirTemp("", "ex")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	spec := "unix:" + filepath.Join(dir, "s")
	program := exec.Command(path, append([]string{"-spec", spec}, arguments...)...)
	var stderr bytes.Buffer
	program.Stderr = &stderr
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = program.Process.Kill()
		_ = program.Wait()
		if t.Failed() {
			t.Logf("standard error: %s", &stderr)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		mta, err := miltertest.Dial(stdcontext.Background(), spec)
		if err == nil {
			t.Cleanup(func() { mta.Close() })
			return program, mta
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func end(t *testing.T, program *exec.Cmd, graceful bool) {
	t.Helper()
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil && graceful {
		t.Errorf("ended by SIGTERM: %v, want exit status 0", err)
	}
}

// Each folder is in the table of README.md, and in the list above if it listens.
func TestAllAreListed(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, entry := range entries {
		if entry.IsDir() {
			folders = append(folders, entry.Name())
		}
	}
	readme, err := os.Open("README.md")
	if err != nil {
		t.Fatal(err)
	}
	defer readme.Close()
	var rows []string
	for lines := bufio.NewScanner(readme); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "| ["); ok {
			name, _, _ = strings.Cut(name, "]")
			rows = append(rows, name)
		}
	}
	slices.Sort(rows)
	if !slices.Equal(folders, rows) {
		t.Errorf("README.md lists %q, there are %q", rows, folders)
	}
	for _, name := range folders {
		pkg, err := build.ImportDir(name, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(pkg.TestGoFiles) == 0 {
			t.Errorf("%s has no test", name)
		}
		listed := name == "demo"
		for _, p := range programs {
			listed = listed || p.name == name
		}
		if !listed {
			t.Errorf("%s is not in the list of programs", name)
		}
	}
}
