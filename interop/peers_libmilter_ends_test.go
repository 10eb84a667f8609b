//go:build interop

package interop_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

// testLibmilterSizes sends what is large.
func testLibmilterSizes(t *testing.T, j *judge, path string) {
	var odd bytes.Buffer
	for i := range 200_000 {
		odd.WriteByte(byte(i * i >> 3)) // every byte, NUL and bare CR and LF included
	}
	for _, tt := range []struct {
		name   string
		body   []byte
		chunks []string // as the filter says them
	}{
		{"no body", nil, nil},
		{"one byte", []byte("x"), []string{"body 1"}},
		{"a full chunk", bytes.Repeat([]byte("x"), 65535), []string{"body 65535"}},
		{"one byte more", bytes.Repeat([]byte("x"), 65536), []string{"body 65535", "body 1"}},
		{"all bytes there are", odd.Bytes(), []string{"body 65535", "body 65535", "body 65535", "body 3395"}},
		{"a megabyte", bytes.Repeat([]byte("0123456789abcd\r\n"), 65536), append(slices.Repeat([]string{"body 65535"}, 16), "body 16")},
	} {
		j.run(t, tt.name, func(t *testing.T) {
			save := filepath.Join(t.TempDir(), "body")
			f := startFilter(t, path, "save", save)
			s := f.connect()
			mail := sampleMail()
			mail.Body = tt.body
			r, err := s.Deliver(mail)
			if err != nil || !r.IsDelivered() {
				t.Fatalf("got %v, %v", r, err)
			}
			if !bytes.Equal(r.Mail.Body, tt.body) {
				t.Error("the body is not the same any more, and nobody changed it")
			}
			var chunks []string
			for _, line := range f.until("close") {
				if strings.HasPrefix(line, "body ") {
					chunks = append(chunks, line)
				}
			}
			sameLines(t, "body callbacks", tt.chunks, chunks)
			got, err := os.ReadFile(save)
			if err != nil && tt.body != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, tt.body) {
				t.Errorf("the filter got %d bytes that differ from the %d sent", len(got), len(tt.body))
			}
		})
	}
	j.run(t, "header field of more than 64 KiB", func(t *testing.T) {
		// libmilter hangs up at a packet that large; Postfix sends such.
		s := startFilter(t, path).connect()
		mail := sampleMail()
		mail.Headers[0].Value = strings.Repeat(" x\n", 30_000) + " x"
		r, err := s.Send(mail)
		if !isHangUp(err) {
			t.Errorf("got %v, %v; want that the connection has ended", r, err)
		}
	})
	j.run(t, "replaced body of a megabyte", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "new")
		body := bytes.Repeat([]byte("0123456789abcd\r\n"), 65536)
		if err := os.WriteFile(file, body, 0o644); err != nil {
			t.Fatal(err)
		}
		s := startFilter(t, path, "body", file).connect()
		r, err := s.Deliver(sampleMail())
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Changes) != 17 || !bytes.Equal(r.Mail.Body, body) {
			t.Errorf("%d changes and %d bytes, want 17 and %d", len(r.Changes), len(r.Mail.Body), len(body))
		}
	})
}

// testLibmilterTimes holds the timeouts of the MTA's side to a filter that takes
// its time.
func testLibmilterTimes(t *testing.T, j *judge, path string) {
	j.run(t, "progress in time", func(t *testing.T) {
		// Longer than Timeout in all, but never without progress for so long.
		words := []string{"sleep", "200", "progress", "sleep", "200", "progress", "sleep", "200", "progress", "sleep", "200", "add", "X-Late", "yes"}
		s := startFilter(t, path, words...).connect()
		s.Timeout = 700 * time.Millisecond
		r, err := s.Deliver(sampleMail())
		if err != nil {
			t.Fatal(err)
		}
		if r.Progress != 3 || cmp.Diff([]string{"yes"}, r.Mail.HeaderValues("X-Late")) != "" {
			t.Errorf("%d times progress and X-Late %q, want 3 and yes", r.Progress, r.Mail.HeaderValues("X-Late"))
		}
		if r.Elapsed < 800*time.Millisecond {
			t.Errorf("took %v, the filter sleeps 800ms", r.Elapsed)
		}
	})
	j.run(t, "no progress", func(t *testing.T) {
		s := startFilter(t, path, "sleep", "60000").connect()
		s.Timeout = 300 * time.Millisecond
		if r, err := s.Send(sampleMail()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, %v; want a timeout", r, err)
		}
	})
	j.run(t, "progress does not prolong the whole", func(t *testing.T) {
		var words []string
		for range 100 {
			words = append(words, "progress", "sleep", "100")
		}
		s := startFilter(t, path, words...).connect()
		s.EndOfMessageTimeout = 500 * time.Millisecond
		r, err := s.Send(sampleMail())
		if !errors.Is(err, os.ErrDeadlineExceeded) || r.Progress == 0 {
			t.Errorf("got %v with %d times progress, %v; want a timeout after some", r, r.Progress, err)
		}
	})
	j.run(t, "progress where it does not belong", func(t *testing.T) {
		// libmilter sends no progress but by a change, and those only at the end.
		f := startFilter(t, path, "progress", "answer", "eom", "reject")
		s := f.connect()
		r, err := s.Deliver(sampleMail())
		if err != nil || r.Progress != 1 || r.Status != protocol.StatusReject {
			t.Errorf("got %v with %d times progress, %v; want reject with one", r, r.Progress, err)
		}
	})
}

// testLibmilterEnds plays the ends of transactions and connections.
func testLibmilterEnds(t *testing.T, j *judge, path string) {
	greet := func(t *testing.T, s *miltertest.Session) {
		t.Helper()
		for _, step := range []func() (miltertest.Answer, error){
			s.Negotiate,
			func() (miltertest.Answer, error) {
				return s.Connect("mx.example.net", &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25})
			},
			func() (miltertest.Answer, error) { return s.EnvelopeFrom("<a@example.org>") },
		} {
			if _, err := step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	start := []string{"negotiate actions=1ff steps=1fffff", "connect <mx.example.net> 192.0.2.1 25", "mail <<a@example.org>>"}
	for _, tt := range []struct {
		name string
		end  func(s *miltertest.Session) error
		want []string
	}{
		{"quit in a transaction", (*miltertest.Session).Quit, []string{"abort", "close"}},
		{"hang-up in a transaction", (*miltertest.Session).Close, []string{"abort", "close"}},
		{"half a packet, then a hang-up", func(s *miltertest.Session) error {
			if err := s.SendRaw([]byte{0, 0, 0, 9, 'R', '<'}); err != nil {
				return err
			}
			return s.Close()
		}, []string{"abort", "close"}},
		{"abort, then quit", func(s *miltertest.Session) error {
			if err := s.Abort(); err != nil {
				return err
			}
			return s.Quit()
		}, []string{"abort", "close"}},
		{"an unknown letter", func(s *miltertest.Session) error {
			if err := s.SendRaw([]byte{0, 0, 0, 1, 'x'}); err != nil {
				return err
			}
			if p, err := s.ReadPacket(); !isHangUp(err) {
				return errors.Join(errors.New("want a hang-up"), err, errors.New(string(p.Letter)))
			}
			return nil
		}, []string{"abort", "close"}},
	} {
		j.run(t, tt.name, func(t *testing.T) {
			f := startFilter(t, path)
			s := f.connect()
			greet(t, s)
			if err := tt.end(s); err != nil {
				t.Fatal(err)
			}
			sameLines(t, "what the filter saw", append(start[:len(start):len(start)], tt.want...), f.until("close"))
		})
	}
	// libmilter takes a quit-new-connection only between two mails: elsewhere it
	// aborts, drops the command and also the connect behind it. No MTA sends it.
	quitNewConnection := func(name string, mail bool, want []string, answered bool) {
		j.run(t, "quit-new-connection "+name, func(t *testing.T) {
			f := startFilter(t, path)
			s := f.connect()
			if mail {
				sendSample(t, s)
			} else {
				greet(t, s)
			}
			if err := s.QuitNewConnection(); err != nil {
				t.Fatal(err)
			}
			s.Timeout = 300 * time.Millisecond
			a, err := s.Connect("again", nil)
			if answered && (err != nil || a.Status != protocol.StatusContinue) || !answered && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("connect: got %v, %v; want an answer: %v", a, err, answered)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			sameLines(t, "what the filter saw", want, f.until("close"))
			if answered {
				sameLines(t, "what it saw then", []string{"connect <again> unknown", "close"}, f.until("close"))
			}
		})
	}
	quitNewConnection("in a transaction", false, append(start[:len(start):len(start)], "abort", "close"), false)
	mail := strings.Split(strings.Trim(greeting+sampleEvents, "\n"), "\n")
	quitNewConnection("after a mail", true, append(mail, "close"), true)
}
