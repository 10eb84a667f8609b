package cmdtest

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long a process may take for its end.
const patience = 20 * time.Second

// Build builds commands, as "go build" takes them, and returns the folder they are
// in.
func Build(t *testing.T, packages ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	output, err := exec.Command("go", append([]string{"build", "-o", dir}, packages...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	return dir
}

// A Client is a milter-test-client that runs.
type Client struct {
	Process *os.Process
	Stdout  strings.Builder // as far as it was read
	Stderr  bytes.Buffer    // whole after Wait

	cmd   *exec.Cmd
	lines *bufio.Reader
}

// StartClient starts the milter-test-client in dir and waits until it listens. It
// is killed when the test ends.
func StartClient(t *testing.T, dir string, args ...string) *Client {
	t.Helper()
	c := &Client{cmd: exec.Command(filepath.Join(dir, "milter-test-client"), args...)}
	c.cmd.Stderr = &c.Stderr
	pipe, err := c.cmd.StdoutPipe()
	Must(t, err)
	c.lines = bufio.NewReader(pipe)
	Must(t, c.cmd.Start())
	c.Process = c.cmd.Process
	t.Cleanup(func() {
		_ = c.Process.Kill() // an error says that it has ended
		_ = c.cmd.Wait()     // or that it was waited for
	})
	c.Await(t, "listen: ")
	return c
}

// Await reads until a line begins with prefix.
func (c *Client) Await(t *testing.T, prefix string) {
	t.Helper()
	for {
		line, err := c.lines.ReadString('\n')
		c.Stdout.WriteString(line)
		if strings.HasPrefix(line, prefix) {
			return
		}
		if err != nil {
			t.Fatalf("no line %q...: %v\n%s%s", prefix, err, &c.Stdout, &c.Stderr)
		}
	}
}

// Wait reads the rest of the output and returns the exit status.
func (c *Client) Wait(t *testing.T) int {
	t.Helper()
	watchdog := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	defer watchdog.Stop()
	_, err := io.Copy(&c.Stdout, c.lines)
	Must(t, err)
	_ = c.cmd.Wait() // its error is the exit status
	return c.cmd.ProcessState.ExitCode()
}
