// Compare measures milters that do the same work, in one run: this library, others,
// and a bare loop that is the floor for all of them.
//
//	go run ./compare                              everything, about a quarter of an hour
//	go run ./compare -quick                       everything once and short, to see that it works
//	go run ./compare -scenarios 'unix-c16' -o ''  some of it, without keeping the figures
//
// The figures of every run go to a file, of which program report makes
// docs/performance.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"time"

	"github.com/milter-go/milter/bench/page"
	"github.com/milter-go/milter/bench/result"
	"github.com/milter-go/milter/bench/run"
)

type options struct {
	rounds    int
	scenarios string
	times     run.Times
	idle      int
	quick     bool
	out       string
	generator string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "measure every scenario so often")
	flag.StringVar(&o.scenarios, "scenarios", "", "only the scenarios that this `regexp` matches")
	flag.DurationVar(&o.times.Duration, "duration", 1200*time.Millisecond, "length of one run")
	flag.DurationVar(&o.times.WarmUp, "warm-up", 250*time.Millisecond, "load before it that does not count")
	flag.DurationVar(&o.times.Hold, "hold", 3*time.Second, "how long idle sessions are watched")
	flag.IntVar(&o.idle, "idle", 10_000, "`number` of idle sessions")
	flag.BoolVar(&o.quick, "quick", false, "one short round, 500 idle sessions; needs -o to be kept")
	flag.StringVar(&o.out, "o", "results/latest.json", "`file` for the figures of every run; empty for none")
	flag.StringVar(&o.generator, "generator", "", "`program` that makes the load, in place of cmd/milter-performance-check")
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "o" })
	if o.quick && !given {
		o.out = ""
	}
	if o.quick {
		o.rounds, o.idle = 1, 500
		o.times = run.Times{WarmUp: 50 * time.Millisecond, Duration: 300 * time.Millisecond, Hold: time.Second}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := compare(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func compare(ctx context.Context, o options) error {
	bench, err := run.Build(o.generator)
	if err != nil {
		return err
	}
	defer bench.Close()
	scenarios, err := choose(bench, o)
	if err != nil {
		return err
	}
	r := &result.Result{
		Machine:  run.Machine(),
		Rounds:   o.rounds,
		Duration: o.times.Duration.Seconds(),
		LeftOut:  bench.LeftOut,
		Programs: bench.Programs,
	}
	if !run.CanPin() {
		r.LeftOut = append(r.LeftOut, "pinned scenarios: they need Linux and two processors")
	}
	for _, reason := range r.LeftOut {
		fmt.Fprintf(os.Stderr, "left out: %s\n", reason)
	}
	for _, s := range scenarios {
		if err := bench.Alike(s); err != nil {
			return err
		}
	}
	measure := func(filter string, s result.Scenario) (result.Figures, error) {
		return bench.Measure(filter, s, o.times)
	}
	r.Runs = run.Interleave(ctx, scenarios, o.rounds, measure, func(run result.Run) {
		fmt.Fprintln(os.Stderr, page.Line(run, o.rounds))
	})
	if ctx.Err() != nil {
		return errors.New("interrupted; nothing is kept")
	}
	fmt.Print(page.Render(r))
	if o.out == "" {
		return nil
	}
	return r.Save(o.out)
}

// choose returns the scenarios that are asked for and possible.
func choose(bench *run.Bench, o options) ([]result.Scenario, error) {
	pattern, err := regexp.Compile(o.scenarios)
	if err != nil {
		return nil, err
	}
	var list []result.Scenario
	for _, s := range bench.Select(result.Scenarios()) {
		if s.Idle > 0 {
			s.Idle = o.idle
		}
		if pattern.MatchString(s.Name) {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no scenario matches %q", o.scenarios)
	}
	return list, nil
}
