package main

import (
	"bytes"
	"encoding/csv"
	"log/slog"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// What a milter decides is honoured and counted.
func TestOutcomes(t *testing.T) {
	code := func(code int) string {
		return packets(reply.ReplyCode{SMTP: reply.SMTP{Code: code, Text: "no"}})
	}
	tests := []struct {
		name    string
		fake    *fake
		args    []string
		want    string // an outcome
		trips   float64
		sent    map[protocol.Command]int // in five messages
		skipped uint64
		refused uint64
	}{
		{name: "continue", fake: &fake{}, want: "continue at end-of-message", trips: 9, sent: map[protocol.Command]int{'M': 5, 'B': 10, 'E': 5, 'A': 0, 'Q': 1}},
		{name: "accept", fake: &fake{Answers: answers{'E': bare('a')}}, args: []string{"--expect=accept"}, want: "accept at end-of-message", trips: 9},
		{name: "discard", fake: &fake{Answers: answers{'E': bare('d')}}, args: []string{"--expect=discard"}, want: "discard at end-of-message", trips: 9},
		{name: "reject", fake: &fake{Answers: answers{'E': code(550)}}, args: []string{"--expect=reject"}, want: "reject at end-of-message", trips: 9},
		{name: "tempfail", fake: &fake{Answers: answers{'E': code(450)}}, args: []string{"--expect=tempfail"}, want: "temporary-failure at end-of-message", trips: 9},
		{name: "progress", fake: &fake{Answers: answers{'E': bare('p', 'p', 'c')}}, want: "continue at end-of-message", trips: 9},
		{name: "changes", fake: &fake{Actions: option.ActionAddHeaders, Answers: answers{'E': packets(reply.AddHeader{Name: "X", Value: "y"}) + bare('c')}},
			args: []string{"--changes=1"}, want: "continue at end-of-message", trips: 9},
		{name: "skip", fake: &fake{Steps: option.StepSkip, Answers: answers{'B': bare('s')}}, want: "continue at end-of-message", trips: 8,
			sent: map[protocol.Command]int{'B': 5, 'E': 5}, skipped: 5},
		{name: "accept at helo", fake: &fake{Answers: answers{'H': bare('a')}}, want: "accept at helo",
			sent: map[protocol.Command]int{'C': 6, 'H': 6, 'M': 0, 'Q': 6}},
		{name: "reject at connect", fake: &fake{Answers: answers{'C': bare('r')}}, want: "reject at connect",
			sent: map[protocol.Command]int{'C': 6, 'H': 0, 'Q': 6}},
		{name: "reject at mail", fake: &fake{Answers: answers{'M': bare('r')}}, want: "reject at envelope-from", trips: 1,
			sent: map[protocol.Command]int{'M': 5, 'R': 0, 'A': 5, 'Q': 1}},
		{name: "reject all recipients", fake: &fake{Answers: answers{'R': code(450)}}, want: "temporary-failure at envelope-recipient", trips: 3,
			sent: map[protocol.Command]int{'R': 10, 'T': 0, 'A': 5}, refused: 10},
		{name: "reject one recipient", fake: &fake{Answer: func(c protocol.Command, n int) (string, bool) { return bare('r'), c == 'R' && n%2 == 0 }},
			want: "continue at end-of-message", trips: 9, sent: map[protocol.Command]int{'R': 10, 'E': 5, 'A': 0}, refused: 5},
		{name: "accept at recipient", fake: &fake{Answers: answers{'R': bare('a')}}, want: "accept at envelope-recipient", trips: 2,
			sent: map[protocol.Command]int{'R': 5, 'T': 0, 'A': 5}},
		{name: "discard at header", fake: &fake{Answers: answers{'L': bare('d')}}, want: "discard at header", trips: 5,
			sent: map[protocol.Command]int{'L': 5, 'N': 0, 'A': 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := []string{"-s", tt.fake.Listen(t, "unix"), "-n5", "--recipients=2", "--headers=1", "--body-size=200", "--body-chunk=100"}
			r := playJSON(t, append(args, tt.args...)...)
			if diff := cmp.Diff(map[string]uint64{tt.want: 5}, r.Outcomes); diff != "" || r.Messages != 5 {
				t.Errorf("%d messages, outcomes (-want +got):\n%s", r.Messages, diff)
			}
			if r.RoundTrips != tt.trips || r.SkippedBodies != tt.skipped || r.RejectedRecipients != tt.refused {
				t.Errorf("%v round trips, want %v; %d bodies skipped, want %d; %d recipients rejected, want %d",
					r.RoundTrips, tt.trips, r.SkippedBodies, tt.skipped, r.RejectedRecipients, tt.refused)
			}
			for c, want := range tt.sent {
				if got := tt.fake.Count(c); got != want {
					t.Errorf("%d times %v, want %d", got, c, want)
				}
			}
		})
	}
}

// What goes over the wire, for what was negotiated.
func TestWire(t *testing.T) {
	tests := []struct {
		name string
		fake *fake
		args []string
	}{
		{"postfix", &fake{}, nil},
		{"no-macros", &fake{}, []string{"--macros=none"}},
		{"no-reply", &fake{Steps: option.NoReplySteps}, nil},
		{"no-event", &fake{Steps: option.NoEventSteps}, nil},
		{"leading-space", &fake{Steps: option.StepHeaderValueWithLeadingSpace}, []string{"--macros=none"}},
		{"version3", &fake{Answers: answers{'O': packets(reply.Negotiate{Option: option.Option{Version: 3}})}}, []string{"--macros=none"}},
		{"requests", &fake{Requests: requests(t)}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			playJSON(t, append([]string{"-s", tt.fake.Listen(t, "unix"), "-n2", "--headers=2", "--recipients=2", "--body-size=20", "--body-chunk=12"}, tt.args...)...)
			golden(t, "wire-"+tt.name+".txt", tt.fake.String())
		})
	}
}

func requests(t *testing.T) (m option.MacroRequests) {
	must(t, m.Set(option.MacroStageConnect, "{client_addr}", "{unknown}", "j"))
	must(t, m.Set(option.MacroStageHelo))
	must(t, m.Set(option.MacroStageEnvelopeFrom, "i", "{mail_addr}"))
	must(t, m.Set(option.MacroStageEndOfHeader, "j", "i"))
	return m
}

// The seed decides on the text of a message.
func TestSeed(t *testing.T) {
	a, b, c := newMail(20, 4096, 1), newMail(20, 4096, 1), newMail(20, 4096, 2)
	if diff := cmp.Diff(a, b, cmp.AllowUnexported(mail{})); diff != "" {
		t.Errorf("the same seed gives another mail (-first +second):\n%s", diff)
	}
	if bytes.Equal(a.body, c.body) || cmp.Equal(a.headers, c.headers) {
		t.Error("another seed gives the same mail")
	}
	if len(a.body) != 4096 || len(a.headers) != 20 {
		t.Errorf("%d bytes of body and %d header fields, want 4096 and 20", len(a.body), len(a.headers))
	}
}

// All messages are sent, no more, over as many connections as were asked for.
func TestMessagesAndConnections(t *testing.T) {
	tests := []struct {
		name            string
		args            []string
		messages        int
		connections     int // at least
		mostConnections int
		warmUp          bool
	}{
		{"one session", []string{"-n7"}, 7, 1, 1, false},
		{"several sessions", []string{"-n100", "-c4"}, 100, 4, 4, false},
		{"fewer messages than sessions", []string{"-n3", "-c50"}, 3, 3, 3, false},
		{"new connections", []string{"-n10", "-c2", "--new-connection"}, 10, 10, 10, false},
		{"renewed connections", []string{"-n10", "--messages-per-session=4"}, 10, 3, 3, false},
		{"warm-up", []string{"-n10", "--warm-up=50ms"}, 10, 1, 1, true},
	}
	for _, tt := range tests {
		for _, network := range []string{"tcp4", "unix"} {
			t.Run(tt.name+"/"+network, func(t *testing.T) {
				f := &fake{}
				r := playJSON(t, append([]string{"-s", f.Listen(t, network), "--headers=1"}, tt.args...)...)
				if r.Messages != uint64(tt.messages) {
					t.Errorf("%d messages were measured, want %d", r.Messages, tt.messages)
				}
				if got := f.Count('E'); got < tt.messages || got > tt.messages && !tt.warmUp {
					t.Errorf("%d messages came, want %d, more in the warm-up: %v", got, tt.messages, tt.warmUp)
				}
				if f.Connections() < tt.connections || f.Connections() > tt.mostConnections {
					t.Errorf("%d connections, want %d to %d", f.Connections(), tt.connections, tt.mostConnections)
				}
				if r.Latency == nil || r.Latency.P50 <= 0 || r.Latency.P50 > r.Latency.Max || r.ConnectLatency == nil {
					t.Errorf("latency %v, of connections %v", r.Latency, r.ConnectLatency)
				}
			})
		}
	}
}

func TestDuration(t *testing.T) {
	f := &fake{}
	r := playJSON(t, "-s", f.Listen(t, "unix"), "-c2", "--warm-up=50ms", "--duration=200ms")
	if r.Seconds < 0.2 || r.Seconds > 10 {
		t.Errorf("measured for %v s, want about 0.2", r.Seconds)
	}
	if came := f.Count('E'); r.Messages == 0 || int(r.Messages) >= came {
		t.Errorf("%d messages were measured of %d that came, with warm-up", r.Messages, came)
	}
	if want := float64(r.Messages) / r.Seconds; r.MessagesPerSecond != want {
		t.Errorf("%v messages/s, want %v", r.MessagesPerSecond, want)
	}
}

// A milter of this library, with all that it can negotiate.
func TestLibraryMilter(t *testing.T) {
	for _, network := range []string{"inet:0@127.0.0.1", "inet6:0@[::1]"} {
		t.Run(network, func(t *testing.T) {
			c := client.New()
			c.Logger = slog.New(slog.DiscardHandler)
			c.OnConnectionEstablished(func(ctx *context.ClientContext) {
				ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
					if err := ctx.AddHeader("X-Check", "done"); err != nil {
						t.Error(err)
					}
					return protocol.StatusAccept
				})
			})
			must(t, c.SetConnectionSpec(network))
			if err := c.Listen(); err != nil {
				t.Skipf("%s cannot be listened on: %v", network, err)
			}
			ended := make(chan error, 1)
			go func() { ended <- c.Run() }()
			r := playJSON(t, "-s", client.SpecOf(c.Addrs()[0]), "-c3", "-n30", "--expect=accept", "--changes=1")
			if diff := cmp.Diff(map[string]uint64{"accept at end-of-message": 30}, r.Outcomes); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			c.Close()
			must(t, <-ended)
		})
	}
}

func TestIdle(t *testing.T) {
	f := &fake{}
	args := []string{"-s", f.Listen(t, "unix"), "--idle=20", "-c3", "--idle-messages=2", "--idle-body-size=70k", "--hold=50ms", "--warm-up=10ms"}
	if runtime.GOOS == "linux" {
		args = append(args, "--pid="+strconv.Itoa(os.Getpid()))
	}
	r := playJSON(t, args...)
	if f.Connections() != 20 || f.Count('E') != 40 || f.Count('B') != 80 || f.Count('Q') != 20 {
		t.Errorf("%d connections, %d messages in %d chunks, %d times quit", f.Connections(), f.Count('E'), f.Count('B'), f.Count('Q'))
	}
	if r.Messages != 40 || r.Sessions != 20 || r.HoldSeconds == nil || *r.HoldSeconds < 0.05 {
		t.Errorf("%d messages, %d sessions, held for %v", r.Messages, r.Sessions, r.HoldSeconds)
	}
	if runtime.GOOS == "linux" && (r.RSSPerSession == nil || r.CPUWhileIdle == nil ||
		*r.RSSPerSession != (float64(*r.RSS)-float64(*r.RSSBefore))/20) {
		t.Errorf("RSS per session %v, CPU while idle %v", r.RSSPerSession, r.CPUWhileIdle)
	}

	// A milter that cannot be held idle.
	f = &fake{Answer: func(c protocol.Command, n int) (string, bool) { return bare('c', 'c'), c == 'E' }}
	status, _, stderr := play("-s", f.Listen(t, "unix"), "--idle=1", "--idle-messages=1", "--hold=10ms", "--warm-up=0")
	if status != 1 || !strings.Contains(stderr, "expected nothing more") {
		t.Errorf("exit status %d, stderr %q", status, stderr)
	}
	f = &fake{Answers: answers{'C': bare('r')}}
	status, _, stderr = play("-s", f.Listen(t, "unix"), "--idle=1", "--hold=10ms", "--warm-up=0")
	if want := "milter-performance-check: session 1: reject at connect: it cannot be held idle\n"; status != 1 || stderr != want {
		t.Errorf("exit status %d, stderr %q, want %q", status, stderr, want)
	}
}

// The figures of a process that are known: this one, which is the milter as well.
func TestPid(t *testing.T) {
	if runtime.GOOS != "linux" {
		status, _, stderr := play("-s", "inet:1", "--pid=1")
		if want := "--pid works on Linux only"; status != 1 || !strings.Contains(stderr, want) {
			t.Errorf("exit status %d, stderr %q, want %q", status, stderr, want)
		}
		return
	}
	f := &fake{}
	r := playJSON(t, "-s", f.Listen(t, "unix"), "-n200", "--pid="+strconv.Itoa(os.Getpid()))
	if r.CPU == nil || r.GeneratorCPU == nil || *r.CPU <= 0 {
		t.Fatalf("no CPU time: %v, %v", r.CPU, r.GeneratorCPU)
	}
	// getrusage(2) counts in other steps than the clock of the process.
	if ratio := *r.CPU / *r.GeneratorCPU; ratio < 0.8 || ratio > 1.25 {
		t.Errorf("CPU time %v, by getrusage %v", *r.CPU, *r.GeneratorCPU)
	}
	// Both ends write once for each reply; they read at least once.
	if *r.Writes < 52 || *r.Writes > 60 || *r.Reads < 52 {
		t.Errorf("%v writes and %v reads per message, want 52 and at least 52", *r.Writes, *r.Reads)
	}
	if *r.RSS < 1<<20 || *r.RSSBefore < 1<<20 {
		t.Errorf("resident memory %d, before %d", *r.RSS, *r.RSSBefore)
	}
	if r := playJSON(t, "-s", f.Listen(t, "unix"), "-n1"); r.CPU != nil || r.Reads != nil || r.Writes != nil || r.RSS != nil || r.RSSBefore != nil {
		t.Errorf("figures of a process without --pid: %+v", r)
	}
}

// A signal ends the measuring, whatever the milter does.
func TestInterrupt(t *testing.T) {
	hang := func(c protocol.Command, n int) (string, bool) { return "", c == 'E' && n == 3 }
	tests := []struct {
		name string
		fake *fake
		args []string
	}{
		{"messages", &fake{}, []string{"--duration=1h", "--warm-up=0"}},
		{"warm-up", &fake{}, []string{"--warm-up=1h"}},
		{"hanging milter", &fake{Answer: hang}, []string{"-n10", "--timeout=1h"}},
		{"hold", &fake{}, []string{"--idle=3", "--hold=1h", "--warm-up=0", "--idle-messages=1"}},
		{"opening", &fake{Answer: hang}, []string{"--idle=3", "--hold=1h", "--idle-messages=5", "--timeout=1h"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := tt.fake.Listen(t, "unix")
			signals := make(chan os.Signal, 2)
			time.AfterFunc(300*time.Millisecond, func() { signals <- os.Interrupt })
			start0 := time.Now()
			var stdout, stderr bytes.Buffer
			status := start(append([]string{"-s", spec, "--format=csv"}, tt.args...), system{&stdout, &stderr, signals})
			if want := "milter-performance-check: interrupted\n"; status != 0 || stderr.String() != want {
				t.Errorf("exit status %d, stderr %q, want %q", status, &stderr, want)
			}
			if took := time.Since(start0); took > 5*time.Second {
				t.Errorf("it took %v to end", took)
			}
			if !strings.HasSuffix(stdout.String(), ",true\n") {
				t.Errorf("the figures do not say so: %q", &stdout)
			}
		})
	}
}

var figure = regexp.MustCompile(`\d+\.\d+`)

func TestFormats(t *testing.T) {
	f := &fake{Actions: option.AllActions, Steps: option.StepSkip, Answers: answers{'B': bare('s')}}
	spec := f.Listen(t, "unix")
	_, stdout, _ := play("-s", spec, "-n3", "-c2")
	golden(t, "table.txt", figure.ReplaceAllString(withoutOwnCPU(stdout), "0.0"))
	_, stdout, _ = play("-s", spec, "-n3", "-c2", "--format=json")
	golden(t, "report.json", regexp.MustCompile(`\d+\.\d+(e-\d+)?|\d+e-\d+`).ReplaceAllString(withoutOwnCPU(stdout), "0.0"))
	_, stdout, _ = play("-s", spec, "-n3", "-c2", "--format=csv")
	rows, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
	if err != nil || len(rows) != 2 || rows[0][0] != "messages" || rows[1][0] != "3" || rows[1][15] != "" {
		t.Errorf("rows %q, %v", rows, err)
	}
	f = &fake{Answers: answers{'E': bare('r')}}
	_, stdout, _ = play("-s", f.Listen(t, "unix"), "-n1", "--format=json")
	if want := `"errors": [
    "session 1, connection 1, message 1, end-of-message: expected 'a' or 'c', got \"\\x00\\x00\\x00\\x01r\""
  ],`; !strings.Contains(stdout, want) {
		t.Errorf("no error in the report:\n%s", stdout)
	}
}

// withoutOwnCPU removes the line that is there only if the system tells the time.
func withoutOwnCPU(text string) string {
	return regexp.MustCompile(`(?m)^.*(CPU of this program|generator_cpu).*\n`).ReplaceAllString(text, "")
}

// The display is one line, and is gone at the end.
func TestProgress(t *testing.T) {
	if p := newProgress(new(bytes.Buffer)); p != nil {
		t.Error("progress is shown on something that is no terminal")
	}
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := &progress{w: &out}
		workers := []*worker{{tally: newTally()}, {tally: newTally()}}
		workers[0].tally.progress.Store(30)
		p.begin(workers)
		time.Sleep(300 * time.Millisecond)
		workers[1].tally.progress.Store(20)
		time.Sleep(250 * time.Millisecond)
		p.end()
		want := "\r30 messages, 120/s\x1b[K\r50 messages, 80/s\x1b[K\r\x1b[K"
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestHistogram(t *testing.T) {
	var h histogram
	for d := time.Duration(1); d < 5*time.Hour; d += 1 + d/37 {
		b := bucket(d)
		if got := middle(b); (got-d).Abs()*100 > d {
			t.Fatalf("%d ns is counted as %d, more than 1 %% off", d, got)
		}
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	var other histogram
	other.add(5 * time.Second)
	h.merge(&other)
	tests := []struct {
		q    float64
		want time.Duration
	}{
		{0, time.Millisecond}, {0.5, 501 * time.Millisecond}, {0.9, 901 * time.Millisecond}, {0.99, 991 * time.Millisecond}, {1, 5 * time.Second},
	}
	for _, tt := range tests {
		if got := h.quantile(tt.q); (got-tt.want).Abs()*100 > tt.want {
			t.Errorf("quantile %v is %v, want %v", tt.q, got, tt.want)
		}
	}
	if h.n != 1001 || h.max != 5*time.Second {
		t.Errorf("%d durations up to %v, want 1001 up to 5s", h.n, h.max)
	}
	h = histogram{}
	h.add(-time.Second) // a clock that was set back
	h.add(1 << 62)
	if h.quantile(0.5) != 0 || h.quantile(1) > h.max {
		t.Errorf("quantiles %v and %v of the extremes", h.quantile(0.5), h.quantile(1))
	}
}
