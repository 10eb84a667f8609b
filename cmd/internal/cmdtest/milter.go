package cmdtest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/cmd/internal/mta"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// A Milter sends bytes as it is told to, right or wrong. The zero value agrees on
// no action and no step, and continues.
type Milter struct {
	// Actions, Steps and Requests are its answer to the negotiation.
	Actions  option.Action
	Steps    option.Step
	Requests option.MacroRequests
	// Answers are the bytes that answer a command, as they are; where there is none
	// the Milter does as the protocol says. The empty string sends nothing, [Close]
	// ends the connection. After an answer to quit the connection stays open.
	Answers Answers
	// Answer is asked first, if it is set, with the number of the command among
	// those with its letter in the connection, from 1. Connections call it at the
	// same time.
	Answer func(c protocol.Command, n int) (bytes string, ok bool)

	mu          sync.Mutex
	connections int
	packets     []protocol.Packet // that came, of all connections
}

// Answers are bytes by the command that they answer.
type Answers = map[protocol.Command]string

// Close is the answer that ends the connection.
const Close = "close"

// Listen serves connections on the network, "tcp4" or "unix", until the test ends.
func (m *Milter) Listen(t testing.TB, network string) (spec string) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	Must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.connections++
			m.mu.Unlock()
			go m.serve(conn)
		}
	}()
	return client.SpecOf(l.Addr())
}

func (m *Milter) serve(conn net.Conn) {
	defer conn.Close()
	var buffer protocol.Buffer
	seen := make(map[protocol.Command]int)
	for {
		p, err := buffer.ReadPacket(conn)
		if err != nil {
			return
		}
		c := protocol.Command(p.Letter)
		seen[c]++
		m.mu.Lock()
		m.packets = append(m.packets, protocol.Packet{Letter: p.Letter, Payload: bytes.Clone(p.Payload)})
		m.mu.Unlock()
		switch answer := m.AnswerTo(c, seen[c]); answer {
		case "":
		case Close:
			return
		default:
			if _, err := io.WriteString(conn, answer); err != nil {
				return
			}
		}
	}
}

// AnswerTo returns the bytes that answer the n-th command c, or Close.
func (m *Milter) AnswerTo(c protocol.Command, n int) string {
	if m.Answer != nil {
		if answer, ok := m.Answer(c, n); ok {
			return answer
		}
	}
	if answer, ok := m.Answers[c]; ok {
		return answer
	}
	switch c {
	case protocol.CommandNegotiate:
		return Packets(reply.Negotiate{Option: option.Option{Version: option.Version, Actions: m.Actions, Steps: m.Steps}, Macros: m.Requests})
	case protocol.CommandQuit:
		return Close
	case protocol.CommandDefineMacro, protocol.CommandAbort:
		return ""
	}
	if _, noReply := mta.StepsOf(c); m.Steps&noReply != 0 {
		return ""
	}
	return Bare(protocol.ReplyContinue)
}

// Connections returns how many came.
func (m *Milter) Connections() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.connections
}

// Count returns how many packets with a letter came.
func (m *Milter) Count(letter protocol.Command) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.packets {
		if p.Letter == byte(letter) {
			n++
		}
	}
	return n
}

// String returns the packets that came, a line for each.
func (m *Milter) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	for _, p := range m.packets {
		fmt.Fprintf(&b, "%v", protocol.Command(p.Letter))
		if len(p.Payload) > 0 {
			fmt.Fprintf(&b, " %q", p.Payload)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Packets returns the bytes of messages.
func Packets(messages ...reply.Message) string {
	var b []byte
	for _, m := range messages {
		b = m.Append(b)
	}
	return string(b)
}

// Bare returns the bytes of replies that are nothing but a letter.
func Bare(letters ...protocol.Reply) string {
	var b []byte
	for _, letter := range letters {
		b = reply.Bare(letter).Append(b)
	}
	return string(b)
}
