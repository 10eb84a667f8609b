//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// pipesAttack takes away who reads a milter's output.
func pipesAttack(l *lab) []row {
	var rows []row
	for _, kind := range []struct {
		id, name, program string
		args              []string
		stdout            bool // which of the two is closed
	}{
		{"pipe-test-client-stdout", "stdout closed: milter-test-client", "milter-test-client", nil, true},
		{"pipe-test-client-stderr", "stderr closed: milter-test-client", "milter-test-client", []string{"-q"}, false},
		{"pipe-library", "stderr closed: a milter that ignores SIGPIPE", "milter", []string{"--ignore-sigpipe"}, false},
	} {
		r := row{id: kind.id, attack: kind.name, done: "the reader of the pipe goes; then a malformed packet and two sessions by a unix socket",
			want: "lives and serves"}
		p := l.newProcess(kind.program, kind.args)
		r.judge(p, p.closePipe(kind.stdout))
		rows = append(rows, r)
	}
	return rows
}

func (p *process) closePipe(closeStdout bool) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	if closeStdout {
		p.cmd.Stdout = write
	} else {
		p.cmd.Stderr = write
	}
	if err := p.run(); err != nil {
		return err
	}
	write.Close()
	path := strings.TrimPrefix(p.unix, "unix:")
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			break
		}
		if time.Since(start) > patience {
			return errors.New("it does not listen")
		}
	}
	p.inet = p.unix
	if err := p.serves(); err != nil {
		return err
	}
	read.Close()
	conn, err := p.lab.dialRaw(p.unix)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(packet('X', "")); err != nil {
		return err
	}
	if err := awaitClose(conn, 5*time.Second); err != nil {
		return err
	}
	for range 2 {
		if err := p.serves(); err != nil {
			return err
		}
	}
	return nil
}

// panicEvents are where handlers panic.
func panicEvents() []protocol.Command {
	return []protocol.Command{
		protocol.CommandConnect, protocol.CommandHelo, protocol.CommandEnvelopeFrom, protocol.CommandEnvelopeRecipient, protocol.CommandData,
		protocol.CommandHeader, protocol.CommandEndOfHeader, protocol.CommandBody, protocol.CommandEndOfMessage,
	}
}

// panicAttack lets handlers panic, in the handler and in Later, while other
// sessions are in the middle of a mail.
func panicAttack(l *lab) []row {
	const others = 20
	var rows []row
	for _, kind := range []struct{ id, name, plan string }{
		{"panic-now", "a handler panics", "panic-"},
		{"panic-later", "a handler panics in Later", "panic-later-"},
	} {
		r := row{id: kind.id, attack: kind.name, done: fmt.Sprintf("at each of %d events, while %d other sessions are within a mail", len(panicEvents()), others),
			want: "temporary failure on the wire, closed, one log line with stack and session number, counted; the others go on"}
		p, err := l.start()
		if err == nil {
			err = p.panics(kind.plan, others)
		}
		r.judge(p, err)
		r.figure = fmt.Sprintf("%d panics", len(panicEvents()))
		rows = append(rows, r)
	}
	return rows
}

func (p *process) panics(plan string, others int) error {
	var sessions []*miltertest.Session
	defer func() {
		for _, s := range sessions {
			s.Close()
		}
	}()
	const begun = 5 // commands of the script
	for i := range others {
		s, err := p.lab.dial(p.specs()[i%2])
		if err != nil {
			return err
		}
		sessions = append(sessions, s)
		if err := do(s, script("plain")[:begun]...); err != nil {
			return err
		}
	}
	for _, event := range panicEvents() {
		mark := p.log.mark()
		if err := p.panicAt(plan, event); err != nil {
			return fmt.Errorf("%v: %w", event, err)
		}
		lines, err := p.linesSince(mark)
		if err != nil {
			return err
		}
		if len(lines) != 1 || !strings.Contains(lines[0], "handler panicked") || !strings.Contains(lines[0], "stack=") || !strings.Contains(lines[0], " session=") {
			return fmt.Errorf("%v: %d log lines: %q", event, len(lines), lines)
		}
	}
	st, err := p.stats()
	if err != nil {
		return err
	}
	if want := uint64(len(panicEvents())); st.Panics != want {
		return fmt.Errorf("the milter counts %d panics, want %d", st.Panics, want)
	}
	for _, s := range sessions {
		if err := do(s, script("plain")[begun:]...); err != nil {
			return fmt.Errorf("another session: %w", err)
		}
		if err := s.Quit(); err != nil {
			return fmt.Errorf("another session: %w", err)
		}
	}
	_, err = p.goods()
	return err
}

// panicAt plays a session to the event that panics, and judges its end.
func (p *process) panicAt(plan string, event protocol.Command) error {
	s, err := p.lab.dial(p.inet)
	if err != nil {
		return err
	}
	defer s.Close()
	what := plan + event.String()
	messages := scriptTo(what, event)
	for i, m := range messages {
		switch m := m.(type) {
		case protocol.Connect:
			if event == protocol.CommandConnect {
				m.Host = what
			}
			messages[i] = m
		case protocol.Helo:
			if event == protocol.CommandHelo {
				m.Name = what
			}
			messages[i] = m
		}
	}
	if err := do(s, messages[:len(messages)-1]...); err != nil {
		return err
	}
	a, err := s.Do(messages[len(messages)-1])
	if err != nil {
		return err
	}
	if a.Status != protocol.StatusTemporaryFailure {
		return fmt.Errorf("answered with %v", a)
	}
	if _, err := s.ReadPacket(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the answer: %v, want the end of the connection", err)
	}
	return nil
}

// injectAttack lets a milter try to send line ends where none may be.
func injectAttack(l *lab) []row {
	header := row{id: "inject-header", attack: "forged header", done: `AddHeader("X-Test", "a\r\nBcc: evil@…\r\n\r\ninjected") and 12 more, in every change that has text`,
		want: "refused, nothing of it on the wire"}
	text := row{id: "inject-reply", attack: "forged reply", done: "SetReply with CRLF, LF, CR, NUL in its text",
		want: "every line on the wire begins with the code, or it is refused and the answer is a temporary failure"}
	p, err := l.start()
	if err != nil {
		header.judge(p, err)
		text.judge(p, err)
		return []row{header, text}
	}
	header.figure, err = p.injectChanges()
	header.judge(p, err)
	var figures []string
	for _, name := range []string{"crlf", "lf", "cr", "nul", "dot"} {
		var figure string
		if figure, err = p.injectReply(name); err != nil {
			break
		}
		figures = append(figures, figure)
	}
	text.figure = strings.Join(figures, ", ")
	text.judge(p, err)
	return []row{header, text}
}

// packetsOf returns all that comes for a mail that the milter treats as what says.
func (p *process) packetsOf(what string) ([]reply.Message, error) {
	s, err := p.lab.dial(p.inet)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	messages := script(what)
	if err := do(s, messages[:len(messages)-1]...); err != nil {
		return nil, err
	}
	if err := s.SendRaw(messages[len(messages)-1].Append(nil)); err != nil {
		return nil, err
	}
	if err := s.SendRaw(protocol.Bare(protocol.CommandQuit).Append(nil)); err != nil {
		return nil, err
	}
	var got []reply.Message
	for {
		packet, err := s.ReadPacket()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return nil, err
		}
		m, err := reply.Decode(packet)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", packet.Payload, err)
		}
		got = append(got, m)
	}
}

func (p *process) injectChanges() (string, error) {
	got, err := p.packetsOf("inject")
	if err != nil {
		return "", err
	}
	want := []reply.Message{reply.AddHeader{Name: "X-Refused", Value: "13 of 13"}, reply.Bare(protocol.ReplyContinue)}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		return "", fmt.Errorf("on the wire: %q", got)
	}
	return "13 of 13 refused", nil
}

// injectReply reads the reply as it came, by the grammar of RFC 5321 section 4.2.
func (p *process) injectReply(name string) (string, error) {
	s, err := p.lab.dial(p.inet)
	if err != nil {
		return "", err
	}
	defer s.Close()
	messages := script("inject-reply-" + name)
	if err := do(s, messages[:len(messages)-1]...); err != nil {
		return "", err
	}
	if err := s.SendRaw(messages[len(messages)-1].Append(nil)); err != nil {
		return "", err
	}
	packet, err := s.ReadPacket()
	if err != nil {
		return "", err
	}
	switch protocol.Reply(packet.Letter) {
	case protocol.ReplyTemporaryFailure:
		return name + ": refused", nil
	case protocol.ReplyReplyCode:
	default:
		return "", fmt.Errorf("%s: %c%q", name, packet.Letter, packet.Payload)
	}
	text, ok := strings.CutSuffix(string(packet.Payload), "\x00")
	lines := strings.Split(text, "\r\n")
	for i, line := range lines {
		separator := "-"
		if i == len(lines)-1 {
			separator = " "
		}
		if !ok || !strings.HasPrefix(line, "550"+separator+"5.7.1 ") || strings.ContainsAny(line, "\r\n\x00") {
			return "", fmt.Errorf("%s: %q", name, packet.Payload)
		}
	}
	return fmt.Sprintf("%s: %d lines", name, len(lines)), nil
}
