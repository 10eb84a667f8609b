package context_test

import (
	"bytes"
	stdcontext "context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// What an MTA sends in these tests.
var (
	negotiateMsg = protocol.Negotiate{Option: option.All()}
	connectMsg   = protocol.Connect{Host: "mx.example.net", Family: protocol.FamilyInet, Port: 25, Address: "192.0.2.1"}
	heloMsg      = protocol.Helo{Name: "mx.example.net"}
	mailMsg      = protocol.EnvelopeFrom{Path: "<from@example.com>"}
	rcptMsg      = protocol.EnvelopeRecipient{Path: "<to@example.com>"}
	dataMsg      = protocol.Bare(protocol.CommandData)
	unknownMsg   = protocol.Unknown{Line: "FOO"}
	headerMsg    = protocol.Header{Name: "Subject", Value: "hello"}
	eohMsg       = protocol.Bare(protocol.CommandEndOfHeader)
	bodyMsg      = protocol.Body{Chunk: []byte("body\r\n")}
	eomMsg       = protocol.EndOfMessage{}
	abortMsg     = protocol.Bare(protocol.CommandAbort)
	quitMsg      = protocol.Bare(protocol.CommandQuit)
	quitNCMsg    = protocol.Bare(protocol.CommandQuitNewConnection)
)

func macros(c protocol.Command, namesAndValues ...string) protocol.Message {
	m := protocol.DefineMacro{For: c}
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		m.Macros = append(m.Macros, protocol.Macro{Name: namesAndValues[i], Value: namesAndValues[i+1]})
	}
	return m
}

// raw is a packet that no encoder would write.
type raw []byte

func (raw) Command() protocol.Command { return 0 }

func (r raw) Append(dst []byte) []byte { return append(dst, r...) }

func packet(letter byte, payload string) raw {
	return protocol.AppendPacket(nil, letter, []byte(payload))
}

// show returns a packet from the milter as text: its letter, and the payload
// quoted when there is one.
func show(p protocol.Packet) string {
	if len(p.Payload) == 0 {
		return string(p.Letter)
	}
	return fmt.Sprintf("%c%q", p.Letter, p.Payload)
}

// showAll returns all packets in b, which must be whole and well formed.
func showAll(t testing.TB, b []byte) []string {
	t.Helper()
	var in protocol.Buffer
	_, _ = in.Write(b)
	var list []string
	for {
		p, ok, err := in.Next()
		if err != nil {
			t.Fatalf("the milter wrote a broken packet: %v", err)
		}
		if !ok {
			break
		}
		if _, err := reply.Decode(p); err != nil {
			t.Errorf("the milter wrote what no MTA understands: %v", err)
		}
		list = append(list, show(p))
	}
	if in.Len() > 0 {
		t.Errorf("the milter wrote a part of a packet: %q", in.Bytes())
	}
	return list
}

// A session is a ClientContext served over net.Pipe, and its MTA. It lives in a
// synctest bubble. When the test ends, the MTA hangs up, and the session must end
// with exactly one OnFinished.
type session struct {
	*journal
	t    *testing.T
	ctx  *context.ClientContext
	conn net.Conn // the MTA's end
	own  *countedConn
	out  chan []byte

	served chan struct{}
	err    error // of Serve

	got      bytes.Buffer // from the milter; guarded by own.mu
	finished int
}

// A countedConn is the milter's end of a connection. It keeps what is written
// and counts how often.
type countedConn struct {
	net.Conn
	mu     sync.Mutex
	writes int
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.writes++
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// prepare makes a session that is not served yet.
func prepare(t *testing.T, config context.Config, setup func(*context.ClientContext, *journal)) *session {
	t.Helper()
	milter, mta := net.Pipe()
	s := &session{
		journal: &journal{}, t: t, conn: mta, own: &countedConn{Conn: milter},
		out: make(chan []byte, 4096), served: make(chan struct{}),
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	s.ctx = context.New(s.own, config)
	s.ctx.OnFinished(func(*context.ClientContext) { s.finished++ })
	if setup != nil {
		setup(s.ctx, s.journal)
	}
	go func() {
		for b := range s.out {
			_, _ = mta.Write(b) // fails when the milter has ended the session
		}
	}()
	return s
}

// serve runs a prepared session.
func (s *session) serve() {
	go func() {
		s.err = s.ctx.Serve(s.own)
		_ = s.own.Close()
		close(s.served)
	}()
	s.t.Cleanup(func() {
		close(s.out)
		_ = s.conn.Close()
		<-s.served
		if s.finished != 1 {
			s.t.Errorf("OnFinished ran %d times, want exactly once", s.finished)
		}
		if got := s.ctx.State(); got != context.StateFinished {
			s.t.Errorf("state after the end = %v, want finished", got)
		}
		if s.ctx.Err() == nil {
			s.t.Error("the session's standard context is not done after the end")
		}
	})
}

// start serves a session whose MTA reads what comes.
func start(t *testing.T, config context.Config, setup func(*context.ClientContext, *journal)) *session {
	t.Helper()
	s := prepare(t, config, setup)
	s.read()
	s.serve()
	return s
}

// read lets the MTA read what comes from now on.
func (s *session) read() {
	go func() {
		b := make([]byte, 1<<20)
		for {
			n, err := s.conn.Read(b)
			if err != nil {
				return
			}
			s.own.mu.Lock()
			s.got.Write(b[:n])
			s.own.mu.Unlock()
		}
	}()
}

// send lets the MTA write messages in one piece, as soon as the milter reads.
func (s *session) send(messages ...protocol.Message) {
	var b []byte
	for _, m := range messages {
		b = m.Append(b)
	}
	s.out <- b
}

// replies waits until nothing moves any more and returns what has come from the
// milter since the last call.
func (s *session) replies() []string {
	s.t.Helper()
	synctest.Wait()
	s.own.mu.Lock()
	b := bytes.Clone(s.got.Bytes())
	s.got.Reset()
	s.own.writes = 0
	s.own.mu.Unlock()
	return showAll(s.t, b)
}

// expect checks what has come from the milter since the last call.
func (s *session) expect(why string, want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(orEmpty(want), orEmpty(s.replies())); diff != "" {
		s.t.Errorf("%s: replies (-want +got):\n%s", why, diff)
	}
}

// happened checks what has been written into the journal since the last call.
func (s *session) happened(why string, want ...string) {
	s.t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(orEmpty(want), orEmpty(s.take())); diff != "" {
		s.t.Errorf("%s: events (-want +got):\n%s", why, diff)
	}
}

// writes returns how many writes the milter has made since the last expect.
func (s *session) writes() int {
	synctest.Wait()
	s.own.mu.Lock()
	defer s.own.mu.Unlock()
	return s.own.writes
}

// play sends the negotiation and messages and forgets what came of them.
func (s *session) play(messages ...protocol.Message) {
	s.t.Helper()
	s.send(negotiateMsg)
	s.send(messages...)
	s.replies()
	s.take()
}

// hangUp closes the MTA's end.
func (s *session) hangUp() {
	_ = s.conn.Close()
	synctest.Wait()
}

// ended reports whether Serve has returned.
func (s *session) ended() bool {
	synctest.Wait()
	select {
	case <-s.served:
		return true
	default:
		return false
	}
}

// mustEnd checks that Serve has returned with an error of class, "none" for nil.
func (s *session) mustEnd(class string) {
	s.t.Helper()
	if !s.ended() {
		s.t.Fatalf("the session has not ended; state %v", s.ctx.State())
	}
	if got := errorClass(s.err); got != class {
		s.t.Errorf("Serve returned %v (%s), want %s", s.err, got, class)
	}
}

// orEmpty makes nil an empty list.
func orEmpty(s []string) []string { return append([]string{}, s...) }

// bubble runs f as a subtest in virtual time.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// mustBe checks the class of an error, "none" for nil.
func mustBe(t testing.TB, why string, err error, class string) {
	t.Helper()
	if got := errorClass(err); got != class {
		t.Errorf("%s: error %v (%s), want %s", why, err, got, class)
	}
}

// forever is a config without any time limit.
func forever() context.Config {
	return context.Config{PacketBufferSize: context.DefaultPacketBufferSize}
}

// causeOf returns why a session, or a mail, ended.
func causeOf(ctx stdcontext.Context) error { return stdcontext.Cause(ctx) }

// play2 is play without the negotiation.
func (s *session) play2(messages ...protocol.Message) {
	s.t.Helper()
	s.send(messages...)
	s.replies()
	s.take()
}
