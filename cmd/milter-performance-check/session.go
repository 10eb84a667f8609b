package main

import (
	"bytes"
	stdcontext "context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// A session is one connection to the milter after the other. It belongs to one
// goroutine; what it shares with others is only read.
type session struct {
	wire
	run    *run
	number int // of the session, from 1

	connection int // its number, from 1
	message    int // of the connection, from 1; 0 before the first
	connected  bool
	aborted    bool // the last message was given up: abort goes first

	script *script
	answer []byte // to the negotiation, that script is for

	known     *[]byte // the changes that every message gets, once known
	changes   []byte  // of this message, while they are not known
	lastReply []byte  // with a text, that was found to be good

	roundTrips         uint64
	skippedBodies      uint64
	rejectedRecipients uint64
}

// An outcome is what became of a message: what decided and how.
type outcome struct {
	command protocol.Command
	status  protocol.Status
}

// String returns such as "accept at end-of-message".
func (o outcome) String() string { return fmt.Sprintf("%v at %v", o.status, o.command) }

// A reference is what the first message of the run was changed by.
type reference = atomic.Pointer[[]byte]

func newSession(r *run, number int) *session {
	return &session{run: r, number: number, wire: wire{timeout: r.options.timeout, over: &r.abandoned}}
}

// open connects, negotiates and greets. ok is false when the milter wants no
// messages of this connection; then decided says what it decided.
func (s *session) open(ctx stdcontext.Context) (decided outcome, ok bool, err error) {
	conn, err := s.run.dialer.Dial(ctx)
	if err != nil {
		return outcome{}, false, fmt.Errorf("session %d: %w", s.number, err)
	}
	return s.greet(conn)
}

// greet is open with a connection that is there.
func (s *session) greet(conn net.Conn) (decided outcome, ok bool, err error) {
	s.connection++
	s.message, s.aborted = 0, false
	s.attach(conn)
	s.connected = true
	s.run.track(s.conn)
	if err := s.negotiate(); err != nil {
		return outcome{}, false, err
	}
	for i := range s.script.greeting {
		x := &s.script.greeting[i]
		if err := s.write(x.write); err != nil {
			return outcome{}, false, s.broken(x, err)
		}
		letter, status, err := s.reply(x)
		if err != nil {
			return outcome{}, false, err
		}
		if letter != 'c' {
			return outcome{x.command, status}, false, nil
		}
	}
	return outcome{}, true, nil
}

// negotiate offers, and finds or makes the script for what was agreed.
func (s *session) negotiate() error {
	x := &exchange{command: protocol.CommandNegotiate}
	offer := s.run.options.offer
	if err := s.write(protocol.Negotiate{Option: offer}.Append(nil)); err != nil {
		return s.broken(x, err)
	}
	p, err := s.packet()
	if err != nil {
		return s.broken(x, err)
	}
	if s.script != nil && bytes.Equal(p, s.answer) {
		return s.nothingMore(x)
	}
	m, err := reply.Decode(protocol.Packet{Letter: p[4], Payload: p[5:]})
	if err != nil {
		return s.fault(x, "'O'", p, problemIn(err))
	}
	answer, isAnswer := m.(reply.Negotiate)
	if !isAnswer {
		return s.fault(x, "'O'", p, "")
	}
	if problem := beyond(offer, answer); problem != "" {
		return s.fault(x, "what was offered", p, problem)
	}
	s.script = s.run.scriptFor(p, answer)
	s.answer = bytes.Clone(p)
	return s.nothingMore(x)
}

// beyond says what of the answer was not offered.
func beyond(offer option.Option, answer reply.Negotiate) string {
	got := answer.Option
	actions, steps := offer.Actions, offer.Steps
	if actions == 0 { // an offer of zero means version 1 (libmilter engine.c)
		actions = option.DefaultActions
	}
	if steps == 0 {
		steps = option.DefaultSteps
	}
	switch {
	case got.Version < option.MinVersion || got.Version > offer.Version:
		return fmt.Sprintf("version %d is not from %d to %d", got.Version, option.MinVersion, offer.Version)
	case !actions.Has(got.Actions):
		return fmt.Sprintf("actions were not offered: %v", got.Actions&^actions)
	case !steps.Has(got.Steps):
		return fmt.Sprintf("steps were not offered: %v", got.Steps&^steps)
	case !answer.Macros.Empty() && !actions.Has(option.ActionSetSymbolList):
		return fmt.Sprintf("macros are asked for, %v was not offered", option.ActionSetSymbolList)
	}
	return ""
}

// send sends a message and checks all that comes back.
func (s *session) send() (outcome, error) {
	exchanges := s.script.mail
	write := s.script.opening
	if s.message > 0 {
		lookErr := s.look()
		if err := s.nothingMore(finalExchange(exchanges)); err != nil {
			return outcome{}, err
		}
		if lookErr != nil {
			s.message++
			return outcome{}, s.broken(&exchanges[0], lookErr)
		}
		if write = exchanges[0].write; !s.aborted {
			write = write[lengthOfAbort:]
		}
	}
	s.message++
	s.aborted = false
	rejected := 0
	for i := 0; ; i++ {
		x := &exchanges[i]
		if i > 0 {
			write = x.write
		}
		if err := s.write(write); err != nil {
			return outcome{}, s.broken(x, err)
		}
		letter, status, err := s.reply(x)
		if err != nil {
			return outcome{}, err
		}
		s.roundTrips++
		isRefusal := status == protocol.StatusReject || status == protocol.StatusTemporaryFailure
		switch {
		case x.command == protocol.CommandEndOfMessage:
			return outcome{x.command, status}, nil
		case x.command == protocol.CommandEnvelopeRecipient && isRefusal:
			rejected++
			s.rejectedRecipients++
			if !x.last || rejected < s.run.options.recipients {
				continue
			}
		case letter == 's':
			s.skippedBodies++
			i = len(exchanges) - 2
			continue
		case letter == 'c':
			continue
		}
		s.aborted = true
		return outcome{x.command, status}, nil
	}
}

func finalExchange(exchanges []exchange) *exchange { return &exchanges[len(exchanges)-1] }

// quit ends the connection and waits until the milter has closed it.
func (s *session) quit() error {
	defer s.hangUp()
	last := &exchange{command: protocol.CommandNegotiate}
	switch {
	case s.message > 0:
		last = finalExchange(s.script.mail)
	case len(s.script.greeting) > 0:
		last = finalExchange(s.script.greeting)
	}
	x := &exchange{command: protocol.CommandQuit}
	lookErr := s.look()
	if err := s.nothingMore(last); err != nil {
		return err
	}
	if lookErr != nil {
		return s.broken(x, lookErr)
	}
	quit := s.script.quit
	if !s.aborted {
		quit = quit[lengthOfAbort:]
	}
	if err := s.write(quit); err != nil {
		return s.broken(x, err)
	}
	if err := s.untilEnd(); err != nil {
		return s.broken(x, err)
	}
	if got := s.unread(); len(got) > 0 {
		return s.fault(x, "the end of the connection", got, tooMuch)
	}
	return nil
}

// hangUp closes the connection, whatever its state.
func (s *session) hangUp() {
	if s.connected {
		s.connected = false
		s.run.forget(s.conn)
		s.conn.Close()
	}
}

// broken explains the error of a write or read.
func (s *session) broken(x *exchange, err error) error {
	expected := "a reply"
	if x.command == protocol.CommandQuit {
		expected = "the end of the connection"
	}
	switch {
	case err == errAbandoned:
		return err
	case err == errTimeout:
		return s.fault(x, expected, s.unread(), fmt.Sprintf("nothing more came within %v", s.timeout))
	case err == errLength:
		return s.fault(x, expected, s.unread(), fmt.Sprintf("a packet has a length from 1 to %d", largestLen))
	case isClosed(err):
		return s.fault(x, expected, s.unread(), "the milter closed the connection")
	}
	return s.fault(x, expected, s.unread(), err.Error())
}

// fault says what is wrong with the milter.
func (s *session) fault(x *exchange, expected string, got []byte, note string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "session %d, connection %d", s.number, s.connection)
	if s.message > 0 {
		fmt.Fprintf(&b, ", message %d", s.message)
	}
	fmt.Fprintf(&b, ", %v: expected %s, got %s", x, expected, quoted(got))
	if note != "" {
		b.WriteString(": " + note)
	}
	return &fault{b.String()}
}

// A fault is something that the milter did wrong.
type fault struct{ text string }

func (f *fault) Error() string { return f.text }

// quoted returns bytes as a string in quotes, of which a long one is cut off.
func quoted(p []byte) string {
	const show = 100
	if len(p) > show {
		return fmt.Sprintf("%q... (%d bytes)", p[:show], len(p))
	}
	return fmt.Sprintf("%q", p)
}
