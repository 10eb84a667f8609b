package main

import (
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A tally is what one session counts by itself.
type tally struct {
	latency  histogram // of the messages
	connects histogram // of setting up connections while measuring
	first    histogram // and before

	messages                         uint64
	sent, received                   uint64 // bytes
	roundTrips                       uint64
	skippedBodies, refusedRecipients uint64
	outcomes                         map[outcome]uint64

	progress atomic.Uint64 // messages, warm-up included
}

func newTally() *tally { return &tally{outcomes: make(map[outcome]uint64)} }

// merge adds what other has counted.
func (t *tally) merge(other *tally) {
	t.latency.merge(&other.latency)
	t.connects.merge(&other.connects)
	t.first.merge(&other.first)
	t.messages += other.messages
	t.sent += other.sent
	t.received += other.received
	t.roundTrips += other.roundTrips
	t.skippedBodies += other.skippedBodies
	t.refusedRecipients += other.refusedRecipients
	for o, n := range other.outcomes {
		t.outcomes[o] += n
	}
}

// A worker plays one session after the other.
type worker struct {
	session *session
	tally   *tally
	run     *run
}

// A counter is the state of a session's figures before a message.
type counter struct{ sent, received, roundTrips, skippedBodies, refusedRecipients uint64 }

func (s *session) counter() counter {
	return counter{s.sent, s.received, s.roundTrips, s.skippedBodies, s.rejectedRecipients}
}

// open opens a connection and takes the time.
func (w *worker) open() (decided outcome, ok bool, err error) {
	start := time.Now()
	decided, ok, err = w.session.open(w.run.context)
	if err == nil {
		h := &w.tally.first
		if w.run.phase.Load() == phaseMeasure {
			h = &w.tally.connects
		}
		h.add(time.Since(start))
	}
	return decided, ok, err
}

// message sends a message over an open connection, takes the time and counts it.
func (w *worker) message(ticket bool) error {
	s := w.session
	before, start := s.counter(), s.clock()
	decided, err := s.send()
	if err != nil {
		return err
	}
	w.count(before, decided, s.clock()-start, ticket)
	return nil
}

// count counts a message if it belongs to those that are measured. Of --messages,
// those that were begun in the warm-up do not.
func (w *worker) count(before counter, decided outcome, took time.Duration, ticket bool) {
	t, s := w.tally, w.session
	t.progress.Add(1)
	counts := ticket
	if w.run.options.messages == 0 {
		counts = w.run.phase.Load() == phaseMeasure
	}
	if !counts {
		return
	}
	after := s.counter()
	t.latency.add(took)
	t.messages++
	t.sent += after.sent - before.sent
	t.received += after.received - before.received
	t.roundTrips += after.roundTrips - before.roundTrips
	t.skippedBodies += after.skippedBodies - before.skippedBodies
	t.refusedRecipients += after.refusedRecipients - before.refusedRecipients
	t.outcomes[decided]++
}

// take reports whether another message is to be sent, and whether it is one of
// --messages.
func (r *run) take() (goOn, ticket bool) {
	switch phase := r.phase.Load(); {
	case phase == phaseOver:
		return false, false
	case phase == phaseMeasure && r.options.messages > 0:
		goOn = r.taken.Add(1) <= int64(r.options.messages)
		return goOn, goOn
	}
	return true, false
}

// loop sends messages until the run is over, and renews the connection as often as
// the options say.
func (w *worker) loop() error {
	s, perSession := w.session, w.run.options.messagesPerSession
	for {
		goOn, ticket := w.run.take()
		if !goOn {
			return nil
		}
		if !s.connected {
			before, start := s.counter(), time.Now()
			decided, ok, err := w.open()
			if err != nil {
				return err
			}
			if !ok { // the milter wants nothing of it: that was the message
				w.count(before, decided, time.Since(start), ticket)
				if err := s.quit(); err != nil {
					return err
				}
				continue
			}
		}
		if err := w.message(ticket); err != nil {
			return err
		}
		if perSession > 0 && s.message >= perSession {
			if err := s.quit(); err != nil {
				return err
			}
		}
	}
}

// A load is a run of sessions that send messages as fast as they can.
type load struct {
	*run
	workers []*worker
	opened  sync.WaitGroup // each session has its first connection
	looped  sync.WaitGroup // each session has sent its last message
	ended   sync.WaitGroup
	start   chan struct{}
	end     chan struct{}
}

// runLoad runs the load and returns its figures.
func runLoad(r *run, signals <-chan os.Signal, p *progress) *report {
	o := r.options
	l := &load{run: r, start: make(chan struct{}), end: make(chan struct{})}
	for i := range o.sessions {
		l.workers = append(l.workers, &worker{newSession(r, i+1), newTally(), r})
	}
	l.opened.Add(o.sessions)
	l.looped.Add(o.sessions)
	before := r.now()
	for _, w := range l.workers {
		l.ended.Go(func() { l.play(w) })
	}
	p.begin(l.workers)
	from, to, interrupted := l.measure(signals)
	p.end()
	close(l.end)
	if r.finish(after(&l.ended), !interrupted && !r.hasFailed(), signals) {
		interrupted = true
	}
	total := newTally()
	for _, w := range l.workers {
		total.merge(w.tally)
	}
	return newReport(r, total, before, from, to, interrupted)
}

// play is what a session does.
func (l *load) play(w *worker) {
	defer w.session.hangUp()
	err := l.playFirst(w)
	if err != nil {
		l.fail(err)
	}
	l.opened.Done()
	<-l.start
	if err == nil {
		if err = w.loop(); err != nil {
			l.fail(err)
		}
	}
	l.looped.Done()
	<-l.end
	if err == nil && w.session.connected {
		if err := w.session.quit(); err != nil {
			l.fail(err)
		}
	}
}

// playFirst opens the first connection, unless each message has one of its own.
func (l *load) playFirst(w *worker) error {
	if l.options.messagesPerSession == 1 {
		return nil
	}
	_, ok, err := w.open()
	if err == nil && !ok {
		err = w.session.quit() // the loop opens it again, and counts
	}
	return err
}

// measure goes through the phases, and returns the moments between which messages
// are counted.
func (l *load) measure(signals <-chan os.Signal) (from, to moment, interrupted bool) {
	begin := sync.OnceFunc(func() { close(l.start) })
	defer begin() // sessions that have not begun see that it is over
	goOn, interrupted := l.wait(after(&l.opened), -1, signals)
	if goOn && l.options.warmUp > 0 {
		begin()
		goOn, interrupted = l.wait(nil, l.options.warmUp, signals)
	}
	from = l.now()
	if goOn {
		l.phase.Store(phaseMeasure)
		begin()
		limit := l.options.duration
		if l.options.messages > 0 {
			limit = -1
		}
		_, interrupted = l.wait(after(&l.looped), limit, signals)
	}
	l.phase.Store(phaseOver)
	return from, l.now(), interrupted
}
