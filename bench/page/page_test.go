package page_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/bench/page"
	"github.com/milter-go/milter/bench/result"
)

func TestInsert(t *testing.T) {
	for _, test := range []struct {
		name     string
		document string
		want     string
		wantErr  bool
	}{
		{"the first time", "a\n<!-- begin: generated -->\n<!-- end: generated -->\nb\n",
			"a\n<!-- begin: generated -->\n\nnew\n\n<!-- end: generated -->\nb\n", false},
		{"in place of the old part", "a\n<!-- begin: generated -->\n\nold\n\nolder\n\n<!-- end: generated -->\nb\n",
			"a\n<!-- begin: generated -->\n\nnew\n\n<!-- end: generated -->\nb\n", false},
		{"no marks", "a\nb\n", "", true},
		{"no end", "a\n<!-- begin: generated -->\nb\n", "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := page.Insert(test.document, "\nnew\n\n")
			if (err != nil) != test.wantErr {
				t.Errorf("got error %v", err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// three is a result of three rounds of two scenarios.
func three() *result.Result {
	r := &result.Result{
		Machine:  result.Machine{Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), CPU: "A processor", CPUs: 2, Kernel: "Linux 6", Go: "go1.25.0"},
		Rounds:   3,
		Duration: 1.5,
		LeftOut:  []string{"libmilter: there is no header"},
		Programs: []result.Program{{Name: "floor", Version: "a loop"}, {Name: "ours", Version: "this library"}},
	}
	add := func(scenario, filter string, round int, cpu, p50 float64) {
		r.Runs = append(r.Runs, result.Run{Scenario: scenario, Filter: filter, Round: round, Figures: result.Figures{
			CPUSecondsPerMessage: cpu, MessagesPerSecond: 1000 / cpu, RoundTripsPerMessage: 26, Latency: result.Latency{P50: p50, P99: 2 * p50},
			ReadsPerMessage: 26, WritesPerMessage: 26.017, RSS: 10 << 20,
		}})
	}
	for round := 1; round <= 3; round++ {
		add("unix-c16-4k", "floor", round, 100e-6, 0.0012)
		add("unix-c16-4k", "ours", round, float64(round)*100e-6, 0.0024)
		add("unix-c256-4k", "floor", round, 110e-6, 0.5)
	}
	return r
}

func TestRender(t *testing.T) {
	r := three()
	r.Runs = append(r.Runs, result.Run{Scenario: "unix-c256-4k", Filter: "ours", Round: 1, Error: "it\nbroke"})
	short := result.Run{Scenario: "unix-c1-4k", Filter: "floor", Round: 1, Figures: result.Figures{RoundTripsPerMessage: 26}}
	r.Runs = append(r.Runs, short)
	short.Filter, short.Figures.RoundTripsPerMessage = "emersion", 25
	r.Runs = append(r.Runs, short)
	idle := result.Run{Scenario: "idle", Filter: "ours", Round: 1, Figures: result.Figures{RSSBytesPerIdleSession: 5 << 10}}
	r.Runs = append(r.Runs, idle)
	text := page.Render(r)
	for _, want := range []string{
		"Measured on 2 January 2026: A processor, 2 processors, Linux 6, go1.25.0. 3 rounds, runs of 1.5 s.\n",
		"**A trial run.** It has fewer than 5 rounds",
		"| ours | this library |\n",
		"\nLeft out: libmilter: there is no header.\n",
		// The goals: the worst scenario that was measured, and what was not.
		"| CPU to the floor, 16 and 256 sessions, 4 and 64 KiB | 1.05 (1.15) × | 2.00 (1.00–3.00) ×, unix-c16-4k | **no** |\n",
		"| CPU to the floor, no-reply steps | 1.15 (1.35) × | – | not measured |\n",
		"| memory of an idle session | 5 (6) KiB | 5 KiB, idle | yes |\n",
		// The tables: a row for what was measured, a dash for what was not.
		"| scenario | floor | ours |\n|---|---:|---:|\n| unix-c16-4k | 100.0 µs | 2.00 (1.00–3.00) |\n| unix-c256-4k | 110.0 µs | – |\n",
		"| unix-c16-4k | 1.2 ms / 2.4 ms | 2.4 ms / 4.8 ms |\n| unix-c256-4k | 500 ms / 1 s | – |\n",
		"| unix-c16-4k | 26 / 26.02 | 26 / 26.02 |\n",
		"| unix-c16-4k | 10.0 | 10.0 |\n",
		"| idle | 5.0 / 0 |\n",
		"\n### Runs that failed\n\n- unix-c256-4k, ours, round 1: it broke\n",
		"- emersion, -1 for each message: unix-c1-4k\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestRenderEnough(t *testing.T) {
	r := three()
	r.Rounds = 5
	text := page.Render(r)
	for _, unwanted := range []string{"trial run", "failed", "Other numbers of round trips", "idle session, KiB", "in other modes"} {
		if strings.Contains(text, unwanted) {
			t.Errorf("%q is in\n%s", unwanted, text)
		}
	}
}

// TestDocument: the pictures are shown and exist, each once.
func TestDocument(t *testing.T) {
	r := three()
	text := page.Document(r, "folder")
	for _, c := range page.Charts(r) {
		if n := strings.Count(text, fmt.Sprintf("![%s](folder/%s)", c.Alt, c.File)); n != 1 || c.Alt == "" {
			t.Errorf("%s is shown %d times", c.File, n)
		}
		if !strings.HasPrefix(c.SVG, "<svg ") {
			t.Errorf("%s is no picture", c.File)
		}
		if !strings.Contains(c.SVG, ">ours<") {
			t.Errorf("%s does not show this library", c.File)
		}
	}
}

func TestLine(t *testing.T) {
	for _, test := range []struct {
		name string
		run  result.Run
		want string
	}{
		{"load", result.Run{Scenario: "s", Filter: "f", Round: 2, Figures: result.Figures{
			CPUSecondsPerMessage: 100e-6, MessagesPerSecond: 1234, Latency: result.Latency{P50: 1e-6, P99: 1.5}, ReadsPerMessage: 3, WritesPerMessage: 1}},
			"round 2/5 s f 100.0 µs CPU 1234 messages/s p50 1 µs p99 1.5 s 3.0 reads 1.0 writes"},
		{"idle", result.Run{Scenario: "s", Filter: "f", Round: 1, Figures: result.Figures{RSSBytesPerIdleSession: 2048, CPUSecondsWhileIdle: 0.25}},
			"round 1/5 s f 2.00 KiB a session, 0.25 s CPU while idle"},
		{"a failure", result.Run{Scenario: "s", Filter: "f", Round: 1, Error: "it broke"}, "round 1/5 s f it broke"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := strings.Join(strings.Fields(page.Line(test.run, 5)), " "); got != test.want {
				t.Errorf("got %s\nwant %s", got, test.want)
			}
		})
	}
}
