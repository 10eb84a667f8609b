package miltertest

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"sync"
	"time"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

const (
	// DefaultTimeout is how long a new Session waits for a reply.
	DefaultTimeout = 10 * time.Second
	// DefaultEndOfMessageTimeout is how long a new Session waits for the final
	// answer to a message.
	DefaultEndOfMessageTimeout = 5 * time.Minute
)

// A Session is one connection to a milter, seen from the MTA. Its fields may be
// changed between two calls.
type Session struct {
	// Timeout is how long the milter may take for each reply, the next change or
	// progress at end of message included, and for reading a command. The
	// default is DefaultTimeout; zero means for ever.
	Timeout time.Duration
	// EndOfMessageTimeout is how long the milter may take from the end of a
	// message to its final answer. Progress does not prolong it, as in Sendmail.
	// The default is DefaultEndOfMessageTimeout; zero means for ever.
	EndOfMessageTimeout time.Duration
	// Offer is what Negotiate offers. The default is option.All().
	Offer option.Option
	// Macros are the macros that the MTA knows, by the command they are sent
	// with. They go out just before it, in the same write, also when the command
	// itself is not sent. An empty list that is not nil goes out as a packet
	// without macros, as Postfix does. If the milter asks for macros at a stage,
	// those of its list that are known there or at an earlier stage go out
	// instead. The default is none.
	Macros map[protocol.Command][]protocol.Macro
	// Before, if it is set, is called before each command, also one that will not
	// be sent. It may set the fields for it, such as the macros of one recipient,
	// and play other commands, for which it is called in their turn. Its error
	// ends the call, and the command is not sent.
	Before func(next protocol.Message) error
	// Chunks, if it is set, cuts the body of a mail into the pieces that
	// [Session.Send] sends. The default is pieces of protocol.MaxChunk bytes, as
	// MTAs send them; slices.Chunk(body, 1) shows if a milter minds where a piece
	// ends.
	Chunks func(body []byte) iter.Seq[[]byte]

	conn    net.Conn
	packets chan protocol.Packet // what came; closed after the last one
	readErr error                // why it was the last one; set before packets is closed
	closed  chan struct{}        // tells the reading goroutine that nobody listens any more
	close   func() error
	milter  func() error // waits for a milter in this process; nil without one

	agreed     option.Option
	requests   option.MacroRequests
	negotiated bool
	connected  bool
	greeted    bool
	decision   *decision // what the milter decided for the whole SMTP session

	last  protocol.Command // the last command sent
	quiet string           // why nothing more is due to it
}

// A decision is an answer after which the MTA tells the milter nothing more.
type decision struct {
	event  protocol.Command
	answer Answer
}

// New returns a Session over conn, which is the Session's from then on. It sends
// nothing yet. The caller must call [Session.Close].
func New(conn net.Conn) *Session {
	s := &Session{
		Timeout:             DefaultTimeout,
		EndOfMessageTimeout: DefaultEndOfMessageTimeout,
		Offer:               option.All(),
		conn:                conn,
		packets:             make(chan protocol.Packet, 64),
		closed:              make(chan struct{}),
		agreed:              option.Option{Version: option.Version},
		quiet:               "nothing was sent yet",
	}
	s.close = sync.OnceValue(func() error {
		close(s.closed)
		err := s.conn.Close()
		for range s.packets { // until the reading goroutine has ended
		}
		if s.milter != nil {
			return s.milter()
		}
		if errors.Is(err, net.ErrClosed) {
			return nil // by Quit or Cut
		}
		return err
	})
	go s.read()
	return s
}

// read hands on what the milter sends. It reads all the time, so that a milter
// that sends what it should not is found out rather than blocked.
func (s *Session) read() {
	defer close(s.packets)
	var buffer protocol.Buffer
	for {
		p, err := buffer.ReadPacket(s.conn)
		if err != nil {
			s.readErr = err
			return
		}
		p.Payload = bytes.Clone(p.Payload)
		select {
		case s.packets <- p:
		case <-s.closed:
			s.readErr = net.ErrClosed
			return
		}
	}
}

// Close closes the connection, if that was not done yet, and frees what the
// Session holds. It says nothing to the milter: [Session.Quit] does. For a
// milter in the same process it waits until the milter's end has finished and
// returns that end's error. More calls return the same again.
func (s *Session) Close() error { return s.close() }

// Cut breaks the connection off, as a crash of the MTA would: over TCP the
// milter gets a reset. The Session must be closed all the same.
func (s *Session) Cut() error {
	if tcp, ok := s.conn.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return err
		}
	}
	return s.conn.Close()
}

// CloseWrite ends the connection in the direction of the milter and leaves the
// other one open. For a connection that cannot do that, such as a net.Pipe, the
// error is errors.ErrUnsupported.
func (s *Session) CloseWrite() error {
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return fmt.Errorf("miltertest: closing one direction of a %T: %w", s.conn, errors.ErrUnsupported)
}

// Conn returns the connection. The Session reads from it: nobody else may.
func (s *Session) Conn() net.Conn { return s.conn }

// Option returns what was agreed on by the negotiation. Before it, that is the
// newest version without any action or step.
func (s *Session) Option() option.Option { return s.agreed }

// MacroRequests returns the macros that the milter asked for in the negotiation.
func (s *Session) MacroRequests() *option.MacroRequests { return &s.requests }

// SendRaw writes p, which may be any bytes, as it is. It neither sends macros
// nor waits for an answer.
func (s *Session) SendRaw(p []byte) error {
	var deadline time.Time
	if s.Timeout > 0 {
		deadline = time.Now().Add(s.Timeout)
	}
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	_, err := s.conn.Write(p)
	return err
}

// ReadPacket waits for the next packet from the milter, whatever it is. The
// error is io.EOF when the milter has closed the connection, and wraps
// os.ErrDeadlineExceeded when nothing came within Timeout.
func (s *Session) ReadPacket() (protocol.Packet, error) { return s.receive(s.Timeout) }

// ReadReply waits for the next packet and decodes it. It does not check if the
// protocol allows it there.
func (s *Session) ReadReply() (reply.Message, error) {
	p, err := s.ReadPacket()
	if err != nil {
		return nil, err
	}
	return reply.Decode(p)
}

func (s *Session) receive(timeout time.Duration) (protocol.Packet, error) {
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case p, ok := <-s.packets:
		if !ok {
			return protocol.Packet{}, s.readErr
		}
		return p, nil
	case <-expired:
		return protocol.Packet{}, fmt.Errorf("nothing came within %v: %w", timeout.Round(time.Millisecond), os.ErrDeadlineExceeded)
	}
}

// await waits for the next packet that answers event; it must come before the
// deadline, if there is one.
func (s *Session) await(event protocol.Command, deadline time.Time) (protocol.Packet, error) {
	timeout := s.Timeout
	if !deadline.IsZero() {
		// At least 1 ns: zero is no limit.
		left := max(time.Until(deadline), 1)
		if timeout <= 0 || left < timeout {
			timeout = left
		}
	}
	p, err := s.receive(timeout)
	if err != nil {
		return p, fmt.Errorf("miltertest: waiting for the answer to %v: %w", event, err)
	}
	return p, nil
}

// silent checks that nothing came before the next command is sent.
func (s *Session) silent(next protocol.Command) error {
	select {
	case p, ok := <-s.packets:
		if !ok {
			return fmt.Errorf("miltertest: sending %v: the connection has ended: %w", next, s.readErr)
		}
		return s.unexpected(p)
	default:
		return nil
	}
}

func (s *Session) unexpected(p protocol.Packet) error {
	return &ProtocolError{Event: s.last, Got: protocol.Reply(p.Letter), Reason: s.quiet}
}
