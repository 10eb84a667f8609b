//go:build linux

package main

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/protocol"
)

// The points where sessions are cut, and where a mail is under way.
func TestCutPoints(t *testing.T) {
	var got []string
	for _, at := range cutPoints("plain") {
		state := ""
		if at.mail {
			state = " in a mail"
		} else if at.perhaps {
			state = " perhaps"
		}
		got = append(got, at.name+state)
	}
	want := []string{
		"nothing sent", "half of the negotiation", "negotiation", "connect", "helo", "envelope-from perhaps",
		"envelope-recipient in a mail", "data in a mail", "header in a mail", "end-of-header in a mail", "body in a mail",
		"half of a body in a mail", "end-of-message perhaps", "between two mails",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestScriptTo(t *testing.T) {
	got := ""
	for _, m := range scriptTo("plain", protocol.CommandEndOfHeader) {
		got += string(rune(m.Command()))
	}
	if want := "OCHMRTLLLN"; got != want {
		t.Errorf("commands %q, want %q", got, want)
	}
}

// Each compared row has rows that can fill it.
func TestComparisonIDs(t *testing.T) {
	known := map[string]bool{
		"panic-now": true, "panic-later": true, "emfile": true, "slow": true, "rst-200": true, "abort-400": true,
		"inject-header": true, "inject-reply": true, "length-20": true, "packet-500": true,
	}
	for _, input := range malformedInputs() {
		known[input.id] = true
	}
	for _, c := range comparison() {
		for _, id := range c.ids {
			if !known[id] {
				t.Errorf("%s: nothing makes a row %q", c.attack, id)
			}
		}
	}
}

// The same seed plays the same.
func TestWorkerIsSeeded(t *testing.T) {
	bodies := func(seed uint64) (text []byte) {
		w := newWorker(nil, rand.New(rand.NewPCG(seed, 0)))
		for range 50 {
			text = append(text, w.body()...)
		}
		return text
	}
	if !bytes.Equal(bodies(1), bodies(1)) {
		t.Error("seed 1 gives different bodies")
	}
	if bytes.Equal(bodies(1), bodies(2)) {
		t.Error("seeds 1 and 2 give the same bodies")
	}
}

// A soak is judged by what it has measured.
func TestSoakRows(t *testing.T) {
	flat := func(s *soak) {}
	tests := []struct {
		name   string
		change func(s *soak)
		want   string // the rows that fail
	}{
		{"all is well", flat, ""},
		{"a leak", func(s *soak) {
			for i := range s.samples {
				s.samples[i].heap += 1.5 * float64(s.samples[i].messages)
			}
		}, "soak-heap"},
		{"less than the limit", func(s *soak) {
			for i := range s.samples {
				s.samples[i].heap += 0.5 * float64(s.samples[i].messages)
			}
		}, ""},
		{"growth while warming up", func(s *soak) {
			for i := range s.samples[:soakWarmUp] {
				s.samples[i].heap -= 1e6
			}
		}, ""},
		{"a goroutine", func(s *soak) { s.samples[len(s.samples)-1].usage.goroutines++ }, "soak-back"},
		{"a descriptor", func(s *soak) { s.samples[len(s.samples)-1].usage.descriptors++ }, "soak-back"},
		{"a mail that did not end", func(s *soak) { s.stats.Begun++ }, "soak-once"},
		{"a session that did not end", func(s *soak) { s.stats.Sessions++ }, "soak-once"},
		{"an event twice", func(s *soak) { s.stats.Faults++ }, "soak-once"},
		{"1.9 times slower", func(s *soak) { s.latencies[soakTenths-1] = []time.Duration{1900} }, ""},
		{"2.1 times slower", func(s *soak) { s.latencies[soakTenths-1] = []time.Duration{2100} }, "soak-p99"},
		{"one message is slower", func(s *soak) { s.latencies[soakTenths-1] = []time.Duration{1000, 1000, 2100} }, ""},
		{"one message is slower, of many", func(s *soak) {
			s.messages = p99Messages
			s.latencies[soakTenths-1] = []time.Duration{1000, 1000, 2100}
		}, "soak-p99"},
		{"too long", func(s *soak) { s.took = soakLongest + time.Second }, "soak"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &soak{messages: 40_000, took: time.Second, start: sample{usage: usage{4, 11}}}
			for i := range soakSamples {
				s.samples = append(s.samples, sample{messages: 1000 * (i + 1), heap: 1e5 + float64(i%3), usage: usage{4, 11}})
			}
			for i := range s.latencies {
				s.latencies[i] = []time.Duration{1000}
			}
			tt.change(s)
			var got []string
			for _, r := range s.rows(nil) {
				if !r.ok {
					got = append(got, r.id)
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("rows that fail (-want +got):\n%s", diff)
			}
		})
	}
}
