//go:build linux

package main

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// goodMail returns a mail that the milter under attack treats as what says.
func goodMail(what string, body []byte) miltertest.Mail {
	return miltertest.Mail{
		From:       "<" + what + "@torture.example>",
		Recipients: []miltertest.Recipient{{Path: "<receiver@torture.example>"}, {Path: "<other@torture.example>"}},
		Headers: []protocol.Header{
			{Name: "Subject", Value: " a folded\n\tsubject"}, {Name: "X-Number", Value: " 1"}, {Name: "X-Number", Value: " 2"},
		},
		Body: body,
	}
}

// sumOf returns the checksum that the milter makes of what it sees of a mail.
func sumOf(mail miltertest.Mail) string {
	var sum uint32
	add := func(part string) { sum = crc32.Update(sum, crc32.IEEETable, []byte(part)) }
	add(mail.From)
	for _, r := range mail.Recipients {
		add(r.Path)
	}
	for _, h := range mail.Headers {
		add(h.Name)
		add(h.Value[1:]) // the space behind the colon is the MTA's
	}
	add(string(mail.Body))
	return fmt.Sprint(sum)
}

var goodBody = []byte("first line\r\nsecond line\r\n")

// good plays a session with one mail, and judges it: the answers, the change, the
// checksum of all that the milter saw, and that nothing else came.
func (l *lab) good(spec string) (time.Duration, error) {
	start := time.Now()
	s, err := l.dial(spec)
	if err != nil {
		return 0, fmt.Errorf("the next session: %w", err)
	}
	defer s.Close()
	if err := sendGood(s); err != nil {
		return 0, fmt.Errorf("the next session: %w", err)
	}
	if err := s.Quit(); err != nil {
		return 0, fmt.Errorf("the next session: %w", err)
	}
	return time.Since(start), nil
}

func sendGood(s *miltertest.Session) error {
	mail := goodMail("plain", goodBody)
	r, err := s.Send(mail)
	if err != nil {
		return err
	}
	return judgeChanges(r, protocol.StatusContinue, reply.AddHeader{Name: "X-Sum", Value: sumOf(mail)})
}

// judgeChanges returns an error unless r is status and exactly these changes.
func judgeChanges(r miltertest.Result, status protocol.Status, changes ...reply.Message) error {
	got, want := fmt.Sprintf("%v %q", r.Status, r.Changes), fmt.Sprintf("%v %q", status, changes)
	if got != want {
		return fmt.Errorf("the answer is %s, want %s", got, want)
	}
	return nil
}

// goods plays good sessions at each place and returns the longest.
func (p *process) goods() (time.Duration, error) {
	if err := p.alive(); err != nil {
		return 0, err
	}
	var longest time.Duration
	for _, spec := range p.specs() {
		took, err := p.lab.good(spec)
		if err != nil {
			return 0, err
		}
		longest = max(longest, took)
	}
	return longest, nil
}

// dial connects as an MTA.
func (l *lab) dial(spec string) (*miltertest.Session, error) {
	ctx, cancel := l.soon()
	defer cancel()
	return miltertest.Dial(ctx, spec)
}

// dialRaw connects as somebody who is no MTA.
func (l *lab) dialRaw(spec string) (net.Conn, error) {
	to, err := client.ParseSpec(spec)
	if err != nil {
		return nil, err
	}
	ctx, cancel := l.soon()
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, to.Network, to.Address)
	if err != nil {
		return nil, err
	}
	// Nothing hangs for ever, whatever the milter does.
	return conn, conn.SetDeadline(time.Now().Add(time.Minute))
}

// awaitClose reads until the milter has closed the connection, for d at most.
func awaitClose(conn net.Conn, d time.Duration) error {
	if err := conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the connection is still open after %v", d)
	}
	return nil // a reset ends it as well
}

// A script is a whole session with one mail, as the packets that the MTA sends.
func script(what string) []protocol.Message {
	connect, err := protocol.NewConnect("mx.torture.example", &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 50443})
	if err != nil {
		panic(err) // a constant
	}
	mail := goodMail(what, goodBody)
	messages := []protocol.Message{
		protocol.Negotiate{Option: option.All()}, connect, protocol.Helo{Name: "mx.torture.example"},
		protocol.EnvelopeFrom{Path: mail.From}, protocol.EnvelopeRecipient{Path: mail.Recipients[0].Path},
		protocol.Bare(protocol.CommandData),
	}
	for _, h := range mail.Headers {
		messages = append(messages, protocol.Header{Name: h.Name, Value: h.Value})
	}
	return append(messages, protocol.Bare(protocol.CommandEndOfHeader), protocol.Body{Chunk: mail.Body}, protocol.EndOfMessage{})
}

// scriptTo returns the script up to the first command c and with it.
func scriptTo(what string, c protocol.Command) []protocol.Message {
	messages := script(what)
	i := slices.IndexFunc(messages, func(m protocol.Message) bool { return m.Command() == c })
	return messages[:i+1]
}

// do plays messages, each of which the milter must let pass.
func do(s *miltertest.Session, messages ...protocol.Message) error {
	for _, m := range messages {
		a, err := s.Do(m)
		if err != nil {
			return err
		}
		if !a.IsPass() {
			return fmt.Errorf("%v was answered with %v", m.Command(), a)
		}
	}
	return nil
}
