// Package page writes the results of a comparison as Markdown.
package page

import (
	"fmt"
	"math"
	"strings"

	"github.com/milter-go/milter/bench/result"
)

// enough is how many rounds make a comparison that can be trusted.
const enough = 5

// The marks between which the generated part of a document stands.
const (
	begin = "<!-- begin: generated -->"
	end   = "<!-- end: generated -->"
)

// Insert returns document with its generated part replaced.
func Insert(document, generated string) (string, error) {
	before, rest, ok := strings.Cut(document, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("page: the document has no %q and %q", begin, end)
	}
	return before + begin + "\n\n" + strings.TrimSpace(generated) + "\n\n" + end + after, nil
}

// Document returns what stands between the marks: the pictures, which are files in
// folder, and the tables.
func Document(r *result.Result, folder string) string {
	var b strings.Builder
	about(&b, r)
	for _, c := range Charts(r) {
		fmt.Fprintf(&b, "\n![%s](%s/%s)\n", c.Alt, folder, c.File)
	}
	render(&b, r)
	return b.String()
}

// Render returns the tables of all that r has.
func Render(r *result.Result) string {
	var b strings.Builder
	about(&b, r)
	render(&b, r)
	return b.String()
}

func render(b *strings.Builder, r *result.Result) {
	b.WriteString("\n### Goals\n\n")
	b.WriteString(Goals(r, result.Goals()))
	for _, t := range tables() {
		t.write(b, r)
	}
	faults(b, r)
	others(b, r)
}

func about(b *strings.Builder, r *result.Result) {
	m := r.Machine
	fmt.Fprintf(b, "Measured on %s: %s, %d processors, %s, %s. %s, runs of %.4g s.\n",
		m.Date.Format("2 January 2006"), m.CPU, m.CPUs, m.Kernel, m.Go, plural(r.Rounds, "round"), r.Duration)
	if r.Rounds < enough {
		fmt.Fprintf(b, "\n**A trial run.** It has fewer than %d rounds: its figures say that everything works, and little more.\n", enough)
	}
	b.WriteString("\n| filter | |\n|---|---|\n")
	for _, p := range r.Programs {
		fmt.Fprintf(b, "| %s | %s |\n", p.Name, p.Version)
	}
	for _, reason := range r.LeftOut {
		fmt.Fprintf(b, "\nLeft out: %s.\n", reason)
	}
}

// Goals returns the table of goals and how they were met.
func Goals(r *result.Result, goals []result.Goal) string {
	var b strings.Builder
	b.WriteString("| measure | goal (must not exceed) | measured: median (min–max) | met |\n|---|---|---|---|\n")
	for _, g := range goals {
		s, scenario := g.Measure(r)
		measured := "–"
		if s.N > 0 {
			measured = number(s.Median)
			if s.N > 1 {
				measured = summary(s)
			}
			if g.Unit != "" {
				measured += " " + g.Unit
			}
		}
		if scenario != "" {
			measured += ", " + scenario
		}
		unit := g.Unit
		if unit != "" {
			unit = " " + unit
		}
		fmt.Fprintf(&b, "| %s | %s (%s)%s | %s | %s |\n", g.Title, number(g.Goal), number(g.Limit), unit, measured, g.Judge(s))
	}
	return b.String()
}

// faults lists the runs that failed.
func faults(b *strings.Builder, r *result.Result) {
	title := "\n### Runs that failed\n\n"
	for _, run := range r.Runs {
		if run.Error != "" {
			fmt.Fprintf(b, "%s- %s, %s, round %d: %s\n", title, run.Scenario, run.Filter, run.Round, strings.ReplaceAll(run.Error, "\n", " "))
			title = ""
		}
	}
}

// others lists the filters that had another number of round trips than the one they
// are compared with.
func others(b *strings.Builder, r *result.Result) {
	scenarios := make(map[string][]string)
	var filters []string
	for _, s := range result.Scenarios() {
		want := r.Of(s.Name, s.Base(), result.RoundTrips)
		for _, f := range s.Filters[1:] {
			got := r.Of(s.Name, f, result.RoundTrips)
			if s.OfferAll || got.N == 0 || want.N == 0 || math.Abs(got.Median-want.Median) < 0.5 {
				continue
			}
			key := fmt.Sprintf("%s, %+.0f for each message", f, got.Median-want.Median)
			if scenarios[key] == nil {
				filters = append(filters, key)
			}
			scenarios[key] = append(scenarios[key], s.Name)
		}
	}
	if len(filters) == 0 {
		return
	}
	b.WriteString("\n### Other numbers of round trips\n\nThese filters negotiate another dialogue than the one they are compared with.\n\n")
	for _, key := range filters {
		fmt.Fprintf(b, "- %s: %s\n", key, strings.Join(scenarios[key], ", "))
	}
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Line is one run in one line, for somebody who waits.
func Line(run result.Run, rounds int) string {
	head := fmt.Sprintf("round %d/%d  %-20s %-13s", run.Round, rounds, run.Scenario, run.Filter)
	f := run.Figures
	switch {
	case run.Error != "":
		return head + " " + run.Error
	case f.RSSBytesPerIdleSession > 0:
		return head + fmt.Sprintf(" %8.2f KiB a session, %.2f s CPU while idle", f.RSSBytesPerIdleSession/1024, f.CPUSecondsWhileIdle)
	}
	return head + fmt.Sprintf(" %8.1f µs CPU %8.0f messages/s  p50 %s  p99 %s  %.1f reads %.1f writes", 1e6*f.CPUSecondsPerMessage,
		f.MessagesPerSecond, seconds(f.Latency.P50), seconds(f.Latency.P99), f.ReadsPerMessage, f.WritesPerMessage)
}
