package miltertest

import (
	"errors"
	"net"
	"slices"
	"time"

	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// A Result is what became of a mail.
type Result struct {
	// Status is the milter's decision: continue or accept, quarantine when it let
	// the mail pass and put it on hold, reject, temporary-failure or discard. When
	// all recipients were refused it is temporary-failure if one of them may be
	// tried again, else reject.
	Status protocol.Status
	// SMTP is the SMTP reply that came with Status; the zero value leaves it to
	// the MTA.
	SMTP reply.SMTP
	// Event is the command that Status was the answer to.
	Event protocol.Command

	// Recipients are the answers to the recipients of the mail, in their order;
	// those that were not sent any more are missing at the end.
	Recipients []Answer
	// Changes, Progress and Quarantine are as in the [Answer] to the end of the
	// message.
	Changes    []reply.Message
	Progress   int
	Quarantine string

	// Mail is the mail as it would be delivered: without the recipients that were
	// refused, and with the changes made. It is the zero Mail when nothing would
	// be delivered.
	Mail Mail
	// Elapsed is how long it all took.
	Elapsed time.Duration
}

// IsDelivered reports whether the mail would be delivered, or be put on hold.
func (r Result) IsDelivered() bool {
	return r.Status.IsPass() || r.Status == protocol.StatusAccept || r.Status == protocol.StatusQuarantine
}

// String returns the status and the SMTP reply, if there is one, as
// [Answer.String] does.
func (r Result) String() string { return statusString(r.Status, r.SMTP) }

// Deliver plays a whole SMTP session with one mail: Send and, unless the milter
// refused the negotiation, Quit.
func (s *Session) Deliver(mail Mail) (Result, error) {
	result, err := s.Send(mail)
	if err != nil || result.Event == protocol.CommandNegotiate {
		return result, err
	}
	return result, s.Quit()
}

// Send plays one mail, as Sendmail does: MAIL FROM, the recipients, DATA, the
// header, the body in the pieces of Chunks, the end of the message.
// It may be called several times. What the SMTP session lacks before the mail is
// played first: Negotiate; Connect with a client mx.example.net at 192.0.2.1,
// port 50443; Helo with that name.
//
// Send goes on when some of the recipients are refused, stops at an answer that
// decides on the mail, leaves out the rest of a body that the milter skips, and
// aborts the transaction where Sendmail does: when all recipients are refused,
// when DATA is, and when a recipient makes the milter discard the mail. When the
// milter accepted or refused the client at connect or helo, the mail shares that
// fate and nothing is sent.
//
// The error is as for [Session.Do], or says that the mail has no recipient. The
// Result then tells what is known.
func (s *Session) Send(mail Mail) (Result, error) {
	start := time.Now()
	var r Result
	err := s.send(mail, &r)
	r.Elapsed = time.Since(start)
	return r, err
}

func (s *Session) send(mail Mail, r *Result) error {
	if len(mail.Recipients) == 0 {
		return errors.New("miltertest: the mail has no recipient")
	}
	mail = mail.clone()
	if err := s.greet(); err != nil {
		return err
	}
	if d := s.decision; d != nil {
		r.take(d.event, d.answer, mail)
		return nil
	}
	a, err := s.EnvelopeFrom(mail.From, mail.FromParameters...)
	if err != nil || r.take(protocol.CommandEnvelopeFrom, a, mail) {
		return err
	}
	if done, err := s.sendRecipients(&mail, r); done || err != nil {
		return err
	}
	if a, err = s.Data(); err != nil {
		return err
	}
	if r.take(protocol.CommandData, a, mail) {
		if !r.IsDelivered() && a.Status != protocol.StatusDiscard {
			return s.Abort()
		}
		return nil
	}
	if done, err := s.sendContent(mail, r); done || err != nil {
		return err
	}
	a, err = s.EndOfMessage()
	r.Changes, r.Progress, r.Quarantine = a.Changes, a.Progress, a.Quarantine
	if err != nil {
		return err
	}
	r.Event = protocol.CommandEndOfMessage
	r.decide(r.Event, a, mail)
	if !r.IsDelivered() {
		return nil
	}
	if r.Quarantine != "" {
		r.Status = protocol.StatusQuarantine
	}
	return r.Mail.Apply(r.Changes, s.agreed.Steps)
}

// greet plays what comes before the first mail of an SMTP session, as far as it
// has not been played yet and no answer ends it.
func (s *Session) greet() error {
	const name = "mx.example.net"
	if !s.negotiated {
		if _, err := s.Negotiate(); err != nil {
			return err
		}
	}
	if !s.connected && s.decision == nil {
		client := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 50443}
		if _, err := s.Connect(name, client); err != nil {
			return err
		}
	}
	if !s.greeted && s.decision == nil {
		if _, err := s.Helo(name); err != nil {
			return err
		}
	}
	return nil
}

// sendRecipients plays the recipients and removes from mail those that are
// refused. done means that the mail is decided.
func (s *Session) sendRecipients(mail *Mail, r *Result) (done bool, err error) {
	const c = protocol.CommandEnvelopeRecipient
	var taken []Recipient
	var refusal Answer
	for i, recipient := range mail.Recipients {
		a, err := s.EnvelopeRecipient(recipient.Path, recipient.Parameters...)
		if err != nil {
			return true, err
		}
		r.Recipients = append(r.Recipients, a)
		switch a.Status {
		case protocol.StatusReject, protocol.StatusTemporaryFailure:
			if refusal.Status != protocol.StatusTemporaryFailure || a.Status == refusal.Status {
				refusal = a
			}
			continue
		case protocol.StatusAccept:
			mail.Recipients = slices.Concat(taken, mail.Recipients[i:])
			return r.take(c, a, *mail), nil
		case protocol.StatusDiscard:
			r.take(c, a, *mail)
			return true, s.Abort()
		}
		taken = append(taken, recipient)
	}
	mail.Recipients = taken
	if len(taken) == 0 {
		r.take(c, refusal, *mail)
		return true, s.Abort()
	}
	return false, nil
}

// sendContent plays the header and the body. done means that the mail is
// decided.
func (s *Session) sendContent(mail Mail, r *Result) (done bool, err error) {
	for _, h := range mail.Headers {
		a, err := s.Header(h.Name, h.Value)
		if err != nil || r.take(protocol.CommandHeader, a, mail) {
			return true, err
		}
	}
	a, err := s.EndOfHeader()
	if err != nil || r.take(protocol.CommandEndOfHeader, a, mail) {
		return true, err
	}
	chunks := slices.Chunk(mail.Body, protocol.MaxChunk)
	if s.Chunks != nil {
		chunks = s.Chunks(mail.Body)
	}
	for chunk := range chunks {
		a, err := s.Body(chunk)
		if err != nil {
			return true, err
		}
		if a.Status == protocol.StatusSkip {
			break
		}
		if r.take(protocol.CommandBody, a, mail) {
			return true, nil
		}
	}
	return false, nil
}

// take notes answer a to event if it decides on mail, and reports whether it
// does.
func (r *Result) take(event protocol.Command, a Answer, mail Mail) bool {
	if a.IsPass() {
		return false
	}
	r.decide(event, a, mail)
	return true
}

func (r *Result) decide(event protocol.Command, a Answer, mail Mail) {
	r.Event, r.Status, r.SMTP = event, a.Status, a.SMTP
	if r.IsDelivered() {
		r.Mail = mail
	}
}
