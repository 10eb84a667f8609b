package interop_test

import (
	"bytes"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

// TestFlowSend lets package miltertest play the sessions that MTAs played: to the
// last byte it must send what they sent.
func TestFlowSend(t *testing.T) {
	for _, tt := range []struct {
		file   string
		aborts int // that the MTA sends after a mail, and once more at the end
	}{
		{"sendmail-plain", 0},
		{"sendmail-late", 0},
		{"sendmail-big-body", 0},
		{"sendmail-submission", 0},
		{"postfix-plain", 1},
		{"postfix-late", 1},
		{"postfix-big-body", 1},
	} {
		t.Run(tt.file, func(t *testing.T) {
			f := readFlow(t, tt.file)
			mta, ours := net.Pipe()
			served := make(chan error, 1)
			go func() { served <- flowClient(t, f.milter).ServeConn(ours) }()
			tee := &teeConn{Conn: mta}
			s := miltertest.New(tee)
			defer s.Close()
			if err := playAgain(s, f.connections[0], tt.aborts); err != nil {
				t.Fatal(err)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
			var want []byte
			for _, p := range f.connections[0] {
				if p.toMilter {
					want = append(want, p.wire()...)
				}
			}
			if got := tee.written(); !bytes.Equal(got, want) {
				t.Errorf("(-%s +miltertest):\n%s", f.mta, cmp.Diff(commandTexts(want), commandTexts(got)))
			}
		})
	}
}

// playAgain sends the mails of a connection, with the macros that the MTA sent.
func playAgain(s *miltertest.Session, packets []flowPacket, aborts int) error {
	var mail miltertest.Mail
	for _, p := range packets {
		if !p.toMilter {
			continue
		}
		m, err := protocol.Decode(protocol.Packet{Letter: p.letter, Payload: p.payload})
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case protocol.Negotiate:
			s.Offer = m.Option
			_, err = s.Negotiate()
			s.Macros = make(map[protocol.Command][]protocol.Macro)
		case protocol.DefineMacro:
			s.Macros[m.For] = append([]protocol.Macro{}, m.Macros...)
		case protocol.Connect:
			addr, fault := m.Addr()
			if fault != nil {
				return fault
			}
			_, err = s.Connect(m.Host, addr)
		case protocol.Helo:
			_, err = s.Helo(m.Name)
		case protocol.EnvelopeFrom:
			mail = miltertest.Mail{From: m.Path, FromParameters: m.Parameters}
		case protocol.EnvelopeRecipient:
			mail.Recipients = append(mail.Recipients, miltertest.Recipient{Path: m.Path, Parameters: m.Parameters})
		case protocol.Header:
			mail.Headers = append(mail.Headers, protocol.Header{Name: m.Name, Value: " " + m.Value})
		case protocol.Body:
			mail.Body = append(mail.Body, m.Chunk...)
		case protocol.EndOfMessage:
			_, err = s.Send(mail)
			for range aborts {
				if err == nil {
					err = s.Abort()
				}
			}
		}
		if err != nil {
			return err
		}
	}
	if aborts > 0 {
		if err := s.Abort(); err != nil {
			return err
		}
	}
	return s.Quit()
}

// A teeConn keeps what is written to it.
type teeConn struct {
	net.Conn
	mu   sync.Mutex
	copy []byte
}

func (c *teeConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.copy = append(c.copy, p...)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *teeConn) written() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.copy)
}

// commandTexts returns what was sent to a milter as the lines of a flow.
func commandTexts(wire []byte) []string {
	var lines []string
	var b protocol.Buffer
	_, _ = b.Write(wire)
	for {
		p, ok, err := b.Next()
		if err != nil || !ok {
			return lines
		}
		lines = append(lines, flowPacket{true, p.Letter, p.Payload}.String())
	}
}
