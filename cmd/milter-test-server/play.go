package main

import (
	stdcontext "context"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/cmd/internal/mta"
	"github.com/milter-go/milter/protocol"
)

// A player plays one session. It differs from what miltertest.Session.Send does
// in what options can ask for: an unknown command, body chunks of any size,
// macros that change from recipient to recipient, a timeout of its own for the
// final answer.
type player struct {
	options *options
	session *miltertest.Session
	number  int
	mails   int // sent so far

	// What the milter decided for the whole SMTP session, if it did.
	decided *miltertest.Result
}

// playSession plays the number-th session. It returns the results of the mails as
// far as there are any.
func playSession(o *options, d *mta.Dialer, out *output, number int) (results []miltertest.Result, err error) {
	conn, err := d.Dial(stdcontext.Background())
	if err != nil {
		return nil, err
	}
	conn = limitedConn{conn, o.writingTimeout}
	if o.verbose {
		prefix := ""
		if o.sessions > 1 {
			prefix = "[" + strconv.Itoa(number) + "] "
		}
		conn = &tracedConn{Conn: conn, print: func(line string) { out.print(prefix + line) }}
	}
	return o.play(conn, number)
}

// play plays a session over conn.
func (o *options) play(conn net.Conn, number int) (results []miltertest.Result, err error) {
	s := miltertest.New(conn)
	defer s.Close()
	s.Timeout = o.readingTimeout
	s.EndOfMessageTimeout = o.endOfMessageTimeout
	s.Offer = o.offer()
	o.defineClient(s)
	p := &player{options: o, session: s, number: number}
	for range o.messages {
		start := time.Now()
		r, err := p.mail()
		if err != nil {
			return results, err
		}
		r.Elapsed = time.Since(start)
		results = append(results, r)
	}
	if p.decided != nil && p.decided.Event == protocol.CommandNegotiate {
		return results, nil // the milter has closed the connection
	}
	err = s.Quit()
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return results, errClosedEarly
	}
	return results, err
}

// errClosedEarly is no failure: a milter that is shut down between two mails
// closes the connection, and no MTA minds when it has no further mail.
var errClosedEarly = errors.New("the milter closed the connection before it was told to quit")

// mail plays a mail, and what comes before the first one.
func (p *player) mail() (r miltertest.Result, err error) {
	if p.mails++; p.mails == 1 {
		if err := p.greet(); err != nil {
			return r, err
		}
	}
	if p.decided != nil {
		return *p.decided, nil
	}
	mail := p.options.mail
	mail.Headers = slices.Clone(mail.Headers)
	p.options.defineMail(p.session, mail, p.number, p.mails)
	for _, part := range []func(*miltertest.Mail, *miltertest.Result) (done bool, err error){
		p.envelope, p.data, p.content, p.end,
	} {
		if done, err := part(&mail, &r); done || err != nil {
			return r, err
		}
	}
	return r, nil
}

// greet plays the negotiation and the greeting of the SMTP client.
func (p *player) greet() error {
	s, o := p.session, p.options
	for _, step := range []struct {
		event protocol.Command
		play  func() (miltertest.Answer, error)
	}{
		{protocol.CommandNegotiate, s.Negotiate},
		{protocol.CommandConnect, func() (miltertest.Answer, error) { return s.Connect(o.host, o.address) }},
		{protocol.CommandHelo, func() (miltertest.Answer, error) { return s.Helo(o.helo) }},
	} {
		a, err := step.play()
		if err != nil {
			return err
		}
		var r miltertest.Result
		if decides(&r, step.event, a, o.mail) {
			p.decided = &r
			return nil
		}
	}
	return nil
}

// decides notes answer a to event in r if it decides on mail.
func decides(r *miltertest.Result, event protocol.Command, a miltertest.Answer, mail miltertest.Mail) bool {
	if a.IsPass() || a.Status == protocol.StatusSkip {
		return false
	}
	decide(r, event, a, mail)
	return true
}

func decide(r *miltertest.Result, event protocol.Command, a miltertest.Answer, mail miltertest.Mail) {
	r.Event, r.Status, r.SMTP = event, a.Status, a.SMTP
	if r.IsDelivered() {
		r.Mail = mail
	}
}

// envelope plays the sender and the recipients, and drops from mail the
// recipients that are refused.
func (p *player) envelope(mail *miltertest.Mail, r *miltertest.Result) (done bool, err error) {
	a, err := p.session.EnvelopeFrom(mail.From, mail.FromParameters...)
	if err != nil || decides(r, protocol.CommandEnvelopeFrom, a, *mail) {
		return true, err
	}
	const c = protocol.CommandEnvelopeRecipient
	all := mail.Recipients
	mail.Recipients = nil
	var refusal miltertest.Answer
	for i, recipient := range all {
		p.options.defineRecipient(p.session, recipient.Path)
		a, err := p.session.EnvelopeRecipient(recipient.Path, recipient.Parameters...)
		if err != nil {
			return true, err
		}
		r.Recipients = append(r.Recipients, a)
		switch a.Status {
		case protocol.StatusReject, protocol.StatusTemporaryFailure:
			// Of several the last temporary one counts.
			if refusal.Status != protocol.StatusTemporaryFailure || a.Status == refusal.Status {
				refusal = a
			}
			continue
		case protocol.StatusAccept:
			mail.Recipients = append(mail.Recipients, all[i:]...)
			return decides(r, c, a, *mail), nil
		case protocol.StatusDiscard:
			decide(r, c, a, *mail)
			return true, p.session.Abort()
		}
		mail.Recipients = append(mail.Recipients, recipient)
	}
	if len(mail.Recipients) == 0 {
		decide(r, c, refusal, *mail)
		return true, p.session.Abort()
	}
	return false, nil
}

// data plays the unknown command, if there is one, and DATA.
func (p *player) data(mail *miltertest.Mail, r *miltertest.Result) (done bool, err error) {
	if line := p.options.unknown; line != "" {
		if _, err := p.session.Unknown(line); err != nil {
			return true, err // its answer decides nothing
		}
	}
	a, err := p.session.Data()
	if err != nil || !decides(r, protocol.CommandData, a, *mail) {
		return err != nil, err
	}
	if a.Status == protocol.StatusReject || a.Status == protocol.StatusTemporaryFailure {
		return true, p.session.Abort()
	}
	return true, nil
}

// content plays the header and the body.
func (p *player) content(mail *miltertest.Mail, r *miltertest.Result) (done bool, err error) {
	s := p.session
	for _, h := range mail.Headers {
		a, err := s.Header(h.Name, h.Value)
		if err != nil || decides(r, protocol.CommandHeader, a, *mail) {
			return true, err
		}
	}
	a, err := s.EndOfHeader()
	if err != nil || decides(r, protocol.CommandEndOfHeader, a, *mail) {
		return true, err
	}
	for _, chunk := range p.options.bodyChunks() {
		a, err := s.Body(chunk)
		if err != nil || decides(r, protocol.CommandBody, a, *mail) {
			return true, err
		}
		if a.Status == protocol.StatusSkip {
			break
		}
	}
	return false, nil
}

// bodyChunks returns the body as the options cut it, or as MTAs do.
func (o *options) bodyChunks() [][]byte {
	if len(o.chunks) == 0 {
		return slices.Collect(slices.Chunk(o.mail.Body, protocol.MaxChunk))
	}
	var chunks [][]byte
	for _, c := range o.chunks {
		chunks = append(chunks, []byte(c))
	}
	return chunks
}

// end plays the end of the message, and makes the changes in the mail.
func (p *player) end(mail *miltertest.Mail, r *miltertest.Result) (done bool, err error) {
	s := p.session
	s.Timeout = 0 // EndOfMessageTimeout alone
	a, err := s.EndOfMessage()
	s.Timeout = p.options.readingTimeout
	r.Changes, r.Progress, r.Quarantine = a.Changes, a.Progress, a.Quarantine
	if err != nil {
		return true, err
	}
	decide(r, protocol.CommandEndOfMessage, a, *mail)
	if !r.IsDelivered() {
		return true, nil
	}
	if r.Quarantine != "" {
		r.Status = protocol.StatusQuarantine
	}
	return true, r.Mail.Apply(r.Changes, s.Option().Steps)
}
