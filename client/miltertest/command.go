package miltertest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// A rule says when a command is sent and answered.
type rule struct {
	version  uint32      // the first version that has it
	noEvent  option.Step // the step that leaves it out
	noReply  option.Step // the step that leaves its answer out
	noAnswer bool        // it never has one
}

func ruleOf(c protocol.Command) rule {
	switch c {
	case protocol.CommandConnect:
		return rule{noEvent: option.StepNoConnect, noReply: option.StepNoReplyConnect}
	case protocol.CommandHelo:
		return rule{noEvent: option.StepNoHelo, noReply: option.StepNoReplyHelo}
	case protocol.CommandEnvelopeFrom:
		return rule{noEvent: option.StepNoEnvelopeFrom, noReply: option.StepNoReplyEnvelopeFrom}
	case protocol.CommandEnvelopeRecipient:
		return rule{noEvent: option.StepNoEnvelopeRecipient, noReply: option.StepNoReplyEnvelopeRecipient}
	case protocol.CommandData:
		return rule{version: 4, noEvent: option.StepNoData, noReply: option.StepNoReplyData}
	case protocol.CommandUnknown:
		return rule{version: 3, noEvent: option.StepNoUnknown, noReply: option.StepNoReplyUnknown}
	case protocol.CommandHeader:
		return rule{noEvent: option.StepNoHeaders, noReply: option.StepNoReplyHeader}
	case protocol.CommandEndOfHeader:
		return rule{noEvent: option.StepNoEndOfHeader, noReply: option.StepNoReplyEndOfHeader}
	case protocol.CommandBody:
		return rule{noEvent: option.StepNoBody, noReply: option.StepNoReplyBody}
	case protocol.CommandDefineMacro, protocol.CommandAbort, protocol.CommandQuit, protocol.CommandQuitNewConnection:
		return rule{noAnswer: true}
	}
	return rule{}
}

// Do plays one command: it sends the macros for it and the command itself, and
// reads the answer. The other methods do it in their turn; Do is for commands
// that they do not make.
//
// A command that the milter does without, or that the negotiated version does
// not have, is not sent, and the Answer is the zero one. The error is a
// *ProtocolError for an answer that is not allowed. When the connection failed
// it wraps that error: io.EOF when the milter closed it, os.ErrDeadlineExceeded
// when the answer did not come in time.
func (s *Session) Do(m protocol.Message) (Answer, error) {
	c := m.Command()
	if s.Before != nil {
		if err := s.Before(m); err != nil {
			return Answer{}, err
		}
	}
	if err := s.silent(c); err != nil {
		return Answer{}, err
	}
	rule := ruleOf(c)
	if s.agreed.Version < rule.version {
		return Answer{}, nil
	}
	packets := s.appendMacros(nil, c)
	leftOut := s.agreed.Steps&rule.noEvent != 0
	if !leftOut {
		packets = m.Append(packets)
		s.last, s.quiet = c, "it has been answered already"
	}
	if len(packets) > 0 {
		if err := s.SendRaw(packets); err != nil {
			return Answer{}, fmt.Errorf("miltertest: sending %v: %w", c, err)
		}
	}
	var a Answer
	var err error
	switch {
	case leftOut:
	case c == protocol.CommandNegotiate:
		offer, _ := m.(protocol.Negotiate)
		a, err = s.negotiation(offer.Option)
	case rule.noAnswer:
		a.Status, s.quiet = protocol.StatusNoReply, "it has no answer"
	case s.agreed.Steps&rule.noReply != 0:
		a.Status, s.quiet = protocol.StatusNoReply, fmt.Sprintf("%v was negotiated", rule.noReply)
	default:
		a, err = s.answerTo(c)
	}
	if err == nil {
		s.remember(c, a)
	}
	return a, err
}

// remember keeps how far the SMTP session has come, and what ends it for the
// milter.
func (s *Session) remember(c protocol.Command, a Answer) {
	switch c {
	case protocol.CommandNegotiate:
		s.negotiated = true
	case protocol.CommandConnect:
		s.connected = true
	case protocol.CommandHelo:
		s.greeted = true
	case protocol.CommandQuitNewConnection:
		s.connected, s.greeted, s.decision = false, false, nil
		return
	default:
		return
	}
	if s.decision != nil && s.decision.event == c {
		s.decision = nil // the client may say HELO again
	}
	if s.decision == nil && !a.IsPass() {
		s.decision = &decision{c, a}
	}
}

// Negotiate opens the session with Offer. The status of the answer is continue,
// and [Session.Option] tells what was agreed on; it is reject or
// temporary-failure when the milter refused to serve the MTA.
func (s *Session) Negotiate() (Answer, error) { return s.Do(protocol.Negotiate{Option: s.Offer}) }

// negotiation reads the answer to offer.
func (s *Session) negotiation(offer option.Option) (Answer, error) {
	const c = protocol.CommandNegotiate
	p, err := s.await(c, time.Time{})
	if err != nil {
		return Answer{}, err
	}
	fault := func(format string, args ...any) (Answer, error) {
		return Answer{}, &ProtocolError{c, protocol.Reply(p.Letter), fmt.Sprintf(format, args...)}
	}
	m, err := reply.Decode(p)
	if err != nil {
		return fault("%s", decodeFault(err))
	}
	switch m.Reply() {
	case protocol.ReplyReject:
		return Answer{Status: protocol.StatusReject}, nil
	case protocol.ReplyTemporaryFailure:
		return Answer{Status: protocol.StatusTemporaryFailure}, nil
	}
	answer, ok := m.(reply.Negotiate)
	if !ok {
		return fault("a negotiation, reject or temporary-failure should come")
	}
	// An offer of zero means version 1 (libmilter engine.c).
	actions, steps := offer.Actions, offer.Steps
	if actions == 0 {
		actions = option.DefaultActions
	}
	if steps == 0 {
		steps = option.DefaultSteps
	}
	got := answer.Option
	switch {
	case got.Version > offer.Version:
		return fault("version %d is above the offered %d", got.Version, offer.Version)
	case got.Version < option.MinVersion:
		return fault("version %d is below %d", got.Version, option.MinVersion)
	case !actions.Has(got.Actions):
		return fault("actions were not offered: %v", got.Actions&^actions)
	case !steps.Has(got.Steps):
		return fault("steps were not offered: %v", got.Steps&^steps)
	case !answer.Macros.Empty() && !actions.Has(option.ActionSetSymbolList):
		return fault("macros are asked for, %v was not offered", option.ActionSetSymbolList)
	}
	s.agreed, s.requests = got, answer.Macros
	return Answer{Status: protocol.StatusContinue}, nil
}

// Connect tells of an SMTP client called host, at a *net.TCPAddr, at a
// *net.UnixAddr or, for nil, at an unknown address. Another type is an error.
func (s *Session) Connect(host string, addr net.Addr) (Answer, error) {
	m, err := protocol.NewConnect(host, addr)
	if err != nil {
		return Answer{}, err
	}
	return s.Do(m)
}

// Helo plays HELO or EHLO.
func (s *Session) Helo(name string) (Answer, error) { return s.Do(protocol.Helo{Name: name}) }

// EnvelopeFrom plays MAIL FROM. The path goes out as it is; SMTP clients put
// angle brackets around it.
func (s *Session) EnvelopeFrom(path string, parameters ...string) (Answer, error) {
	return s.Do(protocol.EnvelopeFrom{Path: path, Parameters: parameters})
}

// EnvelopeRecipient plays RCPT TO. The path goes out as it is; SMTP clients put
// angle brackets around it.
func (s *Session) EnvelopeRecipient(path string, parameters ...string) (Answer, error) {
	return s.Do(protocol.EnvelopeRecipient{Path: path, Parameters: parameters})
}

// Data plays DATA. It is not sent below version 4.
func (s *Session) Data() (Answer, error) { return s.Do(protocol.Bare(protocol.CommandData)) }

// Unknown plays an SMTP command that the MTA does not know. It is not sent below
// version 3.
func (s *Session) Unknown(line string) (Answer, error) { return s.Do(protocol.Unknown{Line: line}) }

// Header plays a header field. Its value is what stands behind the colon, the
// lines of a folded one joined by LF. One space at its beginning is removed,
// unless header-value-with-leading-space was negotiated, as MTAs do.
func (s *Session) Header(name, value string) (Answer, error) {
	if !s.agreed.Steps.Has(option.StepHeaderValueWithLeadingSpace) {
		value = strings.TrimPrefix(value, " ")
	}
	return s.Do(protocol.Header{Name: name, Value: value})
}

// EndOfHeader plays the end of the header.
func (s *Session) EndOfHeader() (Answer, error) {
	return s.Do(protocol.Bare(protocol.CommandEndOfHeader))
}

// Body plays a piece of the body, in one packet whatever its size. MTAs send at
// most protocol.MaxChunk bytes at once.
func (s *Session) Body(chunk []byte) (Answer, error) { return s.Do(protocol.Body{Chunk: chunk}) }

// EndOfMessage plays the end of the message. It may bring the last bytes of the
// body; no known MTA does that.
func (s *Session) EndOfMessage(chunk ...byte) (Answer, error) {
	return s.Do(protocol.EndOfMessage{Chunk: chunk})
}

// Abort tells the milter that the mail transaction is dropped.
func (s *Session) Abort() error { return s.only(protocol.Bare(protocol.CommandAbort)) }

// DefineMacro sends macros for command c, besides those of the field Macros.
func (s *Session) DefineMacro(c protocol.Command, macros ...protocol.Macro) error {
	return s.only(protocol.DefineMacro{For: c, Macros: macros})
}

// QuitNewConnection ends the SMTP session. The next one follows on the same
// connection: it begins with Connect and keeps what was negotiated.
func (s *Session) QuitNewConnection() error {
	return s.only(protocol.Bare(protocol.CommandQuitNewConnection))
}

// Quit ends the session and closes the connection, after the milter has closed
// its end: milters do that when they are told to quit. One that does not within
// Timeout is an error, and so is everything that still comes from it.
func (s *Session) Quit() error {
	defer s.conn.Close()
	const c = protocol.CommandQuit
	if err := s.only(protocol.Bare(c)); err != nil {
		return err
	}
	p, err := s.receive(s.Timeout)
	switch {
	case err == nil:
		return s.unexpected(p)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return nil
	}
	return fmt.Errorf("miltertest: waiting for the milter to close the connection after quit: %w", err)
}

func (s *Session) only(m protocol.Message) error {
	_, err := s.Do(m)
	return err
}
