package socket_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/internal/socket"
	"github.com/milter-go/milter/protocol"
)

// A wrapped connection is none that package socket knows.
type wrapped struct{ net.Conn }

// pairs makes the kinds of connections there are: the milter's end first.
func pairs(t *testing.T) map[string]func() (net.Conn, net.Conn) {
	dial := func(network, address string) func() (net.Conn, net.Conn) {
		return func() (net.Conn, net.Conn) {
			l, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			mta, err := net.Dial(network, l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			milter, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { mta.Close(); milter.Close() })
			return milter, mta
		}
	}
	tcp := dial("tcp4", "127.0.0.1:0")
	return map[string]func() (net.Conn, net.Conn){
		"tcp":  tcp,
		"unix": dial("unix", filepath.Join(t.TempDir(), "s")),
		"pipe": func() (net.Conn, net.Conn) { return net.Pipe() },
		"wrapped": func() (net.Conn, net.Conn) {
			milter, mta := tcp()
			return wrapped{milter}, mta
		},
	}
}

// each runs a test on every kind of connection, owned and not.
func each(t *testing.T, test func(t *testing.T, conn *socket.Conn, mta net.Conn)) {
	for name, pair := range pairs(t) {
		for kind, make := range map[string]func(net.Conn) *socket.Conn{"owned": socket.Own, "not owned": socket.Of} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				milter, mta := pair()
				test(t, make(milter), mta)
			})
		}
	}
}

// A script is a session that does as it is told, and writes down what happens.
type script struct {
	in     protocol.Buffer
	wait   func(unsure bool) bool
	answer func(packet string) (more bool)
	ended  error
	owes   bool
}

func (s *script) Wait(unsure bool) bool {
	s.in.Release()
	return s.wait == nil || s.wait(unsure)
}

func (s *script) Received(_ int, err error) socket.Next {
	for {
		p, ok, fault := s.in.Next()
		if fault != nil {
			s.ended = fault
			return socket.Stop
		}
		if !ok {
			break
		}
		if !s.answer(string(p.Letter) + string(p.Payload)) {
			return socket.Stop
		}
	}
	s.ended = err
	switch {
	case err != nil:
		return socket.Stop
	case s.owes:
		return socket.Await
	}
	return socket.Read
}

func packet(s string) []byte { return protocol.AppendPacket(nil, s[0], []byte(s[1:])) }

// TestExchange: packets of all sizes, alone, in pieces and many at a time, come as
// they were sent, and so do the replies.
func TestExchange(t *testing.T) {
	sizes := []int{0, 1, 100, 4 << 10, 16<<10 - 5, 16 << 10, 65535, 200 << 10}
	each(t, func(t *testing.T, conn *socket.Conn, mta net.Conn) {
		var got []int
		s := &script{answer: func(p string) bool {
			got = append(got, len(p)-1)
			if err := conn.WriteAll(packet(p), time.Minute); err != nil {
				t.Errorf("write: %v", err)
			}
			return true
		}}
		done := make(chan struct{})
		go func() { defer close(done); conn.Serve(&s.in, s) }()

		var stream, echo []byte
		var want []int
		reader := make(chan []byte)
		for _, pieces := range []int{1 << 20, 1000} {
			for _, n := range sizes {
				stream = append(stream, packet("B"+strings.Repeat("x", n))...)
				want = append(want, n)
			}
			go func() {
				all := make([]byte, len(stream))
				_, _ = io.ReadFull(mta, all)
				reader <- all
			}()
			for rest := stream; len(rest) > 0; {
				n := min(pieces, len(rest))
				if _, err := mta.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if echo = <-reader; !bytes.Equal(echo, stream) {
				t.Errorf("pieces of %d: the echo differs", pieces)
			}
			stream = stream[:0]
		}
		mta.Close()
		<-done
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("packets (-want +got):\n%s", diff)
		}
		if !errors.Is(s.ended, io.EOF) {
			t.Errorf("ended with %v, want EOF", s.ended)
		}
	})
}

// TestUnsure: a wait that nobody has looked before is announced as such. It is one
// after a reply, or while one is due, and only there.
func TestUnsure(t *testing.T) {
	milter, mta := pairs(t)["unix"]()
	conn := socket.Own(milter)
	waits := make(chan bool)
	var s *script
	s = &script{
		wait: func(unsure bool) bool { waits <- unsure; return true },
		answer: func(p string) bool {
			if p[0] == 'H' {
				_ = conn.WriteAll(packet("c"), 0)
			}
			s.owes = p[0] == 'B'
			return p[0] != 'Q'
		},
	}
	done := make(chan struct{})
	go func() { defer close(done); conn.Serve(&s.in, s) }()
	for i, step := range []struct {
		send string
		want bool
	}{{"", false}, {"Hanswered", true}, {"Lnot answered", false}, {"Hanswered", true}, {"Banswered later", true}} {
		if step.send != "" {
			_, _ = mta.Write(packet(step.send))
		}
		if unsure := <-waits; unsure != step.want {
			t.Errorf("wait %d, after %q: unsure is %t, want %t", i, step.send, unsure, step.want)
		}
	}
	_, _ = mta.Write(packet("Q"))
	<-done
}

// TestHalfClose: an MTA that ends its stream together with the last command, and
// still reads, is seen to have ended as soon as somebody looks.
func TestHalfClose(t *testing.T) {
	each(t, func(t *testing.T, conn *socket.Conn, mta net.Conn) {
		half, ok := mta.(interface{ CloseWrite() error })
		if !ok {
			t.Skip("this kind of connection has two ends that end together")
		}
		s := &script{
			wait: func(unsure bool) bool {
				if unsure { // as a session does, only sooner
					_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
				}
				return true
			},
			answer: func(string) bool { return conn.WriteAll(packet("c"), 0) == nil },
		}
		_, _ = mta.Write(packet("H"))
		_ = half.CloseWrite() // data and end are there before the first read
		ended := make(chan error)
		go func() {
			for {
				conn.Serve(&s.in, s)
				if !errors.Is(s.ended, os.ErrDeadlineExceeded) {
					break
				}
				_ = conn.SetReadDeadline(time.Time{})
			}
			ended <- s.ended
		}()
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("ended with %v, want EOF", err)
		}
		if reply, err := io.ReadAll(io.LimitReader(mta, 5)); err != nil || string(reply) != "\x00\x00\x00\x01c" {
			t.Errorf("reply %q, %v", reply, err)
		}
	})
}

// TestWait: a session that has something else to do instead of waiting gets to do
// it, and a deadline ends a wait.
func TestWait(t *testing.T) {
	each(t, func(t *testing.T, conn *socket.Conn, mta net.Conn) {
		refusals := 3
		s := &script{wait: func(bool) bool {
			if refusals--; refusals >= 0 {
				return false
			}
			_ = conn.SetReadDeadline(time.Unix(1, 0))
			return true
		}}
		conn.Serve(&s.in, s)
		if !errors.Is(s.ended, os.ErrDeadlineExceeded) || refusals != -1 {
			t.Errorf("ended with %v after %d refusals, want a deadline after 3", s.ended, 2-refusals)
		}
	})
}

// TestWriteTimeout: a write to an MTA that does not read ends in time; one that is
// only slow succeeds, and sets no deadline for the next.
func TestWriteTimeout(t *testing.T) {
	each(t, func(t *testing.T, conn *socket.Conn, mta net.Conn) {
		large := make([]byte, 16<<20)
		read := make(chan error)
		go func() {
			_, err := io.ReadFull(mta, make([]byte, len(large)+1))
			read <- err
		}()
		if err := conn.WriteAll(large, time.Minute); err != nil {
			t.Fatalf("a slow reader: %v", err)
		}
		if err := conn.WriteAll([]byte{1}, 0); err != nil {
			t.Fatalf("the next write: %v", err)
		}
		if err := <-read; err != nil {
			t.Fatal(err)
		}
		if err := conn.WriteAll(large, 10*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("nobody reads: %v, want a deadline", err)
		}
	})
}

// TestClose: a wait ends when the connection is closed, and a write fails.
func TestClose(t *testing.T) {
	each(t, func(t *testing.T, conn *socket.Conn, _ net.Conn) {
		waiting := make(chan struct{}, 1)
		s := &script{wait: func(bool) bool { waiting <- struct{}{}; return true }}
		done := make(chan struct{})
		go func() { defer close(done); conn.Serve(&s.in, s) }()
		<-waiting
		conn.Close()
		<-done
		if !errors.Is(s.ended, net.ErrClosed) && !errors.Is(s.ended, io.ErrClosedPipe) {
			t.Errorf("ended with %v, want closed", s.ended)
		}
		if conn.Owned() {
			return // is not written to any more
		}
		if err := conn.WriteAll([]byte{1}, 0); !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("write: %v, want closed", err)
		}
	})
}

// TestOf: a Conn stays what it is.
func TestOf(t *testing.T) {
	milter, _ := net.Pipe()
	conn := socket.Own(milter)
	if socket.Of(conn) != conn || !socket.Of(conn).Owned() || socket.Of(milter).Owned() {
		t.Error("Of changes what a connection is")
	}
}
