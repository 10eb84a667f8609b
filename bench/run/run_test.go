package run_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/bench/result"
	"github.com/milter-go/milter/bench/run"
)

// TestAlike holds the filters to the same work: what each of them sends at end of
// message, in every mode.
func TestAlike(t *testing.T) {
	bench, err := run.Build(noGenerator)
	if err != nil {
		t.Fatal(err)
	}
	defer bench.Close()
	for _, reason := range bench.LeftOut {
		t.Logf("left out: %s", reason)
	}
	for _, s := range result.Scenarios() {
		if s.Network != "unix" {
			continue // the answers are the same
		}
		t.Run(s.Name, func(t *testing.T) {
			if err := bench.Alike(s); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAlikeNotices: filters in different modes are not alike.
func TestAlikeNotices(t *testing.T) {
	bench, err := run.Build(noGenerator)
	if err != nil {
		t.Fatal(err)
	}
	defer bench.Close()
	for _, test := range []struct {
		name   string
		filter string
		want   string
	}{
		{"other changes", "ours-mods", "ours-mods in s does other work than floor: it answers accept after 11 changes, for accept after 1"},
		{"steps that were not offered", "floor-watch", "floor-watch in s: "},
		{"no such mode", "ours-nothing", "it has ended: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := bench.Alike(result.Scenario{Name: "s", Network: "unix", Filters: []string{result.Floor, test.filter}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// noGenerator keeps Build from building one, which this test does not need.
const noGenerator = "none"

func TestMode(t *testing.T) {
	for _, test := range []struct {
		name        string
		filter      string
		scenario    result.Scenario
		wantProgram string
		wantMode    string
	}{
		{"plain", result.Libmilter, result.Scenario{}, "libmilter", "plain"},
		{"ours takes every event", result.Ours, result.Scenario{}, "ours", "status"},
		{"changes", result.Ours, result.Scenario{Mods: true}, "ours", "mods"},
		{"no replies", result.Emersion, result.Scenario{NoReply: true}, "emersion", "watch"},
		{"a variant says it itself", result.OursLateEnd, result.Scenario{}, "ours", "late-end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			program, mode := run.Mode(test.filter, test.scenario)
			if program != test.wantProgram || mode != test.wantMode {
				t.Errorf("got %s %s, want %s %s", program, mode, test.wantProgram, test.wantMode)
			}
		})
	}
}

// TestInterleave: the order of the runs is what makes the ratios fair.
func TestInterleave(t *testing.T) {
	scenarios := []result.Scenario{
		{Name: "a", Filters: []string{"x", "y", "z"}},
		{Name: "b", Filters: []string{"x", "y"}},
		{Name: "idle", Idle: 1, Filters: []string{"x"}},
	}
	var order []string
	measure := func(filter string, s result.Scenario) (result.Figures, error) {
		order = append(order, s.Name+filter)
		if s.Name == "b" && filter == "y" {
			return result.Figures{}, errors.New("it broke")
		}
		return result.Figures{Messages: 7}, nil
	}
	told := 0
	runs := run.Interleave(context.Background(), scenarios, 2, measure, func(result.Run) { told++ })
	wantOrder := []string{
		"ax", "ay", "az", "bx", "by", "idlex",
		"ay", "az", "ax", "by", "bx",
	}
	if diff := cmp.Diff(wantOrder, order); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(runs) != len(wantOrder) || told != len(wantOrder) {
		t.Errorf("%d runs, told of %d, want %d", len(runs), told, len(wantOrder))
	}
	want := result.Run{Scenario: "b", Filter: "y", Round: 2, Error: "it broke"}
	if diff := cmp.Diff(want, runs[9]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestInterleaveEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	scenarios := []result.Scenario{{Name: "a", Filters: []string{"x", "y"}}}
	measure := func(string, result.Scenario) (result.Figures, error) {
		cancel()
		return result.Figures{}, nil
	}
	if runs := run.Interleave(ctx, scenarios, 3, measure, func(result.Run) {}); len(runs) != 1 {
		t.Errorf("%d runs after the end, want 1", len(runs))
	}
}

// TestMeasure uses a program in place of the generator that prints what the test
// wants, so nothing is loaded.
func TestMeasure(t *testing.T) {
	script := filepath.Join(t.TempDir(), "generator")
	bench, err := run.Build(script)
	if err != nil {
		t.Fatal(err)
	}
	defer bench.Close()
	plain := result.Scenario{Name: "plain", Network: "unix", Sessions: 16, Body: 4096}
	if !run.CanPin() {
		t.Log("left out: the pinned cases; they need Linux and two processors")
	}
	for _, test := range []struct {
		name      string
		generator string // a shell script; its arguments are "$*"
		scenario  result.Scenario
		want      result.Figures
		wantErr   string
	}{
		{"figures", `echo '{"messages":5,"cpu_seconds_per_message":0.5,"errors":[]}'`, plain,
			result.Figures{Messages: 5, CPUSecondsPerMessage: 0.5, Errors: []string{}}, ""},
		{"the load", expect("--offer none", "--sessions 16", "--body-size 4096", "--duration 2s", "--warm-up 1s", "--macros postfix", "--expect accept"), plain,
			result.Figures{Messages: 1}, ""},
		{"a longer one", expect("--duration 6s", "--warm-up 3s"),
			result.Scenario{Network: "inet", Sessions: 1, Longer: 3}, result.Figures{Messages: 1}, ""},
		{"new connections", expect("--new-connection", "--connection-spec inet:"),
			result.Scenario{Network: "inet", Sessions: 1, NewConnection: true}, result.Figures{Messages: 1}, ""},
		{"no replies", expect("--offer no-reply-header|"),
			result.Scenario{Network: "unix", Sessions: 1, NoReply: true}, result.Figures{Messages: 1}, ""},
		{"idle sessions", expect("--idle 7", "--idle-messages 1", "--idle-body-size 9", "--hold 3s", "--warm-up 3s"),
			result.Scenario{Network: "unix", Idle: 7, IdleMessages: 1, Body: 9}, result.Figures{Messages: 1}, ""},
		{"a processor for each", allowed("1$", "0$"), result.Scenario{Network: "unix", Sessions: 1, Pinned: true}, result.Figures{Messages: 1}, ""},
		{"and all for both again", allowed("0[-,]", "0[-,]"), result.Scenario{Network: "unix", Sessions: 1}, result.Figures{Messages: 1}, ""},
		{"nothing came through", `echo '{"messages":0}'`, plain, result.Figures{}, "not one message"},
		{"an idle run needs no message", `echo '{"messages":0}'`, result.Scenario{Network: "unix", Idle: 1}, result.Figures{}, ""},
		{"faults", `echo '{"messages":5,"errors":["so","and so"]}'; exit 1`, plain,
			result.Figures{Messages: 5, Errors: []string{"so", "and so"}}, "so; and so"},
		{"a failure", `echo no such thing >&2; exit 3`, plain, result.Figures{}, "exit status 3: no such thing"},
		{"no figures", `echo hello`, plain, result.Figures{}, "invalid character"},
	} {
		if strings.Contains(test.generator, "Cpus_allowed") && !run.CanPin() {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(script, []byte("#!/bin/sh\n"+test.generator+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			got, err := bench.Measure(result.Floor, test.scenario, run.Times{WarmUp: time.Second, Duration: 2 * time.Second, Hold: 3 * time.Second})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if (err == nil) != (test.wantErr == "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("got error %v, want %q", err, test.wantErr)
			}
		})
	}
}

// expect is a generator that has seen a message if its arguments have all parts.
func expect(parts ...string) string {
	script := "n=1\n"
	for _, part := range parts {
		script += "case \"$*\" in *'" + part + "'*) ;; *) n=0; echo \"no " + part + " in $*\" >&2;; esac\n"
	}
	return script + `echo "{\"messages\":$n}"`
}

// allowed is a generator that has seen a message if the filter and itself may run on
// these processors, which are patterns of grep.
func allowed(filter, generator string) string {
	return `while [ "$1" != --pid ]; do shift; done
grep -q "^Cpus_allowed_list:.` + filter + `" "/proc/$2/status" && grep -q "^Cpus_allowed_list:.` + generator + `" /proc/self/status && n=1
echo "{\"messages\":${n:-0}}"`
}
