//go:build linux

package main

import (
	stdcontext "context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long anything may take that should come at once.
const patience = 20 * time.Second

// A lab is where the attacks happen: the programs, built for it, the folder of
// their sockets, and the processes that run.
type lab struct {
	ctx    stdcontext.Context
	root   string // of the module
	folder string
	stderr io.Writer
	seed   int

	mu        sync.Mutex // guards what follows
	processes []*process
	started   int
}

func newLab(ctx stdcontext.Context, o options, stderr io.Writer) (*lab, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("torture: finding the module: %w", err)
	}
	l := &lab{ctx: ctx, root: strings.TrimSpace(string(root)), stderr: stderr, seed: o.seed}
	if l.folder, err = os.MkdirTemp("", "torture"); err != nil {
		return nil, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", l.folder+"/", "./torture/milter", "./cmd/milter-test-client")
	build.Dir, build.Stderr = l.root, stderr
	if err := build.Run(); err != nil {
		l.close()
		return nil, fmt.Errorf("torture: building the milters: %w", err)
	}
	return l, nil
}

// close ends what runs and removes the folder.
func (l *lab) close() {
	l.endAll()
	os.RemoveAll(l.folder)
}

func (l *lab) endAll() {
	l.mu.Lock()
	processes := l.processes
	l.processes = nil
	l.mu.Unlock()
	for _, p := range processes {
		p.end()
	}
}

func (l *lab) tell(format string, args ...any) {
	fmt.Fprintf(l.stderr, "torture: "+format+"\n", args...)
}

// soon returns a context for what should come at once.
func (l *lab) soon() (stdcontext.Context, stdcontext.CancelFunc) {
	return stdcontext.WithTimeout(l.ctx, patience)
}

// A process is a milter under attack.
type process struct {
	lab    *lab
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *logLines // nil if it was given away
	log    *logLines // standard error; nil if it was given away
	unix   string    // the connection specs
	inet   string
	ctx    stdcontext.Context // done when the process has ended, because of that
	cancel stdcontext.CancelCauseFunc
	exited chan struct{}
}

// specs returns both places where the process listens.
func (p *process) specs() []string { return []string{p.unix, p.inet} }

func (p *process) pid() int { return p.cmd.Process.Pid }

// newProcess prepares a process of program, one of the folder. prepare may change
// where its output goes.
func (l *lab) newProcess(program string, args []string) *process {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started++
	p := &process{lab: l, stdout: new(logLines), log: new(logLines), exited: make(chan struct{})}
	p.ctx, p.cancel = stdcontext.WithCancelCause(l.ctx)
	p.unix = fmt.Sprintf("unix:%s/%d.sock", l.folder, l.started)
	args = append([]string{"-s", p.unix, "-s", "inet:0@127.0.0.1"}, args...)
	p.cmd = exec.CommandContext(l.ctx, filepath.Join(l.folder, program), args...)
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.log
	// Dead even if this program is killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = time.Second
	l.processes = append(l.processes, p)
	return p
}

// start starts the milter under attack, and waits until it listens.
func (l *lab) start(args ...string) (*process, error) {
	p := l.newProcess("milter", args)
	if err := p.run(); err != nil {
		return nil, err
	}
	return p, p.awaitListening(p.log, "@listen ", "")
}

// startTestClient is start for cmd/milter-test-client.
func (l *lab) startTestClient(args ...string) (*process, error) {
	p := l.newProcess("milter-test-client", args)
	if err := p.run(); err != nil {
		return nil, err
	}
	return p, p.awaitListening(p.stdout, "listen: <", ">")
}

func (p *process) run() error {
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		p.cancel(err)
		close(p.exited)
		return err
	}
	go func() {
		_ = p.cmd.Wait() // ProcessState has it
		p.cancel(fmt.Errorf("the process ended: %v", p.cmd.ProcessState))
		close(p.exited)
	}()
	return nil
}

// awaitListening reads the port from what the process prints, after the line of
// the unix socket.
func (p *process) awaitListening(out *logLines, prefix, suffix string) error {
	ctx, cancel := stdcontext.WithTimeout(p.ctx, patience)
	defer cancel()
	inet, err := out.await(ctx, 0, prefix+"inet:")
	if err != nil {
		return fmt.Errorf("the milter does not listen: %w; its log: %q", err, p.log.since(0))
	}
	p.inet = "inet:" + strings.TrimSuffix(inet, suffix)
	return nil
}

// alive returns an error if the process has ended.
func (p *process) alive() error {
	select {
	case <-p.exited:
		return fmt.Errorf("the process ended: %v", p.cmd.ProcessState)
	default:
		return nil
	}
}

// judge completes r: err is what is not as required, nil if all is. That the process
// is dead, if it is, says more than what follows from it.
func (r *row) judge(p *process, err error) {
	if err != nil && p != nil {
		select {
		case <-p.exited:
			err = stdcontext.Cause(p.ctx)
		case <-time.After(200 * time.Millisecond): // it may be about to end
		}
	}
	r.ok, r.outcome = err == nil, "as required"
	if err != nil {
		r.outcome = err.Error()
	}
}

// end ends the process and waits for it.
func (p *process) end() {
	if p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Kill() // by its pid; an error says that it has ended
	<-p.exited
}

// A stats is what the milter under attack tells of itself.
type stats struct {
	HeapAlloc, HeapInuse                                  uint64 // bytes, after garbage collection
	Goroutines                                            int
	Sessions, Finished, Begun, Processed, Aborted, Faults int64
	Panics, BadPeers                                      uint64 // as the library counts
}

// stats asks the milter under attack.
func (p *process) stats() (s stats, err error) {
	text, err := p.ask("stats")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(text), &s)
}

func (p *process) ask(question string) (string, error) {
	ctx, cancel := stdcontext.WithTimeout(p.ctx, patience)
	defer cancel()
	mark := p.log.mark()
	if _, err := io.WriteString(p.stdin, question+"\n"); err != nil {
		return "", err
	}
	return p.log.await(ctx, mark, "@"+question+" ")
}

// linesSince returns the log lines after a mark, complete up to now.
func (p *process) linesSince(mark int) ([]string, error) {
	if _, err := p.ask("mark"); err != nil {
		return nil, err
	}
	return p.log.since(mark), nil
}

// settle waits until the milter has as many goroutines and descriptors as want,
// or fewer, and returns what it has after 5 s at the latest.
func (p *process) settle(want usage) (usage, error) {
	deadline := time.Now().Add(5 * time.Second)
	for {
		u, err := p.usage()
		if err != nil || u.goroutines <= want.goroutines && u.descriptors <= want.descriptors || time.Now().After(deadline) {
			return u, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// steady returns what the milter has once that is the same twice in a row, which
// takes 5 s at the most.
func (p *process) steady() (usage, error) {
	var last usage
	for range 100 {
		u, err := p.usage()
		if err != nil || u == last {
			return u, err
		}
		last = u
		time.Sleep(50 * time.Millisecond)
	}
	return last, nil
}

// A usage is what must come back after an attack.
type usage struct{ goroutines, descriptors int }

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors", u.goroutines, u.descriptors)
}

func (p *process) usage() (usage, error) {
	s, err := p.stats()
	if err != nil {
		return usage{}, err
	}
	n, err := p.descriptors()
	return usage{s.Goroutines, n}, err
}
