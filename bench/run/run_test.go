package run_test

import (
	"testing"

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
