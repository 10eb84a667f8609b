package context_test

import (
	"bytes"
	"flag"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
)

var splitSeed = flag.Uint64("split-seed", 0, "seed of the random splits in TestSplit; 0 takes a new one")

// TestSplit sends recorded sessions in other pieces than the MTA did: what the
// network does to them must make no difference.
func TestSplit(t *testing.T) {
	for _, name := range []string{
		"postfix-baseline",      // two mails, an unknown command, aborts
		"postfix-mod-insheader", // changes at end of message
	} {
		t.Run(name, func(t *testing.T) {
			sessions := mtaVectors(t, "postfix")
			v := sessions[slices.IndexFunc(sessions, func(v vectorTest) bool { return v.name == name })]
			s := newSplitSession(t, v)

			s.check(t, "all at once", nil)
			var everywhere []int
			for i := 1; i < len(s.stream); i++ {
				s.check(t, "in two", []int{i})
				everywhere = append(everywhere, i)
			}
			s.check(t, "byte by byte", everywhere)
			s.checkServe(t, "all at once", nil)
			s.checkServe(t, "byte by byte", everywhere)

			seed := *splitSeed
			if seed == 0 {
				seed = rand.Uint64()
			}
			random := rand.New(rand.NewPCG(seed, 0))
			for range 1000 { // 2000 with both sessions
				s.check(t, "at random", randomCuts(random, len(s.stream)))
				if t.Failed() {
					t.Fatalf("repeat it with -split-seed=%d", seed)
				}
			}
			t.Logf("%d bytes; seed %d", len(s.stream), seed)
		})
	}
}

// randomCuts returns up to 40 places in a stream of n bytes, in order.
func randomCuts(random *rand.Rand, n int) []int {
	cuts := make([]int, 1+random.IntN(40))
	for i := range cuts {
		cuts[i] = 1 + random.IntN(n-1)
	}
	slices.Sort(cuts)
	return slices.Compact(cuts)
}

// A splitSession is a recorded session as a stream of bytes, and what comes of
// it when it is sent packet by packet.
type splitSession struct {
	recording vectorTest
	stream    []byte
	log       []string
	replies   []byte
}

func newSplitSession(t *testing.T, v vectorTest) *splitSession {
	t.Helper()
	s := &splitSession{recording: v}
	var cuts []int
	for i, packet := range v.in {
		if i > 0 {
			cuts = append(cuts, len(s.stream))
		}
		s.stream = append(s.stream, packet...)
		s.replies = append(s.replies, v.want[i].out...)
	}
	s.log, _ = s.feed(t, cuts)
	if last := len(s.log) - 1; last < 10 || s.log[last] != "close" || !slices.Contains(s.log, "eom") {
		t.Fatalf("the session should have a whole mail and an end:\n%q", s.log)
	}
	s.check(t, "packet by packet", cuts)
	return s
}

// pieces cuts the stream.
func (s *splitSession) pieces(cuts []int) [][]byte {
	var pieces [][]byte
	start := 0
	for _, cut := range append(slices.Clip(cuts), len(s.stream)) {
		pieces = append(pieces, s.stream[start:cut])
		start = cut
	}
	return pieces
}

func (s *splitSession) config() context.Config {
	config := context.DefaultConfig()
	config.Logger = slog.New(slog.DiscardHandler)
	return config
}

// feed gives the stream in pieces to a session without a socket.
func (s *splitSession) feed(t *testing.T, cuts []int) (log []string, replies []byte) {
	var out bytes.Buffer
	f := newVectorFilter(t, s.recording.config, nil)
	ctx := context.New(&out, s.config())
	f.register(ctx)
	for _, piece := range s.pieces(cuts) {
		p := bytes.Clone(piece)
		if err := ctx.Feed(p); err != nil {
			t.Errorf("Feed: %v", err)
		}
		clear(p) // Feed has returned, so it is ours again
	}
	return f.log, out.Bytes()
}

func (s *splitSession) check(t *testing.T, how string, cuts []int) {
	t.Helper()
	log, replies := s.feed(t, cuts)
	s.compare(t, "Feed, "+how, cuts, log, replies)
}

// checkServe sends the pieces over a connection, a write for each.
func (s *splitSession) checkServe(t *testing.T, how string, cuts []int) {
	t.Helper()
	var replies []byte
	f := newVectorFilter(t, s.recording.config, nil)
	synctest.Test(t, func(t *testing.T) {
		mta, milter := net.Pipe()
		go func() {
			ctx := context.New(milter, s.config())
			f.register(ctx)
			if err := ctx.Serve(milter); err != nil {
				t.Errorf("Serve: %v", err)
			}
			_ = milter.Close()
		}()
		go func() {
			for _, piece := range s.pieces(cuts) {
				if _, err := mta.Write(piece); err != nil {
					t.Errorf("write: %v", err)
				}
			}
		}()
		p := make([]byte, 100)
		for {
			n, err := mta.Read(p)
			replies = append(replies, p[:n]...)
			if err != nil {
				break // the milter closes after the quit
			}
		}
	})
	s.compare(t, "Serve, "+how, cuts, f.log, replies)
}

func (s *splitSession) compare(t *testing.T, how string, cuts []int, log []string, replies []byte) {
	t.Helper()
	if len(cuts) > 50 {
		cuts = cuts[:50]
	}
	if !slices.Equal(s.log, log) { // cmp.Diff takes its time
		t.Errorf("%s, cut at %v: other events than packet by packet (-want +got):\n%s", how, cuts, cmp.Diff(s.log, log))
	}
	if !bytes.Equal(s.replies, replies) {
		t.Errorf("%s, cut at %v: other replies than recorded:\nwant %x\ngot  %x", how, cuts, s.replies, replies)
	}
}
