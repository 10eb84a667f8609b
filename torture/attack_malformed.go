//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

// A malformed is bytes that are no packet of the protocol, or none that makes
// sense.
type malformed struct {
	id, name string
	bytes    []byte
	goesOn   bool // the session lives on: docs/differences.md says why
}

func packet(letter byte, payload string) []byte {
	return protocol.AppendPacket(nil, letter, []byte(payload))
}

func malformedInputs() []malformed {
	return []malformed{
		{"length-0", "packet length 0", []byte{0, 0, 0, 0}, false},
		{"length-4g", "packet length 0xFFFFFFFF", []byte{0xff, 0xff, 0xff, 0xff}, false},
		{"length-over", "packet one byte above the limit of 1 MiB", []byte{0, 0x10, 0, 2}, false},
		{"connect-no-nul", "CONNECT without NUL", packet('C', "mx"), false},
		{"connect-name-only", "CONNECT, name only", packet('C', "mx\x00"), false},
		{"mail-no-nul", "MAIL without NUL", packet('M', "<a>"), false},
		{"macro-empty", "empty macro packet", packet('D', ""), false},
		{"macro-odd", "odd macro list", packet('D', "Cj\x00mx\x00i\x00"), true},
		{"header-one-string", "header with one string", packet('L', "Subject\x00"), false},
		{"header-no-nul", "header without NUL", packet('L', "Subject"), false},
		{"negotiate-short", "short negotiation", packet('O', "1234"), false},
		{"unknown-command", "unknown command", packet('X', "abc"), false},
		{"get", "`GET /`", []byte("GET / HTTP/1.1\r\n\r\n"), false},
		{"tls", "TLS hello", []byte(tlsHello), false},
	}
}

const tlsHello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

// malformedPlaces are what came before the malformed input.
func malformedPlaces() [][]protocol.Message {
	return [][]protocol.Message{
		nil,
		scriptTo("plain", protocol.CommandNegotiate),
		scriptTo("plain", protocol.CommandData),
	}
}

func malformedAttack(l *lab) []row {
	p, err := l.start()
	var rows []row
	for _, input := range malformedInputs() {
		r := row{id: input.id, attack: input.name, done: fmt.Sprintf("%.24q, as the first packet, after the negotiation, within a message", input.bytes),
			want: "closed, one log line, the next session is served"}
		if input.goesOn {
			r.want = "as libmilter: the name without a value is empty, the session goes on, no log line"
		}
		if err == nil && p.alive() != nil { // a crash is one row's, not of all that follow
			p, err = l.start()
		}
		fault := err
		if fault == nil {
			r.figure, fault = p.malformed(input)
		}
		r.judge(p, fault)
		rows = append(rows, r)
	}
	return rows
}

// malformed plays one input everywhere and returns how long the slowest end took.
func (p *process) malformed(input malformed) (string, error) {
	var slowest time.Duration
	for _, spec := range p.specs() {
		for i, lead := range malformedPlaces() {
			mark := p.log.mark()
			took, err := p.malformedAt(spec, lead, input)
			if err != nil {
				return "", fmt.Errorf("place %d: %w", i+1, err)
			}
			slowest = max(slowest, took)
			if _, err := p.goods(); err != nil {
				return "", err
			}
			lines, err := p.linesSince(mark)
			if err != nil {
				return "", err
			}
			if want := map[bool]int{true: 0, false: 1}[input.goesOn]; len(lines) != want {
				return "", fmt.Errorf("place %d: %d log lines: %q", i+1, len(lines), texts(lines))
			}
		}
	}
	if input.goesOn {
		return "", nil
	}
	return "closed within " + round(slowest), nil
}

func (p *process) malformedAt(spec string, lead []protocol.Message, input malformed) (time.Duration, error) {
	s, err := p.lab.dial(spec)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if err := do(s, lead...); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := s.SendRaw(input.bytes); err != nil {
		return 0, err
	}
	if input.goesOn {
		return 0, goOn(s, len(lead))
	}
	s.Timeout = 2 * time.Second
	if got, err := s.ReadPacket(); err == nil {
		return 0, fmt.Errorf("it was answered with %v", protocol.Reply(got.Letter))
	} else if strings.Contains(err.Error(), "nothing came") {
		return 0, fmt.Errorf("the session is still open after %v", s.Timeout)
	}
	return time.Since(start), nil
}

// goOn plays what follows after n commands of the script.
func goOn(s *miltertest.Session, n int) error {
	if err := do(s, script("plain")[n:]...); err != nil {
		return err
	}
	return s.Quit()
}

// round shortens d for reading.
func round(d time.Duration) string {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d > time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}
