package page

import (
	"fmt"

	"github.com/milter-go/milter/bench/plot"
	"github.com/milter-go/milter/bench/result"
)

// Colours that people who do not see all of them can tell apart.
var colors = map[string]string{
	result.Floor:     "#8a8a8a",
	result.Ours:      "#0072b2",
	result.Libmilter: "#d55e00",
	result.Emersion:  "#009e73",
}

// A Chart is a picture of the page.
type Chart struct {
	File string // without its folder
	Alt  string // what it shows, for those who do not see it
	SVG  string
}

// Charts draws all of r that there is a chart for.
func Charts(r *result.Result) []Chart {
	var filters []string
	for _, p := range r.Programs {
		filters = append(filters, p.Name)
	}
	return []Chart{
		cpuChart(r, filters, "unix", "unix sockets"),
		cpuChart(r, filters, "inet", "TCP"),
		latencyChart(r, filters),
		throughputChart(r, filters),
		idleChart(r, filters),
	}
}

// kinds are the loads of the CPU charts, by the scenario's name without its network.
var kinds = []struct{ name, label string }{
	{"c16-4k", "16 sessions, 4 KiB"},
	{"c256-4k", "256 sessions, 4 KiB"},
	{"c16-64k", "16 sessions, 64 KiB"},
	{"c256-64k", "256 sessions, 64 KiB"},
	{"c16-1m", "16 sessions, 1 MiB"},
	{"new-c16-4k", "new connections"},
	{"mods-c16-4k", "ten changes, body"},
	{"noreply-c16-4k", "no-reply steps"},
}

// axisLimit cuts the bars of the CPU charts: beyond it only the number matters.
const axisLimit = 6

func cpuChart(r *result.Result, filters []string, network, over string) Chart {
	b := plot.Bars{
		Title:     "CPU of the filter for each message, over " + over,
		Subtitle:  fmt.Sprintf("Ratio to a bare Go echo loop (the dashed line) of the same round: median of %s, and range. Less is better.", plural(r.Rounds, "round")),
		Axis:      "times the CPU of the floor",
		Reference: 1,
		Limit:     axisLimit,
		Format:    number,
		Number:    func(x float64) string { return fmt.Sprintf("%.2f", x) },
	}
	for _, f := range filters {
		if f != result.Floor {
			b.Series = append(b.Series, series(f))
		}
	}
	for _, k := range kinds {
		row := plot.Row{Label: k.label}
		for _, s := range b.Series {
			row.Values = append(row.Values, value(r.Ratio(network+"-"+k.name, s.Name, result.Floor, result.CPU), 1))
		}
		b.Rows = append(b.Rows, row)
	}
	return Chart{"cpu-" + network + ".svg", b.Title, b.SVG()}
}

func latencyChart(r *result.Result, filters []string) Chart {
	c := plot.Ranges{
		Title:    "Latency of a message, over unix sockets",
		Subtitle: "From the median (full dot) to the 99th percentile (open dot), body of 4 KiB. The generator keeps all processors busy.",
		Axis:     "latency, logarithmic",
		Format:   seconds,
	}
	for _, f := range filters {
		c.Series = append(c.Series, series(f))
	}
	for _, k := range []struct{ scenario, label string }{
		{"unix-c1-4k", "1 session"}, {"unix-c16-4k", "16 sessions"}, {"unix-c256-4k", "256 sessions"},
	} {
		row := plot.Row{Label: k.label}
		for _, f := range filters {
			p50, p99 := r.Of(k.scenario, f, result.P50), r.Of(k.scenario, f, result.P99)
			row.Values = append(row.Values, plot.Value{Low: p50.Median, High: p99.Median, OK: p50.N > 0 && p99.N > 0})
		}
		c.Rows = append(c.Rows, row)
	}
	return Chart{"latency.svg", c.Title, c.SVG()}
}

func throughputChart(r *result.Result, filters []string) Chart {
	l := plot.Lines{
		Title:    "Messages per second by the number of sessions, over unix sockets",
		Subtitle: "Body of 4 KiB; median and range. The generator takes its share of the same processors.",
		XAxis:    "sessions at once",
		YAxis:    "messages per second",
		X:        []string{"1", "16", "256", "2000"},
		Format:   func(x float64) string { return fmt.Sprintf("%.0f", x) },
	}
	for _, f := range filters {
		l.Series = append(l.Series, series(f))
		var values []plot.Value
		for _, sessions := range l.X {
			values = append(values, value(r.Of("unix-c"+sessions+"-4k", f, result.Throughput), 1))
		}
		l.Values = append(l.Values, values)
	}
	return Chart{"throughput.svg", l.Title, l.SVG()}
}

func idleChart(r *result.Result, filters []string) Chart {
	b := plot.Bars{
		Title:    "Memory of an idle session",
		Subtitle: "Resident memory of the filter's process for each session that waits. Less is better.",
		Axis:     "KiB for each session",
		Series:   []plot.Series{{Name: "before the first message", Color: "#56b4e9"}, {Name: "after a message of 64 KiB", Color: "#0072b2"}},
		Format:   func(x float64) string { return fmt.Sprintf("%.3g", x) },
	}
	for _, f := range filters {
		b.Rows = append(b.Rows, plot.Row{Label: f, Values: []plot.Value{
			value(r.Of("idle", f, result.IdleRSS), 1<<10),
			value(r.Of("idle-64k", f, result.IdleRSS), 1<<10),
		}})
	}
	return Chart{"idle.svg", b.Title, b.SVG()}
}

func series(filter string) plot.Series { return plot.Series{Name: filter, Color: colors[filter]} }

// value is a summary in a larger unit.
func value(s result.Summary, unit float64) plot.Value {
	return plot.Value{Median: s.Median / unit, Low: s.Min / unit, High: s.Max / unit, OK: s.N > 0}
}
