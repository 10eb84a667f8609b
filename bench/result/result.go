// Package result holds what a comparison has measured, raw, and computes from it
// what is reported: ratios within a round, and their medians.
package result

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A Result is a whole comparison: every run of it, as it was measured.
type Result struct {
	Machine  Machine   `json:"machine"`
	Rounds   int       `json:"rounds"`
	Duration float64   `json:"run_seconds"` // of one run, without the idle ones
	LeftOut  []string  `json:"left_out"`    // what could not be measured, and why
	Programs []Program `json:"programs"`
	Runs     []Run     `json:"runs"`
}

// A Machine is where it was measured.
type Machine struct {
	Date   time.Time `json:"date"`
	CPU    string    `json:"cpu"`
	CPUs   int       `json:"cpus"`
	Kernel string    `json:"kernel"`
	Go     string    `json:"go"`
}

// A Program is a filter that was measured, and the version of the library it is on.
type Program struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// A Run is one filter in one scenario in one round.
type Run struct {
	Scenario string  `json:"scenario"`
	Filter   string  `json:"filter"`
	Round    int     `json:"round"`
	Figures  Figures `json:"figures"`
	Error    string  `json:"error,omitempty"` // why there are no figures, or none to trust
}

// Figures are what the load generator prints about one run.
type Figures struct {
	Messages             int64   `json:"messages"`
	Seconds              float64 `json:"seconds"`
	MessagesPerSecond    float64 `json:"messages_per_second"`
	Sessions             int     `json:"sessions"`
	RoundTripsPerMessage float64 `json:"round_trips_per_message"`
	Latency              Latency `json:"latency"`

	CPUSecondsPerMessage   float64 `json:"cpu_seconds_per_message"`
	ReadsPerMessage        float64 `json:"reads_per_message"`
	WritesPerMessage       float64 `json:"writes_per_message"`
	RSS                    float64 `json:"rss_bytes"`
	RSSBefore              float64 `json:"rss_before_bytes"`
	RSSBytesPerIdleSession float64 `json:"rss_bytes_per_idle_session"`
	CPUSecondsWhileIdle    float64 `json:"cpu_seconds_while_idle"`

	Errors []string `json:"errors,omitempty"`
}

// Latency is how long a message took, in seconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Load reads a Result from a file.
func Load(name string) (*Result, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := new(Result)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("result: %s: %w", name, err)
	}
	return r, nil
}

// Save writes r to a file, a line for each run, so that two of them can be compared.
func (r *Result) Save(name string) error {
	head := *r
	head.Runs = nil
	text, err := json.MarshalIndent(head, "", " ")
	if err != nil {
		return err
	}
	text = append(bytes.TrimSuffix(text, []byte("null\n}")), '[')
	for i, run := range r.Runs {
		line, err := json.Marshal(run)
		if err != nil {
			return err
		}
		if i > 0 {
			text = append(text, ',')
		}
		text = append(append(text, '\n'), line...)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, append(text, "\n]}\n"...), 0o644)
}
