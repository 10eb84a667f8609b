package result_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/milter-go/milter/bench/result"
)

func TestSummarize(t *testing.T) {
	for _, test := range []struct {
		name   string
		values []float64
		want   result.Summary
	}{
		{"nothing", nil, result.Summary{}},
		{"one", []float64{3}, result.Summary{Median: 3, Min: 3, Max: 3, N: 1}},
		{"odd, unsorted", []float64{9, 1, 2}, result.Summary{Median: 2, Min: 1, Max: 9, N: 3}},
		{"even: between the two in the middle", []float64{1, 2, 4, 100}, result.Summary{Median: 3, Min: 1, Max: 100, N: 4}},
		{"what is no number does not count", []float64{math.NaN(), 5, math.Inf(1)}, result.Summary{Median: 5, Min: 5, Max: 5, N: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, result.Summarize(test.values)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// run is a run that took so much CPU for each message.
func run(scenario, filter string, round int, cpu float64) result.Run {
	return result.Run{Scenario: scenario, Filter: filter, Round: round, Figures: result.Figures{CPUSecondsPerMessage: cpu}}
}

func failed(r result.Run) result.Run {
	r.Error = "it failed"
	return r
}

func TestRatio(t *testing.T) {
	for _, test := range []struct {
		name string
		runs []result.Run
		want result.Summary
	}{
		{"each round by itself", []result.Run{
			run("s", "floor", 1, 1), run("s", "ours", 1, 2),
			run("s", "ours", 2, 30), run("s", "floor", 2, 10), // the whole machine was slower
			run("s", "floor", 3, 1), run("s", "ours", 3, 1),
		}, result.Summary{Median: 2, Min: 1, Max: 3, N: 3}},
		{"a round without both does not count", []result.Run{
			run("s", "floor", 1, 1), run("s", "ours", 2, 7),
			run("s", "floor", 3, 1), run("s", "ours", 3, 4),
		}, result.Summary{Median: 4, Min: 4, Max: 4, N: 1}},
		{"neither does a failed run, of either filter", []result.Run{
			run("s", "floor", 1, 1), failed(run("s", "ours", 1, 9)),
			failed(run("s", "floor", 2, 1)), run("s", "ours", 2, 9),
		}, result.Summary{}},
		{"nor one too short for any CPU", []result.Run{run("s", "floor", 1, 0), run("s", "ours", 1, 1)}, result.Summary{}},
		{"other scenarios and filters are left alone", []result.Run{
			run("s", "floor", 1, 1), run("s", "other", 1, 5), run("x", "ours", 1, 5), run("s", "ours", 1, 2),
		}, result.Summary{Median: 2, Min: 2, Max: 2, N: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &result.Result{Runs: test.runs}
			if diff := cmp.Diff(test.want, r.Ratio("s", "ours", "floor", result.CPU)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestOf(t *testing.T) {
	r := &result.Result{Runs: []result.Run{
		run("s", "ours", 1, 4), failed(run("s", "ours", 2, 100)), run("s", "ours", 3, 2), run("s", "floor", 3, 1), run("x", "ours", 3, 1),
	}}
	want := result.Summary{Median: 3, Min: 2, Max: 4, N: 2}
	if diff := cmp.Diff(want, r.Of("s", "ours", result.CPU)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSaveLoad(t *testing.T) {
	for _, test := range []struct {
		name string
		want *result.Result
	}{
		{"no runs", &result.Result{Rounds: 2}},
		{"one", &result.Result{LeftOut: []string{"x: it is not there"}, Runs: []result.Run{failed(run("s", "ours", 1, 4))}}},
		{"two", &result.Result{Runs: []result.Run{run("s", "ours", 1, 4), run("s", "floor", 1, 2)}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := t.TempDir() + "/folder/result.json"
			if err := test.want.Save(name); err != nil {
				t.Fatal(err)
			}
			got, err := result.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
