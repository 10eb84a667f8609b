package run

import (
	"bytes"
	"errors"
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
	stderr bytes.Buffer
	ended  chan struct{} // closed when the process has; stderr is complete then
}

// startTimeout is how long a filter may take until it listens, pause how long to wait
// before it is tried again.
const (
	startTimeout = 10 * time.Second
	pause        = 5 * time.Millisecond
)

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
	f := &filter{spec: spec, cmd: exec.Command(b.path(program), "-s", spec, "-mode", mode), ended: make(chan struct{})}
	f.cmd.Stderr = &f.stderr
	if err := startOn(f.cmd, cpu); err != nil {
		return nil, err
	}
	go func() {
		f.cmd.Wait()
		close(f.ended)
	}()
	if err := f.ready(); err != nil {
		f.stop()
		return nil, fmt.Errorf("run: %s does not listen at %q: %w: %s", name, spec, err, lastLine(f.stderr.String()))
	}
	return f, nil
}

// ready waits until the filter can be reached.
func (f *filter) ready() error {
	where, err := client.ParseSpec(f.spec)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(startTimeout); ; {
		conn, err := net.Dial(where.Network, where.Address)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v: %w", startTimeout, err)
		}
		select {
		case <-f.ended:
			return errors.New("it has ended")
		case <-time.After(pause):
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
	<-f.ended
}
