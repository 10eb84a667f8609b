package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/cmd/internal/mta"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// A line is a connection whose far end is a bare milter: it reads into one buffer,
// answers, and allocates nothing.
type line struct {
	near *countingConn
	far  net.Conn
}

// A countingConn counts writes.
type countingConn struct {
	*net.UnixConn
	writes int
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes++
	return c.UnixConn.Write(p)
}

// connect makes a connection to a bare milter, which takes all that is offered in
// steps and actions, and sends what final returns at end of message.
func connect(t testing.TB, s *session, final func(c protocol.Command) string) *line {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	must(t, err)
	defer l.Close()
	near, err := net.Dial("unix", l.Addr().String())
	must(t, err)
	far, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { near.Close(); far.Close() })
	go echo(far, []byte(final('E')), s.run.options.offer)
	return &line{&countingConn{UnixConn: near.(*net.UnixConn)}, far}
}

// echo is a bare milter that continues.
func echo(conn net.Conn, changes []byte, agreed option.Option) {
	negotiation := []byte(packets(reply.Negotiate{Option: agreed}))
	buf, out := make([]byte, 1<<20), make([]byte, 0, 1<<20)
	start, end := 0, 0
	for {
		if end == len(buf) || start == end {
			end = copy(buf, buf[start:end])
			start = 0
		}
		n, err := conn.Read(buf[end:])
		if err != nil {
			return
		}
		end += n
		out = out[:0]
		for end-start >= 5 {
			length := 4 + int(buf[start])<<24 + int(buf[start+1])<<16 + int(buf[start+2])<<8 + int(buf[start+3])
			if end-start < length {
				break
			}
			c := protocol.Command(buf[start+4])
			start += length
			_, noReply := mta.StepsOf(c)
			switch {
			case c == 'O':
				out = append(out, negotiation...)
			case c == 'Q':
				conn.Close()
				return
			case c == 'D' || c == 'A' || noReply != 0 && agreed.Steps.Has(noReply):
			default:
				if c == 'E' {
					out = append(out, changes...)
				}
				out = append(out, 0, 0, 0, 1, 'c')
			}
		}
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return
			}
		}
	}
}

func tenChanges(protocol.Command) string {
	var b strings.Builder
	for i := range 10 {
		b.WriteString(packets(reply.AddHeader{Name: fmt.Sprintf("X-%d", i), Value: "a value"}))
	}
	return b.String() + packets(reply.ReplaceBody{Chunk: make([]byte, protocol.MaxChunk)})
}

func noChanges(protocol.Command) string { return "" }

// The loop costs one write for each reply that is awaited, and no allocation.
func TestLoopIsLight(t *testing.T) {
	const noReply = "no-reply-connect|no-reply-helo|no-reply-envelope-from|no-reply-envelope-recipient|" +
		"no-reply-data|no-reply-header|no-reply-end-of-header|no-reply-body"
	tests := []struct {
		name  string
		args  []string
		final func(protocol.Command) string
		want  int // writes
	}{
		{"all is answered", []string{"--offer=none"}, noChanges, 26},
		{"changes", []string{"--offer=none"}, tenChanges, 26},
		{"large body", []string{"--offer=none", "--body-size=1m"}, noChanges, 25 + 17},
		{"recipients", []string{"--offer=none", "--recipients=5"}, noChanges, 30},
		{"headers are not answered", []string{"--offer=no-reply-header"}, noChanges, 6},
		{"only the end is answered", []string{"--offer=" + noReply}, noChanges, 1},
		{"only the end is wanted", []string{"--offer=no-connect|no-helo|no-envelope-from|no-envelope-recipient|no-data|no-headers|no-end-of-header|no-body"}, noChanges, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newTestSession(t, tt.args...)
			l := connect(t, s, tt.final)
			if _, ok, err := s.greet(l.near); err != nil || !ok {
				t.Fatal(ok, err)
			}
			w := &worker{s, newTally(), s.run}
			s.run.phase.Store(phaseMeasure)
			for range 3 { // the buffers of both sides grow
				must(t, w.message(false))
			}
			l.near.writes = 0
			must(t, w.message(false))
			if l.near.writes != tt.want {
				t.Errorf("%d writes for a message, want %d", l.near.writes, tt.want)
			}
			const runs = 20
			if allocs := testing.AllocsPerRun(runs, func() { must(t, w.message(false)) }); allocs != 0 {
				t.Errorf("%v allocations for a message, want 0", allocs)
			}
			if want := uint64(3 + 1 + 1 + runs); w.tally.messages != want || w.tally.latency.n != want {
				t.Errorf("%d messages and %d latencies counted, want %d", w.tally.messages, w.tally.latency.n, want)
			}
			must(t, s.quit())
		})
	}
}

// The timeout is for one reply, whatever the message takes; it is never early, and
// not late.
func TestTimeout(t *testing.T) {
	tests := []struct {
		name  string
		delay time.Duration // of each reply
		parts int           // progress packets before the final one
		want  time.Duration // until the fault; 0 for none
	}{
		{"in time", 9 * time.Second, 0, 0},
		{"too late", 11 * time.Second, 0, 10 * time.Second},
		{"progress", 9 * time.Second, 5, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestSession(t, "--offer=none", "--timeout=10s")
				near, far := net.Pipe()
				defer time.Sleep(time.Minute) // until the milter has ended
				defer near.Close()
				delay := time.Duration(0)
				go slow(far, &delay, tt.parts)
				if _, ok, err := s.greet(near); err != nil || !ok {
					t.Fatal(ok, err)
				}
				time.Sleep(time.Hour) // the deadline of the socket has long passed
				delay = tt.delay
				start := time.Now()
				_, err := s.send()
				switch took := time.Since(start); {
				case tt.want == 0 && err != nil:
					t.Errorf("after %v: %v", took, err)
				case tt.want > 0 && (err == nil || !strings.HasSuffix(err.Error(), "nothing more came within 10s") || took != tt.want):
					t.Errorf("after %v: %v, want a timeout after %v", took, err, tt.want)
				}
			})
		})
	}
}

// A connection that is made while the run is being abandoned ends, too.
func TestAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSession(t, "--timeout=0")
		s.run.abandon()
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close() // and it never answers
		if _, _, err := s.greet(near); err != errAbandoned {
			t.Errorf("error %v, want %v", err, errAbandoned)
		}
	})
}

// slow answers after a delay, and end of message in several parts.
func slow(conn net.Conn, delay *time.Duration, parts int) {
	defer conn.Close()
	var buffer protocol.Buffer
	for {
		p, err := buffer.ReadPacket(conn)
		if err != nil {
			return
		}
		answers := []string{bare('c')}
		switch p.Letter {
		case 'O':
			answers = []string{packets(reply.Negotiate{Option: option.Option{Version: 6}})}
		case 'D', 'A':
			continue
		case 'E':
			for range parts {
				answers = append([]string{bare('p')}, answers...)
			}
		}
		for _, answer := range answers {
			time.Sleep(*delay)
			if _, err := conn.Write([]byte(answer)); err != nil {
				return
			}
		}
	}
}

// A reply may come byte by byte, and may be as large as it likes.
func TestReplyInPieces(t *testing.T) {
	changes := packets(reply.AddHeader{Name: "X", Value: strings.Repeat("v", 70000)}, reply.ReplaceBody{Chunk: make([]byte, 200000)})
	for _, size := range []int{1, 4093, len(changes)} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := newTestSession(t, "--headers=1")
			near, far := net.Pipe()
			defer near.Close()
			go func() {
				defer far.Close()
				var buffer protocol.Buffer
				f := &fake{Actions: option.AllActions, Answers: answers{'E': changes + bare('a')}}
				for {
					p, err := buffer.ReadPacket(far)
					if err != nil {
						return
					}
					answer := f.AnswerTo(protocol.Command(p.Letter), 1)
					for answer != "" {
						n := min(size, len(answer))
						if _, err := far.Write([]byte(answer[:n])); err != nil {
							return
						}
						answer = answer[n:]
					}
				}
			}()
			if _, ok, err := s.greet(near); err != nil || !ok {
				t.Fatal(ok, err)
			}
			for range 2 {
				got, err := s.send()
				if want := (outcome{protocol.CommandEndOfMessage, protocol.StatusAccept}); err != nil || got != want {
					t.Errorf("got %v, %v, want %v", got, err, want)
				}
			}
			// The negotiation; connect and helo; twice: six replies, the changes, the last one.
			if want := uint64(17 + 2*5 + 2*(6*5+len(changes)+5)); s.received != want {
				t.Errorf("%d bytes received, want %d", s.received, want)
			}
		})
	}
}

func BenchmarkMessage(b *testing.B) {
	o := newOptions()
	must(b, o.parse([]string{"-sinet:1", "--offer=none"}))
	s := newSession(newRun(o), 1)
	l := connect(b, s, noChanges)
	if _, ok, err := s.greet(l.near); err != nil || !ok {
		b.Fatal(ok, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.send(); err != nil {
			b.Fatal(err)
		}
	}
}
