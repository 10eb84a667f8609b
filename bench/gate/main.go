// Gate is the short part of the comparison that a busy machine can judge: system
// calls for each message, and the CPU of one pinned session in pairs with the floor.
// It exits with status 1 when a bound is exceeded. The bounds are result.Gates.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/milter-go/milter/bench/page"
	"github.com/milter-go/milter/bench/result"
	"github.com/milter-go/milter/bench/run"
)

// pairs is how often each filter is measured; the medians count.
const pairs = 5

func main() {
	generator := flag.String("generator", "", "`program` that makes the load, in place of cmd/milter-performance-check")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ok, err := gate(ctx, *generator)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// gate measures, prints, and reports whether all bounds hold.
func gate(ctx context.Context, generator string) (bool, error) {
	bench, err := run.Build(generator)
	if err != nil {
		return false, err
	}
	defer bench.Close()
	var scenarios []result.Scenario
	for _, name := range []string{"unix-c1-4k", "unix-noreply-c1-4k", "pinned-c1-4k"} {
		s, err := result.Find(name)
		if err != nil {
			return false, err
		}
		s.Filters = []string{result.Floor, result.Ours}
		scenarios = append(scenarios, s)
	}
	if !run.CanPin() {
		fmt.Println("left out: the pinned session; it needs Linux and two processors")
	}
	times := run.Times{WarmUp: 200 * time.Millisecond, Duration: 800 * time.Millisecond}
	r := &result.Result{Machine: run.Machine(), Rounds: pairs, Duration: times.Duration.Seconds(), Programs: bench.Programs}
	measure := func(filter string, s result.Scenario) (result.Figures, error) { return bench.Measure(filter, s, times) }
	failed := false
	r.Runs = run.Interleave(ctx, bench.Select(scenarios), pairs, measure, func(run result.Run) {
		fmt.Fprintln(os.Stderr, page.Line(run, pairs))
		failed = failed || run.Error != ""
	})
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	fmt.Print("\n", page.Goals(r, result.Gates()), "\n")
	return judge(r, result.Gates()) && !failed, nil
}

// judge says which bounds are exceeded.
func judge(r *result.Result, gates []result.Goal) bool {
	ok := true
	for _, g := range gates {
		s, scenario := g.Measure(r)
		switch g.Judge(s) {
		case result.Missed:
			fmt.Printf("gate: %s: %.2f, and must not exceed %.4g (%s, median of %d)\n", g.Title, s.Median, g.Limit, scenario, s.N)
			ok = false
		case result.Unknown:
			fmt.Printf("gate: %s: not measured\n", g.Title)
		}
	}
	return ok
}
