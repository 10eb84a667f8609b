package main

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/milter-go/milter/cmd/internal/cmdtest"
)

// Short names for what the tests say often.
type (
	fake    = cmdtest.Milter
	answers = cmdtest.Answers
)

var (
	must, golden  = cmdtest.Must, cmdtest.Golden
	packets, bare = cmdtest.Packets, cmdtest.Bare
)

// play runs the program.
func play(args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = start(args, system{&out, &err, make(chan os.Signal)})
	return status, out.String(), err.String()
}

// playJSON runs the program, which must succeed, and returns its report.
func playJSON(t *testing.T, args ...string) (r report) {
	t.Helper()
	status, stdout, stderr := play(append(args, "--format=json")...)
	if status != 0 || stderr != "" {
		t.Fatalf("exit status %d, stderr %q", status, stderr)
	}
	must(t, json.Unmarshal([]byte(stdout), &r))
	return r
}

// newTestSession returns a session with the options of a command line, and no
// milter.
func newTestSession(t *testing.T, args ...string) *session {
	t.Helper()
	o := newOptions()
	must(t, o.parse(append([]string{"-sinet:1"}, args...)))
	return newSession(newRun(o), 1)
}
