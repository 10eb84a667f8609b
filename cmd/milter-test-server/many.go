package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/milter-go/milter/cmd/internal/console"
	"github.com/milter-go/milter/cmd/internal/mta"
	"github.com/milter-go/milter/protocol"
)

// A tally counts what became of many sessions.
type tally struct {
	elapsed time.Duration

	mu       sync.Mutex
	verdicts map[protocol.Status]int
	faults   map[string]int // the sessions that failed, by the reason
	early    int            // connections that the milter closed before quit
}

// playSessions plays all sessions, as many at once as there are threads.
func playSessions(o *options, d *mta.Dialer, out *output) *tally {
	t := &tally{verdicts: make(map[protocol.Status]int), faults: make(map[string]int)}
	start := time.Now()
	var last atomic.Int64
	var running sync.WaitGroup
	for range o.threads {
		running.Go(func() {
			for number := int(last.Add(1)); number <= o.sessions; number = int(last.Add(1)) {
				t.play(o, d, out, number)
			}
		})
	}
	running.Wait()
	t.elapsed = time.Since(start)
	return t
}

func (t *tally) play(o *options, d *mta.Dialer, out *output, number int) {
	results, err := playSession(o, d, out, number)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range results {
		status := r.Status
		if status == protocol.StatusContinue {
			status = protocol.StatusDefault // both are printed as pass
		}
		t.verdicts[status]++
	}
	switch {
	case errors.Is(err, errClosedEarly):
		t.early++
	case err != nil:
		t.faults[explain(err).Error()]++
	}
}

func (t *tally) statuses() []protocol.Status { return slices.Sorted(maps.Keys(t.verdicts)) }

func (t *tally) failed() (n int) {
	for _, count := range t.faults {
		n += count
	}
	return n
}

func (t *tally) messages() (n int) {
	for _, count := range t.verdicts {
		n += count
	}
	return n
}

// err returns the most frequent faults.
func (t *tally) err() error {
	const show = 10
	reasons := slices.SortedFunc(maps.Keys(t.faults), func(a, b string) int {
		return cmp.Or(t.faults[b]-t.faults[a], cmp.Compare(a, b))
	})
	var errs []error
	for i, reason := range reasons {
		if i == show {
			errs = append(errs, fmt.Errorf("and %d other reasons", len(reasons)-show))
			break
		}
		errs = append(errs, fmt.Errorf("%s failed: %s", console.Plural(t.faults[reason], "session"), reason))
	}
	return errors.Join(errs...)
}
