package main

import (
	stdcontext "context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/milter-go/milter/cmd/internal/mta"
	"github.com/milter-go/milter/reply"
)

// The phases of a run.
const (
	phaseWarmUp int32 = iota
	phaseMeasure
	phaseOver
)

// endGrace is how long an interrupted or failed run waits for messages in progress.
const endGrace = time.Second

// A run is what the sessions share. In the loop they load its atomics, which hardly
// ever change, and lock nothing.
type run struct {
	options *options
	dialer  *mta.Dialer
	process *process // nil without --pid

	phase     atomic.Int32
	taken     atomic.Int64 // of the messages of --messages
	abandoned atomic.Bool  // deadlines have been set into the past
	changes   reference

	failed  chan struct{} // closed at the first error
	context stdcontext.Context
	cancel  stdcontext.CancelCauseFunc

	mu      sync.Mutex
	scripts map[string]*script // by the milter's answer to the negotiation
	conns   map[net.Conn]bool
	errors  []string
	more    int // errors that are not kept
}

func newRun(o *options) *run {
	r := &run{
		options: o,
		dialer:  &mta.Dialer{Target: o.target, Timeout: o.timeout},
		failed:  make(chan struct{}),
		scripts: make(map[string]*script),
		conns:   make(map[net.Conn]bool),
	}
	r.context, r.cancel = stdcontext.WithCancelCause(stdcontext.Background())
	return r
}

// scriptFor returns the script for what the milter answered to the offer.
func (r *run) scriptFor(answer []byte, m reply.Negotiate) *script {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.scripts[string(answer)]
	if s == nil {
		s = r.options.newScript(m.Option, &m.Macros)
		r.scripts[string(answer)] = s
	}
	return s
}

func (r *run) track(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[conn] = true
	if r.abandoned.Load() {
		_ = conn.SetDeadline(time.Unix(1, 0))
	}
}

func (r *run) forget(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, conn)
}

// fail notes an error and ends the run.
func (r *run) fail(err error) {
	if errors.Is(err, errAbandoned) {
		return
	}
	const keep = 10
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errors) == 0 {
		close(r.failed)
	}
	if len(r.errors) == keep {
		r.more++
		return
	}
	r.errors = append(r.errors, err.Error())
}

// abandon makes all sessions end at once.
func (r *run) abandon() {
	r.abandoned.Store(true)
	r.cancel(errAbandoned)
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.conns {
		_ = conn.SetDeadline(time.Unix(1, 0)) // one that is closed needs none
	}
}

// A usage is what the milter's process has used up to a moment.
type usage struct {
	cpu           time.Duration
	reads, writes uint64 // system calls
	resident      uint64 // bytes of memory, now
}

// A moment is the state of things at a point of time.
type moment struct {
	time  time.Time
	usage usage
	own   time.Duration // CPU time of this program
}

// now takes the moment. The process of the milter must be there.
func (r *run) now() moment {
	m := moment{time: time.Now(), own: ownCPU()}
	if r.process != nil {
		var err error
		if m.usage, err = r.process.usage(); err != nil {
			r.fail(err)
		}
	}
	return m
}

// wait waits for a channel, a time, a failure or a signal, whichever comes first.
// It returns false when the run is to end.
func (r *run) wait(done <-chan struct{}, limit time.Duration, signals <-chan os.Signal) (goOn, interrupted bool) {
	var timeout <-chan time.Time
	if limit >= 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-done:
		return true, false
	case <-timeout:
		return true, false
	case <-r.failed:
		return false, false
	case <-signals:
		return false, true
	}
}

// finish waits until all sessions have ended: as long as it takes when all is well,
// else for a moment only.
func (r *run) finish(ended <-chan struct{}, inTime bool, signals <-chan os.Signal) (interrupted bool) {
	if inTime {
		if inTime, interrupted = r.wait(ended, -1, signals); inTime {
			return false
		}
	}
	timer := time.NewTimer(endGrace)
	defer timer.Stop()
	select {
	case <-ended:
		return interrupted
	case <-timer.C:
	case <-signals:
	}
	r.abandon()
	<-ended
	return interrupted
}

func (r *run) hasFailed() bool {
	select {
	case <-r.failed:
		return true
	default:
		return false
	}
}

// after returns a channel that is closed when all of group are done.
func after(group *sync.WaitGroup) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	return done
}
