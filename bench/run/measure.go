package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/milter-go/milter/bench/result"
)

// Times say how long a run takes.
type Times struct {
	WarmUp, Duration time.Duration
	// Hold is how long idle sessions are watched, after they were left alone for as
	// long: what a runtime still has to tidy up is over then.
	Hold time.Duration
}

// ErrCannotPin is the error for a scenario that needs two processors.
var ErrCannotPin = errors.New("run: pinning needs Linux and two processors")

// Measure starts a filter, lets the generator work on it, and ends it.
func (b *Bench) Measure(name string, s result.Scenario, t Times) (result.Figures, error) {
	var figures result.Figures
	cpu, generator := -1, -1
	if s.Pinned {
		if !CanPin() {
			return figures, ErrCannotPin
		}
		cpu, generator = filterCPU, generatorCPU
	}
	f, err := b.start(name, s, cpu)
	if err != nil {
		return figures, err
	}
	defer f.stop()
	if s.Longer > 0 {
		t.WarmUp, t.Duration = t.WarmUp*time.Duration(s.Longer), t.Duration*time.Duration(s.Longer)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(b.generator, arguments(s, t, f.spec, f.cmd.Process.Pid)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := startOn(cmd, generator); err != nil {
		return figures, err
	}
	limit := time.AfterFunc(t.WarmUp+t.Duration+2*t.Hold+time.Minute, func() { cmd.Process.Kill() })
	err = cmd.Wait()
	limit.Stop()
	// A generator that found faults prints its figures, too.
	if parsed := json.Unmarshal(stdout.Bytes(), &figures); err == nil {
		err = parsed
	}
	if len(figures.Errors) > 0 {
		return figures, fmt.Errorf("run: %s in %s: %s", name, s.Name, strings.Join(figures.Errors, "; "))
	}
	if err != nil {
		return figures, fmt.Errorf("run: %s in %s: generator: %w: %s", name, s.Name, err, lastLine(stderr.String()))
	}
	if s.Idle == 0 && figures.Messages == 0 {
		return figures, fmt.Errorf("run: %s in %s: not one message in %v", name, s.Name, t.Duration)
	}
	return figures, nil
}

// The messages have this many header fields and recipients, and idle sessions are
// opened by so many at once.
const (
	headers    = 20
	recipients = 1
	openers    = 16
)

// arguments returns the command line of the generator.
func arguments(s result.Scenario, t Times, spec string, pid int) []string {
	args := []string{
		"--connection-spec", spec,
		"--pid", strconv.Itoa(pid),
		"--format", "json",
		"--macros", "postfix",
		"--headers", strconv.Itoa(headers),
		"--recipients", strconv.Itoa(recipients),
		"--offer", offer(s).String(),
		"--expect", "accept",
	}
	if s.Idle > 0 {
		return append(args,
			"--sessions", strconv.Itoa(openers),
			"--warm-up", t.Hold.String(),
			"--idle", strconv.Itoa(s.Idle),
			"--idle-messages", strconv.Itoa(s.IdleMessages),
			"--idle-body-size", strconv.Itoa(s.Body),
			"--hold", t.Hold.String())
	}
	args = append(args,
		"--sessions", strconv.Itoa(s.Sessions),
		"--body-size", strconv.Itoa(s.Body),
		"--warm-up", t.WarmUp.String(),
		"--duration", t.Duration.String())
	if s.NewConnection {
		args = append(args, "--new-connection")
	}
	return args
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
