package context_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/context"
)

var updateVectors = flag.Bool("update", false, "write testdata/vectors/different.golden")

const vectorGoldenFile = "testdata/vectors/different.golden"

// TestVectors replays what libmilter, Postfix and Sendmail were recorded to say,
// see testdata/vectors/README.md. Each exchange comes out byte for byte as
// recorded, or is in the table of differences with a reason, and then comes out
// as in the golden file.
func TestVectors(t *testing.T) {
	g := &vectorGolden{want: readVectorGolden(t), got: make(map[string]string)}
	partial := strings.Contains(flag.Lookup("test.run").Value.String(), "/")
	for _, file := range []struct {
		name  string
		tests []vectorTest
		want  int
	}{
		{"libmilter", libmilterVectors(t), 194},
		{"postfix", mtaVectors(t, "postfix"), 25},
		{"sendmail", mtaVectors(t, "sendmail"), 25},
	} {
		var identical, listed, unexplained int
		t.Run(file.name, func(t *testing.T) {
			for _, test := range file.tests {
				t.Run(test.name, func(t *testing.T) {
					switch {
					case !test.replay(t, g) || t.Failed():
						unexplained++
					case vectorDifferences[test.name] != "":
						listed++
					default:
						identical++
					}
				})
			}
		})
		sum := identical + listed + unexplained
		t.Logf("%s: replayed %d identical, %d listed as different, %d unexplained", file.name, identical, listed, unexplained)
		if len(file.tests) != file.want || sum != file.want && !partial {
			t.Errorf("%s: %d of %d exchanges were replayed, want %d", file.name, sum, len(file.tests), file.want)
		}
	}
	if partial {
		return
	}
	for name := range vectorDifferences {
		if _, ok := g.got[name]; !ok {
			t.Errorf("the table of differences has %q, which is no recorded exchange", name)
		}
	}
	g.finish(t)
}

// A vectorTest is one exchange to be replayed.
type vectorTest struct {
	name   string
	config vectorConfig
	answer []byte // of a filter that was no libmilter filter: its answer to the offer
	in     []vectorWire
	want   []vectorStep // what the recorded filter did, a step for each input
	after  []string     // what it was told when the MTA then closed the connection
	bytes  bool         // only bytes were recorded
}

// A vectorStep is what a filter did about one input.
type vectorStep struct {
	log    []string // the callbacks, and behind a "!" what was given to OnError
	out    vectorWire
	closed bool
}

// replay runs the exchange and reports whether it came out as it should.
func (v *vectorTest) replay(t *testing.T, g *vectorGolden) bool {
	got, after := v.play(t)
	if v.bytes {
		for i := range got {
			got[i].log = nil
		}
		after = nil
	}
	reason := vectorDifferences[v.name]
	diff := v.compare(got, after)
	switch {
	case reason == "" && diff != "":
		t.Errorf("differs from the recording (-recorded +ours), and the table of differences does not say why:\n%s", diff)
		return false
	case reason != "" && diff == "":
		t.Errorf("is in the table of differences, but comes out as recorded: take it out (%s)", reason)
		return false
	case reason == "":
		return true
	}
	return g.check(t, v.name, reason+"\n\n"+diff)
}

// compare returns the steps in which the recorded filter and ours differ, as
// text; "" if there are none.
func (v *vectorTest) compare(got []vectorStep, after []string) string {
	var b strings.Builder
	show := func(input string, recorded, ours []string) {
		fmt.Fprintf(&b, "> %s\n", input)
		for _, line := range recorded {
			fmt.Fprintf(&b, "- %s\n", line)
		}
		for _, line := range ours {
			fmt.Fprintf(&b, "+ %s\n", line)
		}
	}
	for i, in := range v.in {
		var recorded, ours *vectorStep
		if i < len(v.want) {
			recorded = &v.want[i]
		}
		if i < len(got) {
			ours = &got[i]
		}
		if !recorded.equal(ours) {
			show(in.describe(vectorCommand), recorded.lines(), ours.lines())
		}
	}
	if !slices.Equal(v.after, after) {
		show("the MTA closes", v.after, after)
	}
	return b.String()
}

func (s *vectorStep) equal(other *vectorStep) bool {
	if s == nil || other == nil {
		return s == other
	}
	return bytes.Equal(s.out, other.out) && slices.Equal(s.callbacks(), other.callbacks()) && s.closed == other.closed
}

// callbacks returns the log without the errors, which libmilter does not have.
func (s *vectorStep) callbacks() []string {
	return slices.DeleteFunc(slices.Clone(s.log), func(line string) bool { return strings.HasPrefix(line, "!") })
}

func (s *vectorStep) lines() []string {
	if s == nil {
		return []string{"(the connection is closed)"}
	}
	lines := slices.Clone(s.log)
	for _, p := range s.out.packets() {
		lines = append(lines, "< "+p.describe(vectorReply))
	}
	if s.closed {
		lines = append(lines, "(closes)")
	}
	if len(lines) == 0 {
		lines = append(lines, "(nothing)")
	}
	return lines
}

// The recorder took a filter for silent after a while, and watched the end of
// each exchange for some seconds.
const (
	vectorSilence   = time.Second
	vectorLastWatch = 5 * time.Second
)

// play runs a session of our filter in virtual time, against an MTA that sends
// v.in. It stops when the filter closes the connection.
func (v *vectorTest) play(t *testing.T) (steps []vectorStep, after []string) {
	f := newVectorFilter(t, v.config, v.answer)
	config := context.DefaultConfig()
	config.PacketBufferSize = 0 // libmilter sends each change at once
	config.Logger = slog.New(slog.DiscardHandler)
	if v.config.Timeout != "" {
		config.Timeout = time.Duration(vectorNumber(t, v.config.Timeout)) * time.Second
	}
	synctest.Test(t, func(t *testing.T) {
		mta, milter := net.Pipe()
		var out []byte
		go func() {
			p := make([]byte, 4<<10)
			for {
				n, err := mta.Read(p)
				out = append(out, p[:n]...)
				if err != nil {
					return
				}
			}
		}()
		ended := false
		go func() {
			for ctx := context.New(milter, config); ctx != nil; ctx = ctx.Next() {
				f.register(ctx)
				_ = ctx.Serve(milter) // the error has been given to OnError
			}
			ended = true
			_ = milter.Close()
		}()
		for i, in := range v.in {
			_, _ = mta.Write(in) // fails when the filter closes the connection, which is seen below
			time.Sleep(vectorSilence)
			if i == len(v.in)-1 {
				time.Sleep(vectorLastWatch)
			}
			synctest.Wait()
			steps = append(steps, vectorStep{f.log, slices.Clone(out), ended})
			out, f.log = nil, nil
			if ended {
				break
			}
		}
		_ = mta.Close()
		synctest.Wait()
		after = f.log
		if len(out) > 0 {
			t.Errorf("wrote %x after the end", out)
		}
	})
	return steps, after
}

// readVectors reads one of the recordings. What it holds beyond v is not needed;
// vectorConfig sees to it that no part of a configuration is overlooked.
func readVectors(t *testing.T, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "vectors", name))
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
