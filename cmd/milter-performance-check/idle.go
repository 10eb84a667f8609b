package main

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

// runIdle opens the sessions, lets each send its messages, holds them, and returns
// the figures from the end of the hold.
func runIdle(r *run, signals <-chan os.Signal, p *progress) *report {
	before := r.now()
	r.phase.Store(phaseMeasure)
	workers := make([]*worker, r.options.sessions)
	for i := range workers {
		workers[i] = &worker{tally: newTally(), run: r}
	}
	p.begin(workers)
	sessions := make([]*session, r.options.idle)
	opened := each(workers, sessions, func(w *worker, i int) {
		if r.phase.Load() != phaseOver {
			sessions[i] = w.openIdle(i + 1)
		}
	})
	goOn, interrupted := r.wait(opened, -1, signals)
	r.phase.Store(phaseOver)
	to := r.now()
	p.end()
	held, end := to, to
	if goOn {
		if goOn, interrupted = r.wait(nil, r.options.warmUp, signals); goOn {
			held = r.now()
			_, interrupted = r.wait(nil, r.options.hold, signals)
			end = r.now()
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-opened
		<-each(workers, sessions, func(_ *worker, i int) {
			if s := sessions[i]; s != nil {
				if err := s.quit(); err != nil {
					r.fail(err)
				}
			}
		})
	}()
	if r.finish(ended, !interrupted && !r.hasFailed(), signals) {
		interrupted = true
	}
	total := newTally()
	for _, w := range workers {
		total.merge(w.tally)
	}
	rep := newReport(r, total, before, before, to, interrupted)
	rep.addIdle(r, before, held, end)
	return rep
}

// openIdle opens a session, sends its messages, and gives its buffer back.
func (w *worker) openIdle(number int) *session {
	s := newSession(w.run, number)
	w.session = s
	decided, ok, err := w.open()
	if err == nil && !ok {
		err = fmt.Errorf("session %d: %v: it cannot be held idle", number, decided)
	}
	for n := 0; err == nil && n < w.run.options.idleMessages; n++ {
		err = w.message(false)
	}
	if err != nil {
		w.run.fail(err)
		s.hangUp()
		return nil
	}
	s.release()
	return s
}

// each lets the workers do something for each session. The channel is closed when
// all of it is done.
func each(workers []*worker, sessions []*session, do func(w *worker, i int)) <-chan struct{} {
	var next atomic.Int64
	var group sync.WaitGroup
	for _, w := range workers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(sessions)); i = next.Add(1) - 1 {
				do(w, int(i))
			}
		})
	}
	return after(&group)
}
