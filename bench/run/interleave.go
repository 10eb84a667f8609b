package run

import (
	"context"

	"github.com/milter-go/milter/bench/result"
)

// Interleave measures scenarios in rounds. Within a round the filters of a scenario
// run one right after the other, so that what the machine does besides hits all of
// them, and each round begins with another one. Idle scenarios run in the first
// round only: memory does not vary.
//
// measure does one run; an error of it is kept in the run. done is told of every
// run. The end of ctx ends it before the next run.
func Interleave(ctx context.Context, scenarios []result.Scenario, rounds int,
	measure func(filter string, s result.Scenario) (result.Figures, error), done func(result.Run)) []result.Run {
	var runs []result.Run
	for round := 1; round <= rounds; round++ {
		for _, s := range scenarios {
			if s.Idle > 0 && round > 1 {
				continue
			}
			for i := range s.Filters {
				if ctx.Err() != nil {
					return runs
				}
				r := result.Run{Scenario: s.Name, Filter: s.Filters[(round-1+i)%len(s.Filters)], Round: round}
				var err error
				if r.Figures, err = measure(r.Filter, s); err != nil {
					r.Error = err.Error()
				}
				runs = append(runs, r)
				done(r)
			}
		}
	}
	return runs
}

// Select returns the scenarios with those of their filters that were built, without
// those that nothing is left of or that this machine cannot run.
func (b *Bench) Select(scenarios []result.Scenario) []result.Scenario {
	var selected []result.Scenario
	for _, s := range scenarios {
		var filters []string
		for _, f := range s.Filters {
			if b.Has(f) {
				filters = append(filters, f)
			}
		}
		if len(filters) == 0 || s.Pinned && !CanPin() {
			continue
		}
		s.Filters = filters
		selected = append(selected, s)
	}
	return selected
}
