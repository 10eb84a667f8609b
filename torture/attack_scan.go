//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A scanner is somebody who looks for another service.
type scanner struct{ name, text, want string }

func scanners() []scanner {
	return []scanner{
		{"HTTP GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"},
		{"HTTP POST", "POST /a HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"},
		{"HTTP CONNECT (proxy)", "CONNECT x:25 HTTP/1.1\r\n\r\n", "HTTP"},
		{"TLS hello", tlsHello, "TLS"},
		{"SSH banner", "SSH-2.0-OpenSSH_9.2\r\n", "SSH"},
		{"RDP", "\x03\x00\x00\x2f\x2a\xe0\x00\x00\x00\x00\x00Cookie: mstshash=x\r\n", "RDP"},
		{"SMTP client", "EHLO x\r\n", "SMTP"},
	}
}

func scannerAttack(l *lab) []row {
	p, err := l.start()
	var rows []row
	for _, s := range scanners() {
		r := row{id: "scan-" + s.name, attack: "scanner: " + s.name, done: fmt.Sprintf("the first 5 bytes of %.20q, 20 times by unix and inet", s.text),
			want: "one log line that says it looks like " + s.want + "; counted as a bad peer; closed within 1 ms (median) of the 5th byte"}
		fault := err
		if fault == nil {
			var took time.Duration
			took, fault = p.scan(s)
			r.figure = "closed after " + round(took) + " (median)"
		}
		r.judge(p, fault)
		rows = append(rows, r)
	}
	r := row{id: "empty", attack: "connections without a byte", done: "100 × connect and close, unix and inet", want: "no log line above debug, the next session is served"}
	if err == nil {
		err = p.empty()
	}
	r.judge(p, err)
	return append(rows, r)
}

func (p *process) scan(s scanner) (time.Duration, error) {
	var took []time.Duration
	var wrong error
	before, err := p.stats()
	if err != nil {
		return 0, err
	}
	for _, spec := range p.specs() {
		for range 20 {
			mark := p.log.mark()
			d, err := p.scanOnce(spec, s)
			if err != nil {
				return 0, err
			}
			took = append(took, d)
			lines, err := p.linesSince(mark)
			if err != nil {
				return 0, err
			}
			if len(lines) != 1 || !strings.Contains(lines[0], "looks like "+s.want) {
				wrong = fmt.Errorf("log: %q", texts(lines))
			}
		}
	}
	if _, err := p.goods(); err != nil {
		return 0, err
	}
	after, err := p.stats()
	if err != nil {
		return 0, err
	}
	if n := after.BadPeers - before.BadPeers; wrong == nil && n != uint64(len(took)) {
		wrong = fmt.Errorf("%d bad peers were counted, want %d", n, len(took))
	}
	typical := percentile(took, 50)
	if wrong == nil && typical > time.Millisecond {
		wrong = fmt.Errorf("closed after %v", typical)
	}
	return typical, wrong
}

// scanOnce sends the first five bytes only, as a scanner that waits for the other
// side to speak.
func (p *process) scanOnce(spec string, s scanner) (time.Duration, error) {
	conn, err := p.lab.dialRaw(spec)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	start := time.Now()
	if _, err := conn.Write([]byte(s.text[:5])); err != nil {
		return 0, err
	}
	err = awaitClose(conn, 2*time.Second)
	return time.Since(start), err
}

// texts returns log lines from their message on.
func texts(lines []string) []string {
	var list []string
	for _, line := range lines {
		if i := strings.Index(line, "msg="); i > 0 {
			line = line[i:]
		}
		list = append(list, line)
	}
	return list
}

func (p *process) empty() error {
	mark := p.log.mark()
	for _, spec := range p.specs() {
		for range 100 {
			conn, err := p.lab.dialRaw(spec)
			if err != nil {
				return err
			}
			conn.Close()
		}
	}
	if _, err := p.goods(); err != nil {
		return err
	}
	lines, err := p.linesSince(mark)
	if loud := aboveDebug(lines); err == nil && len(loud) > 0 {
		err = fmt.Errorf("%d log lines, the first: %q", len(loud), loud[0])
	}
	return err
}

// logAttack tries to make two log lines of one, by a name with a line feed.
func logAttack(l *lab) []row {
	const fake = "\ntime=2026-01-01T00:00:00Z level=ERROR msg=forged"
	rows := []row{{id: "log-slog", attack: "forged log line", done: "HELO with a line feed and a fake line; a milter that logs it",
		want: "one line"}, {id: "log-error", attack: "forged log line by an error", done: "HELO without NUL, with a line feed and a fake line",
		want: "one line"}, {id: "log-test-client", attack: "forged line in what milter-test-client prints",
		done: "HELO with a line feed and `finished`", want: "no line of its own"}}
	p, err := l.start()
	for i, helo := range [][]byte{packet('H', "log"+fake+"\x00"), packet('H', "log"+fake)} {
		fault := err
		if fault == nil {
			rows[i].figure, fault = p.countLines(p.log, helo)
		}
		rows[i].judge(p, fault)
	}
	if p, err = l.startTestClient(); err == nil {
		rows[2].figure, err = p.countLines(p.stdout, packet('H', "x>\nfinished\x00"))
	}
	rows[2].judge(p, err)
	return rows
}

// countLines sends a HELO and returns an error unless it makes one line of out.
func (p *process) countLines(out *logLines, helo []byte) (string, error) {
	s, err := p.lab.dial(p.inet)
	if err != nil {
		return "", err
	}
	defer s.Close()
	if err := do(s, protocol.Negotiate{Option: option.All()}); err != nil {
		return "", err
	}
	mark := out.mark()
	if err := s.SendRaw(helo); err != nil {
		return "", err
	}
	_, _ = s.ReadPacket() // the answer, or the end
	ctx, cancel := p.lab.soon()
	defer cancel()
	if _, err := out.await(ctx, mark, ""); err != nil {
		return "", err
	}
	if out == p.log {
		if _, err := p.linesSince(mark); err != nil {
			return "", err
		}
	}
	if lines := out.since(mark); len(lines) != 1 {
		return "", fmt.Errorf("%d lines: %q", len(lines), lines)
	}
	return "one line", nil
}
