package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/milter-go/milter/cmd/internal/console"
)

// A report is what a run has found. Times are in seconds; what was not measured is
// nil.
type report struct {
	Messages          uint64  `json:"messages"`
	Seconds           float64 `json:"seconds"`
	MessagesPerSecond float64 `json:"messages_per_second"`
	Sessions          int     `json:"sessions"`

	RoundTrips    float64 `json:"round_trips_per_message"`
	BytesSent     float64 `json:"bytes_sent_per_message"`
	BytesReceived float64 `json:"bytes_received_per_message"`

	Latency        *quantiles `json:"latency,omitempty"`
	ConnectLatency *quantiles `json:"connect_latency,omitempty"`

	CPU    *float64 `json:"cpu_seconds_per_message,omitempty"`
	Reads  *float64 `json:"reads_per_message,omitempty"`
	Writes *float64 `json:"writes_per_message,omitempty"`

	RSS           *uint64  `json:"rss_bytes,omitempty"`
	RSSBefore     *uint64  `json:"rss_before_bytes,omitempty"`
	RSSPerSession *float64 `json:"rss_bytes_per_idle_session,omitempty"`
	CPUWhileIdle  *float64 `json:"cpu_seconds_while_idle,omitempty"`

	HoldSeconds  *float64 `json:"hold_seconds,omitempty"`
	GeneratorCPU *float64 `json:"generator_cpu_seconds_per_message,omitempty"`

	Outcomes           map[string]uint64 `json:"outcomes,omitempty"`
	SkippedBodies      uint64            `json:"skipped_bodies"`
	RejectedRecipients uint64            `json:"rejected_recipients"`

	Errors      []string `json:"errors"`
	Interrupted bool     `json:"interrupted"`
}

// quantiles are those of a histogram, in seconds.
type quantiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func newQuantiles(h *histogram) *quantiles {
	if h.n == 0 {
		return nil
	}
	return &quantiles{h.quantile(0.5).Seconds(), h.quantile(0.9).Seconds(), h.quantile(0.99).Seconds(), h.max.Seconds()}
}

// newReport makes the report on what was counted from one moment to another; before
// is the moment before the sessions were opened.
func newReport(r *run, t *tally, before, from, to moment, interrupted bool) *report {
	rep := &report{
		Messages:           t.messages,
		Seconds:            to.time.Sub(from.time).Seconds(),
		Sessions:           r.options.sessions,
		Latency:            newQuantiles(&t.latency),
		ConnectLatency:     newQuantiles(&t.connects),
		Outcomes:           make(map[string]uint64),
		SkippedBodies:      t.skippedBodies,
		RejectedRecipients: t.refusedRecipients,
		Interrupted:        interrupted,
	}
	if rep.ConnectLatency == nil {
		rep.ConnectLatency = newQuantiles(&t.first)
	}
	for o, n := range t.outcomes {
		rep.Outcomes[o.String()] = n
	}
	if n := float64(t.messages); n > 0 {
		rep.MessagesPerSecond = n / rep.Seconds
		rep.RoundTrips = float64(t.roundTrips) / n
		rep.BytesSent = float64(t.sent) / n
		rep.BytesReceived = float64(t.received) / n
		if own := to.own - from.own; own > 0 {
			rep.GeneratorCPU = some(own.Seconds() / n)
		}
		if r.process != nil {
			rep.CPU = some((to.usage.cpu - from.usage.cpu).Seconds() / n)
			rep.Reads = some(float64(to.usage.reads-from.usage.reads) / n)
			rep.Writes = some(float64(to.usage.writes-from.usage.writes) / n)
		}
	}
	if r.process != nil {
		rep.RSS = some(to.usage.resident)
		rep.RSSBefore = some(before.usage.resident)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rep.Errors = slices.Clone(r.errors)
	if r.more > 0 {
		rep.Errors = append(rep.Errors, "and "+console.Plural(r.more, "more error"))
	}
	return rep
}

// addIdle adds the figures of sessions that were held from one moment to another.
func (rep *report) addIdle(r *run, before, held, end moment) {
	rep.Sessions = r.options.idle
	rep.HoldSeconds = some(end.time.Sub(held.time).Seconds())
	if r.process == nil {
		return
	}
	rep.RSS = some(end.usage.resident)
	rep.RSSPerSession = some((float64(end.usage.resident) - float64(before.usage.resident)) / float64(r.options.idle))
	rep.CPUWhileIdle = some((end.usage.cpu - held.usage.cpu).Seconds())
}

func (rep *report) print(w io.Writer, format string) error {
	switch format {
	case "json":
		if rep.Errors == nil {
			rep.Errors = []string{} // an empty list, not null
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(rep)
	case "csv":
		return rep.printCSV(w)
	}
	_, err := io.WriteString(w, rep.table())
	return err
}

// printCSV prints a line of names and a line of values; what was not measured is
// empty.
func (rep *report) printCSV(w io.Writer) error {
	var names, values []string
	add := func(name string, value any) {
		text := ""
		switch v := value.(type) {
		case float64:
			text = strconv.FormatFloat(v, 'g', -1, 64)
		case *float64:
			if v != nil {
				text = strconv.FormatFloat(*v, 'g', -1, 64)
			}
		case *uint64:
			if v != nil {
				text = fmt.Sprint(*v)
			}
		default:
			text = fmt.Sprint(v)
		}
		names, values = append(names, name), append(values, text)
	}
	addQuantiles := func(name string, q *quantiles) {
		var p50, p90, p99, longest *float64
		if q != nil {
			p50, p90, p99, longest = &q.P50, &q.P90, &q.P99, &q.Max
		}
		add(name+"_p50", p50)
		add(name+"_p90", p90)
		add(name+"_p99", p99)
		add(name+"_max", longest)
	}
	add("messages", rep.Messages)
	add("seconds", rep.Seconds)
	add("messages_per_second", rep.MessagesPerSecond)
	add("sessions", rep.Sessions)
	add("round_trips_per_message", rep.RoundTrips)
	add("bytes_sent_per_message", rep.BytesSent)
	add("bytes_received_per_message", rep.BytesReceived)
	addQuantiles("latency", rep.Latency)
	addQuantiles("connect_latency", rep.ConnectLatency)
	add("cpu_seconds_per_message", rep.CPU)
	add("reads_per_message", rep.Reads)
	add("writes_per_message", rep.Writes)
	add("rss_bytes", rep.RSS)
	add("rss_before_bytes", rep.RSSBefore)
	add("rss_bytes_per_idle_session", rep.RSSPerSession)
	add("cpu_seconds_while_idle", rep.CPUWhileIdle)
	add("hold_seconds", rep.HoldSeconds)
	add("generator_cpu_seconds_per_message", rep.GeneratorCPU)
	add("skipped_bodies", rep.SkippedBodies)
	add("rejected_recipients", rep.RejectedRecipients)
	add("errors", strings.Join(rep.Errors, "; "))
	add("interrupted", rep.Interrupted)
	c := csv.NewWriter(w)
	return c.WriteAll([][]string{names, values})
}

// table returns the report for people.
func (rep *report) table() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-21s"+format+"\n", append([]any{name}, args...)...)
	}
	if rep.Interrupted {
		line("interrupted", "the figures are those up to then")
	}
	line("messages", "%d in %.3f s, %.1f/s, %s", rep.Messages, rep.Seconds, rep.MessagesPerSecond, console.Plural(rep.Sessions, "session"))
	outcomes := make([]string, 0, len(rep.Outcomes))
	for o, n := range rep.Outcomes {
		outcomes = append(outcomes, fmt.Sprintf("%s: %d", o, n))
	}
	slices.Sort(outcomes)
	for _, o := range outcomes {
		line("", "%s", o)
	}
	if rep.SkippedBodies > 0 {
		line("skipped bodies", "%d", rep.SkippedBodies)
	}
	if rep.RejectedRecipients > 0 {
		line("rejected recipients", "%d", rep.RejectedRecipients)
	}
	if rep.Messages > 0 {
		line("round trips", "%.1f per message", rep.RoundTrips)
		line("bytes", "%.1f sent, %.1f received per message", rep.BytesSent, rep.BytesReceived)
	}
	if rep.Latency != nil {
		line("latency", "%v", rep.Latency)
	}
	if rep.ConnectLatency != nil {
		line("connection set-up", "%v", rep.ConnectLatency)
	}
	if rep.CPU != nil {
		line("CPU", "%.2f µs per message", *rep.CPU*1e6)
		line("system calls", "%.2f reads, %.2f writes per message", *rep.Reads, *rep.Writes)
	}
	if rep.GeneratorCPU != nil {
		line("CPU of this program", "%.2f µs per message", *rep.GeneratorCPU*1e6)
	}
	if rep.RSS != nil {
		line("resident memory", "%.2f MiB, %.2f MiB before", mebi(*rep.RSS), mebi(*rep.RSSBefore))
	}
	if rep.HoldSeconds != nil {
		line("held idle", "%s for %.3f s", console.Plural(rep.Sessions, "session"), *rep.HoldSeconds)
	}
	if rep.RSSPerSession != nil {
		line("", "%.2f KiB each, %.6f s of CPU in all", *rep.RSSPerSession/1024, *rep.CPUWhileIdle)
	}
	return b.String()
}

// String returns the quantiles as "p50 0.123 ms, ...".
func (q *quantiles) String() string {
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, max %s", milli(q.P50), milli(q.P90), milli(q.P99), milli(q.Max))
}

func milli(seconds float64) string {
	return fmt.Sprintf("%.3f ms", seconds*float64(time.Second/time.Millisecond))
}

func mebi(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// some returns a pointer to v.
func some[T any](v T) *T { return &v }
