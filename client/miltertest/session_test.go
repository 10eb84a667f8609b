package miltertest_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

func TestTimeouts(t *testing.T) {
	tests := []struct {
		name                string
		timeout, endTimeout time.Duration
		progress            int // one after every 7 s
		want                time.Duration
	}{
		{"default", miltertest.DefaultTimeout, miltertest.DefaultEndOfMessageTimeout, 0, 10 * time.Second},
		{"progress restarts the one", miltertest.DefaultTimeout, miltertest.DefaultEndOfMessageTimeout, 3, 31 * time.Second},
		{"and not the other", miltertest.DefaultTimeout, 15 * time.Second, 1000, 15 * time.Second},
		{"without the one", 0, time.Minute, 0, time.Minute},
		{"without the other", 20 * time.Second, 0, 100, 720 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mta, milter := net.Pipe()
				done := make(chan struct{})
				defer func() { <-done }()
				s := miltertest.New(mta)
				defer s.Close()
				go func() {
					defer close(done)
					defer milter.Close()
					milter.Read(make([]byte, 100))
					for range tt.progress {
						time.Sleep(7 * time.Second)
						if _, err := io.WriteString(milter, bare(protocol.ReplyProgress)); err != nil {
							return
						}
					}
					milter.Read(make([]byte, 100)) // until the session is closed
				}()
				s.Timeout, s.EndOfMessageTimeout = tt.timeout, tt.endTimeout
				begin := time.Now()
				_, err := s.EndOfMessage()
				if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "end-of-message") {
					t.Errorf("error = %v, want os.ErrDeadlineExceeded at end-of-message", err)
				}
				if got := time.Since(begin); got != tt.want {
					t.Errorf("it took %v, want %v", got, tt.want)
				}
			})
		})
	}
	t.Run("milter does not read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mta, milter := net.Pipe()
			defer milter.Close()
			s := miltertest.New(mta)
			defer s.Close()
			if _, err := s.Negotiate(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("error = %v, want os.ErrDeadlineExceeded", err)
			}
		})
	})
	t.Run("milter does not close after quit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mta, milter := net.Pipe()
			go io.Copy(io.Discard, milter)
			s := miltertest.New(mta)
			defer s.Close()
			if err := s.Quit(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Quit = %v, want os.ErrDeadlineExceeded", err)
			}
		})
	})
}

// A milter that goes away is an io.EOF, whenever it is noticed.
func TestMilterHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mta, milter := net.Pipe()
		s := miltertest.New(mta)
		defer s.Close()
		go func() {
			milter.Read(make([]byte, 100))
			milter.Close()
		}()
		if _, err := s.Helo("x"); !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "helo") {
			t.Errorf("error while waiting = %v, want io.EOF at helo", err)
		}
		if _, err := s.EnvelopeFrom("x"); !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "envelope-from") {
			t.Errorf("error at the next command = %v, want io.EOF at envelope-from", err)
		}
	})
}

func TestRaw(t *testing.T) {
	s, got := start(t, answers{protocol.CommandHelo: {raw('z', "?"), packets(add("A", "b")), raw('h', "?")}})
	for _, play := range []struct {
		name string
		read func() (any, error)
		want any
	}{
		{"ReadPacket", func() (any, error) { return s.ReadPacket() }, protocol.Packet{Letter: 'z', Payload: []byte("?")}},
		{"ReadReply", func() (any, error) { return s.ReadReply() }, add("A", "b")},
	} {
		if err := s.SendRaw(protocol.Helo{Name: "x"}.Append(nil)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(play.want, must[any](t)(play.read())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", play.name, diff)
		}
	}
	if err := s.SendRaw(protocol.Helo{Name: "x"}.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadReply(); err == nil {
		t.Error("ReadReply took a malformed reply")
	}
	if diff := cmp.Diff([]string{"H x|", "H x|", "H x|"}, got()); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

// tcp returns a session over TCP and the milter's end of it.
func tcp(t *testing.T) (*miltertest.Session, net.Conn) {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	mta := must[net.Conn](t)(net.Dial("tcp", l.Addr().String()))
	milter := must[net.Conn](t)(l.Accept())
	s := miltertest.New(mta)
	t.Cleanup(func() { s.Close(); milter.Close() })
	return s, milter
}

func TestCut(t *testing.T) {
	t.Run("TCP", func(t *testing.T) {
		s, milter := tcp(t)
		if err := s.Cut(); err != nil {
			t.Fatal(err)
		}
		if _, err := milter.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the milter reads %v, want a reset", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	t.Run("pipe", func(t *testing.T) {
		mta, milter := net.Pipe()
		s := miltertest.New(mta)
		if err := s.Cut(); err != nil {
			t.Fatal(err)
		}
		if _, err := milter.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the milter reads %v, want io.EOF", err)
		}
		if _, err := s.Helo("x"); err == nil {
			t.Error("Helo works after Cut")
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

func TestCloseWrite(t *testing.T) {
	s, milter := tcp(t)
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := milter.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the milter reads %v, want io.EOF", err)
	}
	if _, err := io.WriteString(milter, bare(protocol.ReplyContinue)); err != nil {
		t.Fatal(err)
	}
	if m := must[reply.Message](t)(s.ReadReply()); m.Reply() != protocol.ReplyContinue {
		t.Errorf("ReadReply = %v, want continue", m.Reply())
	}

	mta, _ := net.Pipe()
	p := miltertest.New(mta)
	defer p.Close()
	if err := p.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("CloseWrite of a pipe = %v, want errors.ErrUnsupported", err)
	}
}
