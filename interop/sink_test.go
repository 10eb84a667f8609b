//go:build interop

package interop_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A sink is the SMTP server that the MTAs deliver to. It speaks 8BITMIME and DSN,
// so that it gets everything as the MTA has it in its queue: every byte of the
// mail, and the parameters of the envelope.
type sink struct {
	listener net.Listener

	mu      sync.Mutex
	got     map[string][]delivery // by queue id
	changed chan struct{}         // closed at the next delivery
	strange []string              // commands that no MTA sends by itself
}

// A delivery is one mail transaction with the sink.
type delivery struct {
	from string   // what came after MAIL FROM:
	to   []string // what came after RCPT TO:
	data string   // the mail in CRLF lines
}

func newSink(t *testing.T) *sink {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{listener: l, got: make(map[string][]delivery), changed: make(chan struct{})}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *sink) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// receivedIDs finds the queue id in the Received fields of both MTAs.
var receivedIDs = regexp.MustCompile(`(?m)^Received: (?:[^\r\n]|\r\n[ \t])*\bby mta\.test\.local(?:[^\r\n]|\r\n[ \t])*?(?:[ \t]|\r\n[ \t])id (\w+)`)

func (s *sink) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	out := bufio.NewWriter(conn)
	say := func(format string, args ...any) {
		fmt.Fprintf(out, format+"\r\n", args...)
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
	say("220 sink.test.local ESMTP")
	var d delivery
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, rest, _ := strings.Cut(line, ":")
		switch verb, _, _ := strings.Cut(strings.ToUpper(verb), " "); verb {
		case "EHLO":
			say("250-sink.test.local\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 SIZE")
		case "MAIL":
			d = delivery{from: rest}
			say("250 2.1.0 ok")
		case "RCPT":
			d.to = append(d.to, rest)
			say("250 2.1.5 ok")
		case "DATA":
			say("354 go on")
			if d.data, err = readData(in); err != nil {
				return
			}
			s.add(d)
			say("250 2.0.0 ok")
		case "RSET", "NOOP":
			say("250 2.0.0 ok")
		case "QUIT":
			say("221 2.0.0 bye")
			return
		default:
			s.mu.Lock()
			s.strange = append(s.strange, line)
			s.mu.Unlock()
			say("500 5.5.1 what?")
		}
	}
}

// readData reads up to the final dot. Only CRLF ends a line.
func readData(in *bufio.Reader) (string, error) {
	var data bytes.Buffer
	for start := 0; ; start = data.Len() {
		for !bytes.HasSuffix(data.Bytes()[start:], []byte("\r\n")) {
			part, err := in.ReadBytes('\n')
			data.Write(part)
			if err != nil {
				return "", err
			}
		}
		line := data.Bytes()[start:]
		if string(line) == ".\r\n" {
			return string(data.Bytes()[:start]), nil
		}
		if line[0] == '.' {
			rest := append([]byte(nil), line[1:]...)
			data.Truncate(start)
			data.Write(rest)
		}
	}
}

func (s *sink) add(d delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := ""
	if m := receivedIDs.FindStringSubmatch(d.data); m != nil {
		id = m[1]
	}
	s.got[id] = append(s.got[id], d)
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait returns the delivery of the mail with a queue id.
func (s *sink) wait(t *testing.T, id string) delivery {
	t.Helper()
	return s.waitFor(t, id, "")
}

// waitFor returns the delivery of the mail with a queue id to one of its
// recipients.
func (s *sink) waitFor(t *testing.T, id, to string) delivery {
	t.Helper()
	timeout := time.After(deadline)
	for {
		s.mu.Lock()
		got, changed := s.got[id], s.changed
		s.mu.Unlock()
		for _, d := range got {
			if slices.ContainsFunc(d.to, func(line string) bool { return strings.HasPrefix(line, to) }) {
				return d
			}
		}
		select {
		case <-changed:
		case <-timeout:
			s.mu.Lock()
			stray := s.got[""]
			s.mu.Unlock()
			t.Fatalf("mail %s was not delivered within %v; %d deliveries have no queue id: %.500q", id, deadline, len(stray), stray)
		}
	}
}

// has reports whether the mail with a queue id was delivered so far.
func (s *sink) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got[id]) > 0
}

// commands returns the strange commands that came.
func (s *sink) commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.strange)
}
