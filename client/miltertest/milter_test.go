package miltertest_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// answers are what the scripted milter answers, by command: each time the next
// element, in the end the last again. Without an entry it is continue.
type answers map[protocol.Command][]string

// packets returns the messages as bytes on the wire.
func packets(messages ...reply.Message) string {
	var b []byte
	for _, m := range messages {
		b = m.Append(b)
	}
	return string(b)
}

// raw returns one packet with any letter and payload.
func raw(letter byte, payload string) string {
	return string(protocol.AppendPacket(nil, letter, []byte(payload)))
}

func bare(r protocol.Reply) string { return packets(reply.Bare(r)) }

func agree(actions option.Action, steps option.Step) []string {
	return []string{packets(reply.Negotiate{Option: option.Option{Version: 6, Actions: actions, Steps: steps}})}
}

// start returns a session with a scripted milter, and a function that ends it
// and returns the packets that the milter got, as "H delian\0" and so on.
func start(t *testing.T, script answers) (s *miltertest.Session, got func() []string) {
	t.Helper()
	mta, milter := net.Pipe()
	s = miltertest.New(mta)
	var log []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer milter.Close()
		turns := map[protocol.Command]int{}
		var buffer protocol.Buffer
		for {
			p, err := buffer.ReadPacket(milter)
			if err != nil {
				return
			}
			log = append(log, strings.TrimRight(fmt.Sprintf("%c %s", p.Letter, strings.ReplaceAll(string(p.Payload), "\x00", "|")), " "))
			c := protocol.Command(p.Letter)
			answer := bare(protocol.ReplyContinue)
			switch c {
			case protocol.CommandNegotiate:
				answer = agree(option.AllActions, option.NoSteps)[0]
			case protocol.CommandDefineMacro, protocol.CommandAbort, protocol.CommandQuit, protocol.CommandQuitNewConnection:
				answer = ""
			}
			if list := script[c]; len(list) > 0 {
				answer = list[min(turns[c], len(list)-1)]
				turns[c]++
			}
			if _, err := milter.Write([]byte(answer)); err != nil || c == protocol.CommandQuit {
				return
			}
		}
	}()
	var ended bool
	got = func() []string {
		if !ended {
			ended = true
			s.Close()
			<-done
		}
		return log
	}
	t.Cleanup(func() { got() })
	return s, got
}

func add(name, value string) reply.AddHeader { return reply.AddHeader{Name: name, Value: value} }

func insert(index uint32, name, value string) reply.InsertHeader {
	return reply.InsertHeader{Index: index, Name: name, Value: value}
}

func change(name string, index uint32, value string) reply.ChangeHeader {
	return reply.ChangeHeader{Index: index, Name: name, Value: value}
}

func addTo(path, parameters string) reply.AddRecipient {
	return reply.AddRecipient{Path: path, Parameters: parameters}
}

func deleteTo(path string) reply.DeleteRecipient { return reply.DeleteRecipient{Path: path} }

func body(chunk string) reply.ReplaceBody { return reply.ReplaceBody{Chunk: []byte(chunk)} }

func quarantine(reason string) reply.Quarantine { return reply.Quarantine{Reason: reason} }

func header(name, value string) protocol.Header { return protocol.Header{Name: name, Value: value} }

func macro(name, value string) protocol.Macro { return protocol.Macro{Name: name, Value: value} }

// must is for steps that are only on the way to what is tested.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// An event is one command that has an answer.
type event struct {
	name string
	play func(s *miltertest.Session) (miltertest.Answer, error)
	wire string // what the milter gets
}

var events = map[protocol.Command]event{
	protocol.CommandConnect: {"connect", func(s *miltertest.Session) (miltertest.Answer, error) {
		return s.Connect("mx.example.org", &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 0x4142})
	}, "C mx.example.org|4AB192.0.2.7|"},
	protocol.CommandHelo: {"helo", func(s *miltertest.Session) (miltertest.Answer, error) {
		return s.Helo("delian")
	}, "H delian|"},
	protocol.CommandEnvelopeFrom: {"envelope-from", func(s *miltertest.Session) (miltertest.Answer, error) {
		return s.EnvelopeFrom("<a@example.com>", "SIZE=10", "SMTPUTF8")
	}, "M <a@example.com>|SIZE=10|SMTPUTF8|"},
	protocol.CommandEnvelopeRecipient: {"envelope-recipient", func(s *miltertest.Session) (miltertest.Answer, error) {
		return s.EnvelopeRecipient("<b@example.com>", "NOTIFY=NEVER")
	}, "R <b@example.com>|NOTIFY=NEVER|"},
	protocol.CommandData: {"data", (*miltertest.Session).Data, "T"},
	protocol.CommandUnknown: {"unknown", func(s *miltertest.Session) (miltertest.Answer, error) {
		return s.Unknown("FOO bar")
	}, "U FOO bar|"},
	protocol.CommandHeader: {"header", func(s *miltertest.Session) (miltertest.Answer, error) {
		return s.Header("Subject", " hello")
	}, "L Subject|hello|"},
	protocol.CommandEndOfHeader: {"end-of-header", (*miltertest.Session).EndOfHeader, "N"},
	protocol.CommandBody: {"body", func(s *miltertest.Session) (miltertest.Answer, error) {
		return s.Body([]byte("text\r\n"))
	}, "B text\r\n"},
	protocol.CommandEndOfMessage: {"end-of-message", func(s *miltertest.Session) (miltertest.Answer, error) {
		return s.EndOfMessage()
	}, "E"},
}

var noEvent = map[protocol.Command]option.Step{
	protocol.CommandConnect: option.StepNoConnect, protocol.CommandHelo: option.StepNoHelo,
	protocol.CommandEnvelopeFrom:      option.StepNoEnvelopeFrom,
	protocol.CommandEnvelopeRecipient: option.StepNoEnvelopeRecipient,
	protocol.CommandData:              option.StepNoData, protocol.CommandUnknown: option.StepNoUnknown,
	protocol.CommandHeader: option.StepNoHeaders, protocol.CommandEndOfHeader: option.StepNoEndOfHeader,
	protocol.CommandBody: option.StepNoBody,
}

var noReply = map[protocol.Command]option.Step{
	protocol.CommandConnect: option.StepNoReplyConnect, protocol.CommandHelo: option.StepNoReplyHelo,
	protocol.CommandEnvelopeFrom:      option.StepNoReplyEnvelopeFrom,
	protocol.CommandEnvelopeRecipient: option.StepNoReplyEnvelopeRecipient,
	protocol.CommandData:              option.StepNoReplyData, protocol.CommandUnknown: option.StepNoReplyUnknown,
	protocol.CommandHeader: option.StepNoReplyHeader, protocol.CommandEndOfHeader: option.StepNoReplyEndOfHeader,
	protocol.CommandBody: option.StepNoReplyBody,
}

// wantProtocolError checks that err is a ProtocolError with these fields; part is
// a part of its reason.
func wantProtocolError(t *testing.T, err error, c protocol.Command, r protocol.Reply, part string) {
	t.Helper()
	var e *miltertest.ProtocolError
	if !errors.As(err, &e) {
		t.Fatalf("error = %v, want a ProtocolError", err)
	}
	if e.Event != c || e.Got != r || !strings.Contains(e.Reason, part) {
		t.Errorf("error = %v, want %v at %v because of %q", err, r, c, part)
	}
	if c != 0 && !strings.Contains(err.Error(), c.String()) || !strings.Contains(err.Error(), r.String()) {
		t.Errorf("error %q should name %v and %v", err, c, r)
	}
}

func helo(s *miltertest.Session) error {
	_, err := s.Helo("delian")
	return err
}

// letters returns the commands without what they carry.
func letters(log []string) string {
	var b strings.Builder
	for _, p := range log {
		b.WriteByte(p[0])
	}
	return b.String()
}
