package result_test

import (
	"testing"

	"github.com/milter-go/milter/bench/result"
)

// all is a result that has every filter in every scenario. The floor's figures are 1;
// ours are by in the scenario worst and 1 elsewhere.
func all(worst string, by float64) *result.Result {
	r := new(result.Result)
	for _, s := range result.Scenarios() {
		for _, f := range s.Filters {
			v := 1.0
			if f == result.Ours && s.Name == worst {
				v = by
			}
			r.Runs = append(r.Runs, result.Run{Scenario: s.Name, Filter: f, Round: 1, Figures: result.Figures{
				MessagesPerSecond: v, Latency: result.Latency{P50: 1, P99: v}, CPUSecondsPerMessage: v,
				ReadsPerMessage: v, WritesPerMessage: v, RSSBytesPerIdleSession: 1024 * v, CPUSecondsWhileIdle: v,
			}})
		}
	}
	return r
}

// TestGoalsAreMeasured: a scenario or filter that a goal names and nobody measures
// would leave it without a verdict.
func TestGoalsAreMeasured(t *testing.T) {
	r := all("", 0)
	for _, g := range append(result.Goals(), result.Gates()...) {
		if s, _ := g.Measure(r); s.N == 0 {
			t.Errorf("%s: nothing measures it", g.Title)
		}
		if g.Goal > g.Limit {
			t.Errorf("%s: the goal %v is beyond the limit %v", g.Title, g.Goal, g.Limit)
		}
		if s, _ := g.Measure(new(result.Result)); s.N != 0 || g.Judge(s) != result.Unknown {
			t.Errorf("%s: has a verdict without any run", g.Title)
		}
	}
}

// goal returns the goal of that title.
func goal(t *testing.T, title string) result.Goal {
	t.Helper()
	for _, g := range append(result.Goals(), result.Gates()...) {
		if g.Title == title {
			return g
		}
	}
	t.Fatalf("there is no goal %q", title)
	return result.Goal{}
}

func TestMeasure(t *testing.T) {
	for _, test := range []struct {
		name         string
		title        string
		worst        string
		by           float64
		wantMedian   float64
		wantScenario string
		want         result.Verdict
	}{
		{"the worst scenario counts", "CPU to the floor, 16 and 256 sessions, 4 and 64 KiB", "inet-c256-64k", 1.5, 1.5, "inet-c256-64k", result.Missed},
		{"a better one does not", "CPU to the floor, 16 and 256 sessions, 4 and 64 KiB", "inet-c256-64k", 0.5, 1, "unix-c16-4k", result.Met},
		{"beyond the goal and not the limit", "CPU to the floor, one session, pinned", "pinned-c1-64k", 1.12, 1.12, "pinned-c1-64k", result.Within},
		{"a ratio has no slack", "CPU to the floor, one session, pinned", "pinned-c1-64k", 1.16, 1.16, "pinned-c1-64k", result.Missed},
		{"a count has a little", "reads of a message, one session, 4 KiB", "unix-c1-4k", 26.2, 26.2, "unix-c1-4k", result.Met},
		{"and no more", "writes of a message, one session, 4 KiB", "unix-c1-4k", 26.3, 26.3, "unix-c1-4k", result.Missed},
		{"in KiB", "memory of an idle session", "idle", 5.5, 5.5, "idle", result.Within},
		{"late against at once, which got faster", "CPU, every event answered late, to answered at once", "late-c16-4k", 0.5, 2, "late-c16-4k", result.Missed},
		{"the lowest throughput, in percent below the highest", "messages/s at 1, 16, 256 and 2000 sessions: lowest below highest", "unix-c2000-4k", 0.75, 25, "", result.Missed},
		{"the highest as well", "messages/s at 1, 16, 256 and 2000 sessions: lowest below highest", "unix-c16-4k", 2, 50, "", result.Missed},
		{"p99 to p50", "latency at 256 sessions, p99/p50", "unix-c256-4k", 2.5, 2.5, "unix-c256-4k", result.Within},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := goal(t, test.title)
			s, scenario := g.Measure(all(test.worst, test.by))
			if s.Median != test.wantMedian || scenario != test.wantScenario {
				t.Errorf("got %v in %q, want %v in %q", s.Median, scenario, test.wantMedian, test.wantScenario)
			}
			if got := g.Judge(s); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestGates: a gate fails by what it measures.
func TestGates(t *testing.T) {
	for _, g := range result.Gates() {
		_, scenario := g.Measure(all("", 0))
		if s, _ := g.Measure(all(scenario, g.Limit+0.5)); g.Judge(s) != result.Missed {
			t.Errorf("%s: %v passes, and the limit is %v", g.Title, s.Median, g.Limit)
		}
		if s, _ := g.Measure(all(scenario, g.Limit)); g.Judge(s) == result.Missed {
			t.Errorf("%s: the limit %v itself does not pass", g.Title, g.Limit)
		}
	}
}

func TestFind(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range result.Scenarios() {
		if seen[s.Name] {
			t.Errorf("two scenarios are called %s", s.Name)
		}
		seen[s.Name] = true
		if got, err := result.Find(s.Name); err != nil || got.Name != s.Name {
			t.Errorf("got %v, %v, want %s", got.Name, err, s.Name)
		}
	}
	if _, err := result.Find("nothing"); err == nil {
		t.Error("found what is not there")
	}
}
