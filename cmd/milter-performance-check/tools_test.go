//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/milter-go/milter/cmd/internal/cmdtest"
)

// The program as it is installed, against milter-test-client: a signal ends it, and
// what it has found by then is printed.
func TestInstalled(t *testing.T) {
	dir := cmdtest.Build(t, ".", "../milter-test-client")
	spec := "unix:" + filepath.Join(dir, "socket")
	milter := cmdtest.StartClient(t, dir, "-s", spec, "--no-report-request", "--add-header=X-A: b", "--no-reply=header")

	args := []string{"-s", spec, "-c4", "--duration=1h", "--warm-up=0", "--changes=1", "--format=json"}
	_, err := openProcess(milter.Process.Pid)
	withPid := err == nil
	if withPid {
		args = append(args, "--pid="+strconv.Itoa(milter.Process.Pid))
	} else {
		t.Logf("without --pid: %v", err)
	}
	var stdout, stderr bytes.Buffer
	check := exec.Command(filepath.Join(dir, name), args...)
	check.Stdout, check.Stderr = &stdout, &stderr
	must(t, check.Start())
	watchdog := time.AfterFunc(20*time.Second, func() { _ = check.Process.Kill() })
	defer watchdog.Stop()
	time.AfterFunc(time.Second, func() { _ = check.Process.Signal(syscall.SIGTERM) })
	if err := check.Wait(); err != nil || stderr.String() != name+": interrupted\n" {
		t.Fatalf("%v, stderr %q", err, &stderr)
	}
	var r report
	must(t, json.Unmarshal(stdout.Bytes(), &r))
	if !r.Interrupted || r.Messages == 0 || r.RoundTrips != 6 || r.Sessions != 4 {
		t.Errorf("%+v", r)
	}
	if withPid && (*r.CPU <= 0 || *r.Writes < 5.9 || *r.Writes > 6.1) {
		t.Errorf("CPU %v, %v writes per message", *r.CPU, *r.Writes)
	}
}
