package result

import (
	"math"
	"slices"
)

// A Figure is one number of a run. It is NaN where the run has no such number.
type Figure func(f Figures) float64

// The figures that are reported.
var (
	CPU        Figure = func(f Figures) float64 { return positive(f.CPUSecondsPerMessage) }
	Throughput Figure = func(f Figures) float64 { return positive(f.MessagesPerSecond) }
	RoundTrips Figure = func(f Figures) float64 { return f.RoundTripsPerMessage }
	P50        Figure = func(f Figures) float64 { return positive(f.Latency.P50) }
	P99        Figure = func(f Figures) float64 { return positive(f.Latency.P99) }
	Unfairness Figure = func(f Figures) float64 { return positive(f.Latency.P99) / positive(f.Latency.P50) }
	Reads      Figure = func(f Figures) float64 { return positive(f.ReadsPerMessage) }
	Writes     Figure = func(f Figures) float64 { return positive(f.WritesPerMessage) }
	RSS        Figure = func(f Figures) float64 { return positive(f.RSS) }
	IdleRSS    Figure = func(f Figures) float64 { return positive(f.RSSBytesPerIdleSession) }
	IdleCPU    Figure = func(f Figures) float64 { return f.CPUSecondsWhileIdle }
)

// positive keeps a number that can have been measured.
func positive(x float64) float64 {
	if x > 0 {
		return x
	}
	return math.NaN()
}

// A Summary is what several rounds have measured of the same thing. N is how many
// rounds; without any the rest means nothing.
type Summary struct {
	Median, Min, Max float64
	N                int
}

// Summarize returns the summary of values, without those that are not finite.
func Summarize(values []float64) Summary {
	var sorted []float64
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			sorted = append(sorted, v)
		}
	}
	n := len(sorted)
	if n == 0 {
		return Summary{}
	}
	slices.Sort(sorted)
	return Summary{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1], N: n}
}

// Of summarizes a figure of a filter over the rounds of a scenario.
func (r *Result) Of(scenario, filter string, figure Figure) Summary {
	var values []float64
	for _, run := range r.Runs {
		if run.Scenario == scenario && run.Filter == filter && run.Error == "" {
			values = append(values, figure(run.Figures))
		}
	}
	return Summarize(values)
}

// Ratio summarizes a figure of a filter divided by the same figure of another
// filter in the same round. Only the rounds that have both count.
func (r *Result) Ratio(scenario, filter, against string, figure Figure) Summary {
	base := make(map[int]float64)
	for _, run := range r.Runs {
		if run.Scenario == scenario && run.Filter == against && run.Error == "" {
			base[run.Round] = figure(run.Figures)
		}
	}
	var values []float64
	for _, run := range r.Runs {
		if run.Scenario != scenario || run.Filter != filter || run.Error != "" {
			continue
		}
		if b, ok := base[run.Round]; ok {
			values = append(values, figure(run.Figures)/b)
		}
	}
	return Summarize(values)
}
