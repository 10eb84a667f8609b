package run

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/milter-go/milter/bench/result"
	"github.com/milter-go/milter/client"
)

// A filter is a process that listens at spec.
type filter struct {
	spec   string
	cmd    *exec.Cmd
	stderr bytes.Buffer // complete when the process has ended
}

// startTimeout is how long a filter may take until it listens.
const startTimeout = 10 * time.Second

// Mode returns the program of a filter and its mode in a scenario.
func Mode(name string, s result.Scenario) (program, mode string) {
	program, variant, _ := strings.Cut(name, "-")
	switch {
	case variant != "":
		return program, variant
	case s.Mods:
		return program, "mods"
	case s.NoReply:
		return program, "watch"
	case program == result.Ours:
		return program, "status"
	}
	return program, "plain"
}

// start starts a filter and waits until it listens. cpu is the processor it is
// bound to; -1 for all.
func (b *Bench) start(name string, s result.Scenario, cpu int) (*filter, error) {
	spec, err := b.address(s.Network)
	if err != nil {
		return nil, err
	}
	program, mode := Mode(name, s)
	f := &filter{spec: spec, cmd: exec.Command(b.path(program), "-s", spec, "-mode", mode)}
	f.cmd.Stderr = &f.stderr
	if err := startOn(f.cmd, cpu); err != nil {
		return nil, err
	}
	where, err := client.ParseSpec(spec)
	if err != nil {
		f.stop()
		return nil, err
	}
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial(where.Network, where.Address)
		if err == nil {
			conn.Close()
			return f, nil
		}
		if time.Now().After(deadline) {
			f.stop()
			return nil, fmt.Errorf("run: %s does not listen at %q after %v: %w: %s", name, spec, startTimeout, err, lastLine(f.stderr.String()))
		}
	}
}

// address returns a connection spec that nobody listens at.
func (b *Bench) address(network string) (string, error) {
	if network == "unix" {
		path := b.path("socket")
		os.Remove(path)
		return "unix:" + path, nil
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return fmt.Sprintf("inet:%d@127.0.0.1", l.Addr().(*net.TCPAddr).Port), nil
}

// stop ends the process, whatever it does.
func (f *filter) stop() {
	f.cmd.Process.Kill()
	f.cmd.Wait()
}
