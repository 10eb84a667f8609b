//go:build unix

// Package examples_test runs the example programs as somebody would who tries
// them: built, with a socket to listen on, and ended by a signal. What they do to
// a mail is tested next to each.
package examples_test

import (
	"bufio"
	"bytes"
	stdcontext "context"
	"encoding/json"
	"errors"
	"go/build"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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
}{
	{"composite", nil},
	{"external", []string{"true"}},
	{"hello", nil},
	{"regexp", []string{"free money"}},
	{"reject-empty-body", nil},
	{"reject-nil-sender", nil},
	{"replace", []string{"colou?r", "hue"}},
	{"scan", []string{"-takes", "1ms"}},
	{"tarpit", []string{"-delay", "1ms"}},
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
	goBuild(t, "-o", bin, "./...")
	for _, tt := range programs {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			spec := socket(t)
			arguments := append([]string{"-spec", spec}, tt.arguments...)
			if tt.name == "hello" {
				buildHello(t, bin, spec)
				arguments = nil
			}
			program, mta := start(t, spec, filepath.Join(bin, tt.name), arguments...)
			result, err := mta.Deliver(mail)
			if err != nil || !result.IsDelivered() {
				t.Errorf("got %v, %v; the mail should pass", result, err)
			}
			end(t, program)
		})
	}
	t.Run("signal while a mail is under way", func(t *testing.T) {
		t.Parallel()
		spec := socket(t)
		program, mta := start(t, spec, filepath.Join(bin, "tarpit"), "-spec", spec, "-delay", "2500ms")
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

func goBuild(t *testing.T, arguments ...string) {
	t.Helper()
	if out, err := exec.Command("go", append([]string{"build"}, arguments...)...).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}

// buildHello builds hello once more, with spec in the place of the address that
// it has in the code, which another program may use.
func buildHello(t *testing.T, bin, spec string) {
	t.Helper()
	const address = `"inet:10025@127.0.0.1"`
	source, err := filepath.Abs("hello/main.go")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(code, []byte(address)); n != 1 {
		t.Fatalf("%s is %d times in hello, want once", address, n)
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	code = bytes.Replace(code, []byte(address), []byte(strconv.Quote(spec)), 1)
	files, err := json.Marshal(map[string]any{"Replace": map[string]string{source: changed}})
	if err := errors.Join(err, os.WriteFile(changed, code, 0o666), os.WriteFile(overlay, files, 0o666)); err != nil {
		t.Fatal(err)
	}
	goBuild(t, "-overlay", overlay, "-o", bin, "./hello")
}

// socket returns where a program can listen.
func socket(t *testing.T) (spec string) {
	t.Helper()
	// Not in t.TempDir: the path of a unix socket has to be short.
	dir, err := os.MkdirTemp("", "ex")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return "unix:" + filepath.Join(dir, "s")
}

// start runs a program and connects to it at spec.
func start(t *testing.T, spec, path string, arguments ...string) (*exec.Cmd, *miltertest.Session) {
	t.Helper()
	program := exec.Command(path, arguments...)
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

// end tells the program to end, which is no failure.
func end(t *testing.T, program *exec.Cmd) {
	t.Helper()
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil {
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
