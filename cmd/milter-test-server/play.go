package main

import (
	stdcontext "context"
	"errors"
	"io"
	"iter"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/cmd/internal/mta"
	"github.com/milter-go/milter/protocol"
)

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
	s.EndOfMessageTimeout = o.endOfMessageTimeout
	s.Offer = o.offer()
	s.Before = func(next protocol.Message) error { return o.prepare(s, next) }
	if len(o.chunks) > 0 {
		s.Chunks = func([]byte) iter.Seq[[]byte] { return o.bodyChunks }
	}
	o.defineClient(s)
	for i := range o.messages {
		start := time.Now()
		if i == 0 {
			if err := o.greet(s); err != nil {
				return nil, err
			}
		}
		o.defineMail(s, o.mail, number, i+1)
		r, err := s.Send(o.mail)
		if err != nil {
			return results, err
		}
		r.Elapsed = time.Since(start) // with the greeting
		results = append(results, r)
	}
	if results[0].Event == protocol.CommandNegotiate {
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

// greet plays the negotiation and the greeting of the SMTP client, as far as the
// milter lets it pass.
func (o *options) greet(s *miltertest.Session) error {
	for _, step := range []func() (miltertest.Answer, error){
		s.Negotiate,
		func() (miltertest.Answer, error) { return s.Connect(o.host, o.address) },
		func() (miltertest.Answer, error) { return s.Helo(o.helo) },
	} {
		if a, err := step(); err != nil || !a.IsPass() {
			return err
		}
	}
	return nil
}

// prepare sets what is different for the next command, and plays the unknown one
// before DATA, if there is one.
func (o *options) prepare(s *miltertest.Session, next protocol.Message) error {
	s.Timeout = o.readingTimeout
	switch next := next.(type) {
	case protocol.EnvelopeRecipient:
		o.defineRecipient(s, next.Path)
	case protocol.EndOfMessage:
		s.Timeout = 0 // EndOfMessageTimeout alone
	}
	if next.Command() == protocol.CommandData && o.unknown != "" {
		_, err := s.Unknown(o.unknown) // its answer decides nothing
		return err
	}
	return nil
}

// bodyChunks yields the body as the options cut it.
func (o *options) bodyChunks(yield func([]byte) bool) {
	for _, chunk := range o.chunks {
		if !yield([]byte(chunk)) {
			return
		}
	}
}
