//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/milter-go/milter/cmd/internal/cmdtest"
)

// The two programs as they are installed, one against the other.

func server(dir string, args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(dir, "milter-test-server"), args...)
}

func TestTools(t *testing.T) {
	dir := cmdtest.Build(t, ".", "../milter-test-client")
	t.Run("a mail", func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "m")
		c := cmdtest.StartClient(t, dir, "-s", "unix:"+socket, "--add-header=X-Checked: yes", "--insert-header=0:X-Top: here",
			"--change-header=Subject: changed", "--delete-header=Received[2]", "--change-from=<ada@example.net>",
			"--add-recipient=<eve@example.org>", "--delete-recipient=<carol@example.org>", "--replace-body=It was\\nremoved.",
			"--quarantine=too nice", "--reply=envelope-recipient:dave@*=550 5.1.1 no Dave here", "--status=body=skip", "--macro=connect=j")
		output, err := server(dir, "-s", socket, "-m", "../../testdata/multipart.eml", "--output-message").Output()
		must(t, err)
		golden(t, "tools.server.txt", elapsedTime.ReplaceAllString(string(output), "elapsed-time: 0.000000 seconds"))
		must(t, c.Process.Signal(syscall.SIGTERM))
		if status := c.Wait(t); status != 0 {
			t.Errorf("exit status %d of the client, stderr:\n%s", status, &c.Stderr)
		}
		golden(t, "tools.client.txt", strings.ReplaceAll(c.Stdout.String(), socket, "SOCKET"))
		if _, err := os.Lstat(socket); !os.IsNotExist(err) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	t.Run("SIGTERM while a mail is due", func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "m")
		c := cmdtest.StartClient(t, dir, "-s", "unix:"+socket, "--delay=end-of-message=1s", "--add-header=X-Late: yes")
		var output, stderr bytes.Buffer
		s := server(dir, "-s", socket, "--output-message")
		s.Stdout, s.Stderr = &output, &stderr
		must(t, s.Start())
		c.Await(t, "end-of-message")
		must(t, c.Process.Signal(syscall.SIGTERM))
		if err := s.Wait(); err != nil {
			t.Errorf("the server: %v, stderr %q", err, &stderr)
		}
		if got := output.String(); !strings.HasPrefix(got, "status: pass\n") || !strings.Contains(got, "\n+ X-Late: yes\n") {
			t.Errorf("the mail was not served:\n%s", got)
		}
		if status := c.Wait(t); status != 0 || !strings.HasPrefix(c.Stderr.String(), "milter-test-client: terminated: waiting up to 30s for mails") {
			t.Errorf("exit status %d of the client, want 0; stderr:\n%s", status, &c.Stderr)
		}
	})
	t.Run("a second signal", func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "m")
		c := cmdtest.StartClient(t, dir, "-s", "unix:"+socket, "--delay=end-of-message=1h")
		var stderr bytes.Buffer
		s := server(dir, "-s", socket)
		s.Stderr = &stderr
		must(t, s.Start())
		c.Await(t, "end-of-message")
		must(t, c.Process.Signal(syscall.SIGTERM))
		must(t, c.Process.Signal(syscall.SIGINT))
		if status := c.Wait(t); status != 1 {
			t.Errorf("exit status %d of the client, want 1; stderr:\n%s", status, &c.Stderr)
		}
		want := "milter-test-server: waiting for the answer to end-of-message: the milter closed the connection\n"
		if err := s.Wait(); s.ProcessState.ExitCode() != 1 || stderr.String() != want {
			t.Errorf("the server: %v, stderr %q, want %q", err, stderr.String(), want)
		}
	})
	t.Run("more sessions than the soft limit of files", func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "m")
		c := cmdtest.StartClient(t, dir, "-s", "unix:"+socket, "--no-report-request", "--delay=helo=100ms")
		shell := exec.Command("sh", "-c", `ulimit -S -n 64 && exec "$0" "$@"`, filepath.Join(dir, "milter-test-server"), "-s", socket, "-t200")
		output, err := shell.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(output), "sessions: 200\nfailed: 0\nmessages: 200\nstatus: pass: 200\n") {
			t.Errorf("error %v, output:\n%s", err, output)
		}
		must(t, c.Process.Signal(syscall.SIGTERM))
		c.Wait(t)
	})
}
