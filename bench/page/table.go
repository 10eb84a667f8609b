package page

import (
	"fmt"
	"slices"
	"strings"

	"github.com/milter-go/milter/bench/result"
)

// A table has a row for each scenario and a column for each filter.
type table struct {
	title string
	text  string
	has   func(s result.Scenario) bool
	// cell is what stands at a filter in a scenario; empty if it was not measured.
	cell func(r *result.Result, s result.Scenario, filter string) string
}

func tables() []table {
	every := func(s result.Scenario) bool { return s.Idle == 0 && s.Base() == result.Floor }
	idle := func(s result.Scenario) bool { return s.Idle > 0 }
	return []table{
		{"CPU of the filter for each message, as a ratio to the floor", "The floor's own column is its median in microseconds.", every, cpu},
		{"CPU, this library in other modes", "Compared with a filter that answers every event at once, by the handler's return value: " +
			"every event answered by another goroutine (ours-late), end of message only (ours-late-end), " +
			"and no event asked for but the body's (ours-body).",
			func(s result.Scenario) bool { return s.Base() == result.Ours }, cpu},
		{"Messages per second", "Median.", every, func(r *result.Result, s result.Scenario, f string) string {
			return median(r.Of(s.Name, f, result.Throughput), func(x float64) string { return fmt.Sprintf("%.0f", x) })
		}},
		{"Latency of a message, p50 / p99", "Medians of the rounds.", every, func(r *result.Result, s result.Scenario, f string) string {
			return pair(median(r.Of(s.Name, f, result.P50), seconds), median(r.Of(s.Name, f, result.P99), seconds))
		}},
		{"System calls for each message, reads / writes", "Medians. Calls of another kind (poll, epoll, futex) are not counted.", every,
			func(r *result.Result, s result.Scenario, f string) string {
				return pair(median(r.Of(s.Name, f, result.Reads), number), median(r.Of(s.Name, f, result.Writes), number))
			}},
		{"Memory of the process after the run, MiB", "Resident, median.", every, func(r *result.Result, s result.Scenario, f string) string {
			return median(r.Of(s.Name, f, result.RSS), func(x float64) string { return fmt.Sprintf("%.1f", x/(1<<20)) })
		}},
		{"Memory of an idle session, KiB / CPU while all are idle, s", "Resident. idle: no message has come yet. idle-64k: one message with a body of 64 KiB has.", idle,
			func(r *result.Result, s result.Scenario, f string) string {
				memory := median(r.Of(s.Name, f, result.IdleRSS), func(x float64) string { return fmt.Sprintf("%.1f", x/(1<<10)) })
				return pair(memory, median(r.Of(s.Name, f, result.IdleCPU), number))
			}},
	}
}

// cpu is the ratio, and at the filter that the others are compared with the CPU
// itself.
func cpu(r *result.Result, s result.Scenario, filter string) string {
	if filter == s.Base() {
		return median(r.Of(s.Name, filter, result.CPU), func(x float64) string { return fmt.Sprintf("%.1f µs", 1e6*x) })
	}
	ratio := r.Ratio(s.Name, filter, s.Base(), result.CPU)
	if ratio.N == 0 {
		return ""
	}
	return summary(ratio)
}

func (t table) write(b *strings.Builder, r *result.Result) {
	var filters []string
	var rows []result.Scenario
	for _, s := range result.Scenarios() {
		if !t.has(s) {
			continue
		}
		measured := false
		for _, f := range s.Filters {
			if t.cell(r, s, f) != "" {
				measured = true
				if !slices.Contains(filters, f) {
					filters = append(filters, f)
				}
			}
		}
		if measured {
			rows = append(rows, s)
		}
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n| scenario | %s |\n|---|%s\n", t.title, t.text, strings.Join(filters, " | "), strings.Repeat("---:|", len(filters)))
	for _, s := range rows {
		fmt.Fprintf(b, "| %s |", s.Name)
		for _, f := range filters {
			cell := t.cell(r, s, f)
			if cell == "" {
				cell = "–"
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		b.WriteByte('\n')
	}
}

func median(s result.Summary, format func(float64) string) string {
	if s.N == 0 {
		return ""
	}
	return format(s.Median)
}

func pair(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " / " + b
}

// summary is a median and its range, if there is one.
func summary(s result.Summary) string {
	if s.N == 1 {
		return fmt.Sprintf("%.2f", s.Median)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s.Median, s.Min, s.Max)
}

// number has two decimals, or none if they are zero.
func number(x float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.2f", x), ".00")
}

// seconds is a duration with three digits, in the unit that suits it.
func seconds(x float64) string {
	switch {
	case x < 1e-3:
		return fmt.Sprintf("%.3g µs", 1e6*x)
	case x < 1:
		return fmt.Sprintf("%.3g ms", 1e3*x)
	}
	return fmt.Sprintf("%.3g s", x)
}
