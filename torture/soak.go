//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

const (
	soakWorkers = 64 // some of them wait: for late answers, or for the milter to see a half-closed connection
	soakSamples = 40
	soakWarmUp  = soakSamples / 5 // samples that the slopes leave out
	soakTenths  = 10
	soakLongest = 10 * time.Minute
	// What is no growth: bytes a message.
	heapLimit = 1.0
	// How much slower the last tenth may be. The requirement is 1.2; the machine that
	// measures has other things to do as well, so only 2 fails. A short soak has too
	// few messages for a p99 that is no chance: there the median has to be slower, too.
	p99Wanted, p99Limit = 1.2, 2.0
	p99Messages         = 200_000
)

// A sample is what the milter uses when all sessions have ended.
type sample struct {
	messages             int
	heap, heapInuse, rss float64 // bytes; the heap is what lives after garbage collection
	usage                usage
}

// A soak is many messages to one milter.
type soak struct {
	process   *process
	messages  int
	took      time.Duration
	start     sample
	samples   []sample
	latencies [soakTenths][]time.Duration // of the messages that are answered at once
	stats     stats
}

func runSoak(l *lab, o options) ([]row, string, error) {
	p, err := l.start("--leak", fmt.Sprint(o.leak))
	if err != nil {
		return nil, "", err
	}
	const share = soakSamples * soakWorkers
	each := (o.messages + share - 1) / share // at least as many as asked for
	s := &soak{process: p, messages: each * soakSamples * soakWorkers}
	err = s.run(uint64(o.seed), each)
	rows := s.rows(err)
	return rows, fmt.Sprintf("%d messages, seed %d, %d connections at once.\n\n", s.messages, o.seed, soakWorkers) + markdown(rows) + "\n" + s.table(), nil
}

// run plays each messages by each worker between two samples.
func (s *soak) run(seed uint64, each int) error {
	if _, err := s.process.goods(); err != nil {
		return err
	}
	before, err := s.process.steady()
	if err != nil {
		return err
	}
	if s.start, err = s.sample(0, before); err != nil {
		return err
	}
	var workers []*worker
	for i := range soakWorkers {
		workers = append(workers, newWorker(s.process, rand.New(rand.NewPCG(seed, uint64(i)))))
	}
	mark := s.process.log.mark()
	start := time.Now()
	for i := range soakSamples {
		var all sync.WaitGroup
		faults := make([]error, soakWorkers)
		for n, w := range workers {
			all.Go(func() { faults[n] = w.play(each) })
		}
		all.Wait()
		if err := errors.Join(faults...); err != nil {
			return errors.Join(err, s.process.alive())
		}
		for _, w := range workers {
			tenth := i * soakTenths / soakSamples
			s.latencies[tenth] = append(s.latencies[tenth], w.took...)
			w.took = w.took[:0]
		}
		one, err := s.sample((i+1)*each*soakWorkers, s.start.usage)
		if err != nil {
			return err
		}
		s.samples = append(s.samples, one)
		s.took = time.Since(start)
		if u := one.usage; u.goroutines > s.start.usage.goroutines || u.descriptors > s.start.usage.descriptors {
			return fmt.Errorf("something is left behind after %d messages: before: %v; after: %v", one.messages, s.start.usage, u)
		}
		if i%4 == 3 {
			s.process.lab.tell("%d messages, %v", one.messages, s.took.Round(time.Second))
		}
	}
	if s.stats, err = s.process.stats(); err != nil {
		return err
	}
	if lines := s.process.log.since(mark); len(lines) > 0 {
		return fmt.Errorf("%d log lines, the first: %q", len(lines), lines[0])
	}
	return nil
}

func (s *soak) sample(messages int, want usage) (sample, error) {
	u, err := s.process.settle(want)
	if err != nil {
		return sample{}, err
	}
	st, err := s.process.stats()
	if err != nil {
		return sample{}, err
	}
	rss, err := s.process.memory("VmRSS")
	return sample{messages, float64(st.HeapAlloc), float64(st.HeapInuse), float64(rss), u}, err
}

// slope returns how a value grows, in bytes a message.
func (s *soak) slope(value func(sample) float64) line {
	var x, y []float64
	for _, one := range s.samples[min(soakWarmUp, len(s.samples)):] {
		x, y = append(x, float64(one.messages)), append(y, value(one))
	}
	return fit(x, y)
}

func (l line) String() string { return fmt.Sprintf("%+.3f ± %.3f bytes a message", l.slope, l.margin) }

// rows judges the soak; err is what ended it.
func (s *soak) rows(err error) []row {
	all := row{id: "soak", attack: "all messages", done: "mixed endings, see below", want: fmt.Sprintf("every answer as expected, no log line, within %v", soakLongest)}
	all.figure = fmt.Sprintf("%s, %.0f messages a second", s.took.Round(100*time.Millisecond), float64(s.messages)/max(s.took.Seconds(), 1e-3))
	if all.judge(s.process, err); err != nil {
		return []row{all}
	}
	if s.took > soakLongest {
		all.ok, all.outcome = false, "too slow"
	}
	heap := s.slope(func(one sample) float64 { return one.heap })
	memory := row{id: "soak-heap", attack: "heap", done: fmt.Sprintf("live bytes after garbage collection, %d samples after a warm-up of %d", soakSamples-soakWarmUp, soakWarmUp),
		want: "grows by less than 1 byte a message (99 % confidence)", ok: !heap.grows(heapLimit), outcome: "as required"}
	memory.figure = fmt.Sprintf("%v; heap in use %v; RSS %v", heap, s.slope(func(one sample) float64 { return one.heapInuse }), s.slope(func(one sample) float64 { return one.rss }))
	if heap.margin >= heapLimit {
		memory.outcome = "no growth seen; too few messages to be sure"
	}
	if !memory.ok {
		memory.outcome = "grows"
	}
	last := s.samples[len(s.samples)-1].usage
	back := row{id: "soak-back", attack: "goroutines, descriptors", done: "at the end", want: "as at the start", outcome: "as required",
		figure: fmt.Sprintf("before: %v; after: %v", s.start.usage, last), ok: last.goroutines <= s.start.usage.goroutines && last.descriptors <= s.start.usage.descriptors}
	if !back.ok {
		back.outcome = "something is left behind"
	}
	once := row{id: "soak-once", attack: "events", done: "counted by the milter", want: "each session and each mail ends exactly once", outcome: "as required",
		figure: fmt.Sprintf("%d sessions, %d mails, %d aborted", s.stats.Sessions, s.stats.Begun, s.stats.Aborted),
		ok:     s.stats.Faults == 0 && s.stats.Sessions == s.stats.Finished && s.stats.Begun == s.stats.Processed}
	if !once.ok {
		once.outcome = fmt.Sprintf("%+v", s.stats)
	}
	return []row{all, memory, back, once, s.latencyRow()}
}

func (s *soak) latencyRow() row {
	ratio := func(p float64) float64 {
		return float64(percentile(s.latencies[soakTenths-1], p)) / float64(percentile(s.latencies[0], p))
	}
	r := row{id: "soak-p99", attack: "time of a message", done: "p99 of the last tenth by that of the first", outcome: "as required",
		want: fmt.Sprintf("ratio ≤ %.1f; fails above %.0f, of the median as well if there are fewer than %d messages", p99Wanted, p99Limit, p99Messages),
		figure: fmt.Sprintf("%s → %s, ratio %.2f (median %.2f)", round(percentile(s.latencies[0], 99)),
			round(percentile(s.latencies[soakTenths-1], 99)), ratio(99), ratio(50))}
	r.ok = ratio(99) <= p99Limit || s.messages < p99Messages && ratio(50) <= p99Limit
	if ratio(99) > p99Wanted {
		r.outcome = fmt.Sprintf("ratio %.2f", ratio(99))
	}
	return r
}

// table returns the samples at the ends of the tenths.
func (s *soak) table() string {
	var b strings.Builder
	writeLine(&b, "messages", "heap", "heap in use", "RSS", "goroutines", "descriptors", "p99")
	writeLine(&b, "---", "---", "---", "---", "---", "---", "---")
	for i, one := range s.samples {
		if (i+1)%(soakSamples/soakTenths) != 0 {
			continue
		}
		writeLine(&b, fmt.Sprint(one.messages), fmt.Sprintf("%.0f KiB", one.heap/1024), fmt.Sprintf("%.0f KiB", one.heapInuse/1024), fmt.Sprintf("%.0f KiB", one.rss/1024),
			fmt.Sprint(one.usage.goroutines), fmt.Sprint(one.usage.descriptors), round(percentile(s.latencies[i*soakTenths/soakSamples], 99)))
	}
	return b.String()
}
