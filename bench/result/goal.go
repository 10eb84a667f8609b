package result

import "math"

// A Goal is a figure that this library is held to.
type Goal struct {
	Title string
	Unit  string
	// Goal is what to reach, Limit what must not be exceeded.
	Goal, Limit float64

	// The measure: a figure of a filter in scenarios, of which the worst counts,
	// as a ratio if there is a filter to compare with.
	scenarios       []string
	filter, against string
	figure          Figure
	scale           float64 // the figure's unit in Unit; zero is one
	slack           float64 // how far above Goal and Limit is no fault
	spread          bool    // how far the lowest of the medians is below the highest
}

// Goals returns the goals of this library.
func Goals() []Goal {
	both := func(names ...string) (all []string) {
		for _, name := range names {
			all = append(all, "unix-"+name, "inet-"+name)
		}
		return all
	}
	cpu := func(title string, goal, limit float64, against string, scenarios ...string) Goal {
		return Goal{Title: title, Unit: "×", Goal: goal, Limit: limit, scenarios: scenarios, filter: Ours, against: against, figure: CPU}
	}
	plain := func(title, unit string, goal, limit float64, figure Figure, scenarios ...string) Goal {
		return Goal{Title: title, Unit: unit, Goal: goal, Limit: limit, scenarios: scenarios, filter: Ours, figure: figure}
	}
	calls := func(title string, goal, limit float64, figure Figure, scenario string) Goal {
		g := plain(title, "", goal, limit, figure, scenario)
		g.slack = slack
		return g
	}
	idle := plain("CPU while all sessions are idle", "s", 0, 0, IdleCPU, "idle", "idle-64k")
	idle.slack = idleSlack
	late := cpu("CPU, every event answered late, to answered at once", 1.10, 1.10, Ours, "late-c16-4k")
	late.filter = OursLate
	spread := plain("messages/s at 1, 16, 256 and 2000 sessions: lowest below highest", "%", 15, 15, Throughput,
		"unix-c1-4k", "unix-c16-4k", "unix-c256-4k", "unix-c2000-4k")
	spread.spread = true
	kib := func(g Goal) Goal {
		g.scale = 1 << 10
		return g
	}
	return []Goal{
		cpu("CPU to the floor, 16 and 256 sessions, 4 and 64 KiB", 1.05, 1.15, Floor, both("c16-4k", "c256-4k", "c16-64k", "c256-64k")...),
		cpu("CPU to the floor, 16 sessions, 1 MiB", 1.05, 1.25, Floor, both("c16-1m")...),
		cpu("CPU to the floor, one session, pinned", 1.08, 1.15, Floor, "pinned-c1-4k", "pinned-c1-64k"),
		cpu("CPU to the floor, ten changes and a new body", 1.10, 1.25, Floor, both("mods-c16-4k")...),
		cpu("CPU to the floor, new connection for each message", 1.00, 1.10, Floor, both("new-c16-4k")...),
		cpu("CPU to the floor, no-reply steps", 1.15, 1.35, Floor, both("noreply-c16-4k")...),
		cpu("CPU to libmilter, 16 and 256 sessions, 4 KiB", 0.30, 0.40, Libmilter, "unix-c16-4k", "unix-c256-4k"),
		cpu("CPU to emersion/go-milter, 16 and 256 sessions, 4 KiB", 0.45, 0.55, Emersion, "unix-c16-4k", "unix-c256-4k"),
		calls("reads of a message, one session, 4 KiB", 26, 32, Reads, "unix-c1-4k"),
		calls("writes of a message, one session, 4 KiB", 26, 26, Writes, "unix-c1-4k"),
		calls("reads of a message, one session, no-reply steps", 2, 3, Reads, "unix-noreply-c1-4k"),
		calls("writes of a message, one session, no-reply steps", 1, 1, Writes, "unix-noreply-c1-4k"),
		late,
		kib(plain("memory of an idle session", "KiB", 5, 6, IdleRSS, "idle")),
		kib(plain("the same after a message of 64 KiB", "KiB", 6, 8, IdleRSS, "idle-64k")),
		idle,
		spread,
		plain("latency at 256 sessions, p99/p50", "", 2, 3, Unfairness, "unix-c256-4k"),
	}
}

// Gates returns what a short run on a noisy machine can hold this library to: system
// calls, which do not depend on the machine, and the steadiest of the ratios with a
// generous bound. Goal is the one of [Goals], where there is one.
func Gates() []Goal {
	gate := func(title string, goal, limit float64, against string, figure Figure, scenario string) Goal {
		g := Goal{Title: title, Goal: goal, Limit: limit, scenarios: []string{scenario}, filter: Ours, against: against, figure: figure}
		if against == "" {
			g.slack = slack
		} else {
			g.Unit = "×"
		}
		return g
	}
	return []Goal{
		gate("reads of a message, one session", 26, 32, "", Reads, "unix-c1-4k"),
		gate("writes of a message, one session", 26, 26, "", Writes, "unix-c1-4k"),
		gate("reads of a message, no-reply steps", 2, 3, "", Reads, "unix-noreply-c1-4k"),
		gate("writes of a message, no-reply steps", 1, 1, "", Writes, "unix-noreply-c1-4k"),
		gate("CPU to the floor, one session, pinned", 1.08, 1.50, Floor, CPU, "pinned-c1-4k"),
	}
}

// slack is how far above its goal a count of system calls may be: now and then the
// runtime of Go wakes itself up by one.
const slack = 0.25

// idleSlack is the CPU time in seconds that counts as none: what is left over from
// the sessions' beginning.
const idleSlack = 0.005

// A Verdict says how a goal was met.
type Verdict string

// The verdicts.
const (
	Met     Verdict = "yes"
	Within  Verdict = "within the limit"
	Missed  Verdict = "**no**"
	Unknown Verdict = "not measured"
)

// Measure returns what r says of the goal: the summary of the worst scenario, and
// its name.
func (g Goal) Measure(r *Result) (worst Summary, scenario string) {
	if g.spread {
		return g.measureSpread(r), ""
	}
	for _, name := range g.scenarios {
		s := r.Of(name, g.filter, g.figure)
		if g.against != "" {
			s = r.Ratio(name, g.filter, g.against, g.figure)
		}
		if s.N > 0 && (worst.N == 0 || s.Median > worst.Median) {
			worst, scenario = s, name
		}
	}
	if g.scale != 0 {
		worst.Median, worst.Min, worst.Max = worst.Median/g.scale, worst.Min/g.scale, worst.Max/g.scale
	}
	return worst, scenario
}

// measureSpread compares the scenarios with each other, in percent of the highest.
func (g Goal) measureSpread(r *Result) Summary {
	low, high := math.Inf(1), 0.0
	for _, name := range g.scenarios {
		s := r.Of(name, g.filter, g.figure)
		if s.N == 0 {
			return Summary{}
		}
		low, high = min(low, s.Median), max(high, s.Median)
	}
	below := 100 * (1 - low/high)
	return Summary{Median: below, Min: below, Max: below, N: 1}
}

// Judge returns the verdict on a measured summary. The median counts.
func (g Goal) Judge(s Summary) Verdict {
	switch {
	case s.N == 0:
		return Unknown
	case s.Median <= g.Goal+g.slack:
		return Met
	case s.Median <= g.Limit+g.slack:
		return Within
	}
	return Missed
}
