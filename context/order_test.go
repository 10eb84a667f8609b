package context_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// letters are the commands, each with the packet that is sent for it.
var letters = map[byte][]byte{
	'O': negotiateMsg.Append(nil), 'D': macros('L', "i", "Q1").Append(nil), 'C': connectMsg.Append(nil), 'H': heloMsg.Append(nil),
	'M': mailMsg.Append(nil), 'R': rcptMsg.Append(nil), 'T': dataMsg.Append(nil), 'U': unknownMsg.Append(nil),
	'L': headerMsg.Append(nil), 'N': eohMsg.Append(nil), 'B': bodyMsg.Append(nil), 'E': eomMsg.Append(nil),
	'A': abortMsg.Append(nil), 'Q': quitMsg.Append(nil), 'K': quitNCMsg.Append(nil),
}

const allLetters = "ODCHMRTULNBEAQK"

// A model is libmilter's table of commands (protocol.md 2.1), with the
// differences that design.md section 6 asks for. It is written from those two,
// not from the code. Its state is the letter of the last command of the dialogue,
// 0 at the start; 'E' also stands for a mail that has ended.
type model struct {
	steps     option.Step
	state     byte
	in        bool   // in a mail
	at        string // the name of the session's state, for OnAbort
	replies   int
	events    []string
	ended     bool
	violation bool
}

// successors is libmilter's next_states. H, M, U, A, Q, K and D are not in it:
// they may come at any time after the negotiation.
var successors = map[byte]string{
	0: "O", 'O': "C", 'C': "", 'H': "", 'M': "R", 'R': "LNTBER", 'T': "NL", 'L': "NL", 'N': "BE", 'B': "EB", 'E': "",
}

// may reports whether c may come. Where a command is not in the successors, those
// of the next command are looked at when that one is skippable: negotiated away
// or, for data, headers and body, missing in this mail.
func (m *model) may(c byte) bool {
	if bytes.IndexByte([]byte("HMUK"), c) >= 0 {
		return m.state != 0
	}
	order := []byte{'O', 'C', 'H', 'M', 'R', 'T', 'L', 'N', 'B'}
	skippable := map[byte]bool{
		'C': true, 'H': true, // a session may go on with MAIL at once
		'M': m.steps.Has(option.StepNoEnvelopeFrom), 'R': m.steps.Has(option.StepNoEnvelopeRecipient),
		'T': true, 'L': true, 'N': m.steps.Has(option.StepNoEndOfHeader), 'B': true,
	}
	state := m.state
	if state == 'E' {
		state = 'H'
	}
	if bytes.IndexByte([]byte(successors[state]), c) >= 0 {
		return true
	}
	if c == 'C' || c == 'O' || state == 0 {
		return false
	}
	for i := bytes.IndexByte(order, state) + 1; i < len(order) && skippable[order[i]]; i++ {
		if bytes.IndexByte([]byte(successors[order[i]]), c) >= 0 {
			return true
		}
	}
	return false
}

var eventNames = map[byte]string{
	'O': "negotiate", 'C': "connect", 'H': "helo", 'M': "envelope-from", 'R': "envelope-recipient", 'T': "data", 'U': "unknown",
	'L': "header", 'N': "end-of-header", 'B': "body", 'E': "end-of-message",
}

// next takes a command in.
func (m *model) next(c byte) {
	switch c {
	case 'D':
		return
	case 'A':
		m.abort()
		return
	case 'Q':
		m.end("ErrFinished")
		return
	}
	if m.in && (c == 'M' || c == 'H' || c == 'K') {
		m.abort()
	}
	if !m.may(c) {
		m.violation = true
		m.events = append(m.events, "error ErrProtocol")
		m.end("ErrProtocol")
		return
	}
	if c == 'K' {
		m.end("ErrFinished")
		return
	}
	m.replies++
	m.at = eventNames[c] + "-replied"
	if c != 'O' {
		m.events = append(m.events, eventNames[c])
	}
	if c == 'U' {
		return // changes nothing about what may follow
	}
	m.state = c
	if bytes.IndexByte([]byte("MRTLNB"), c) >= 0 {
		m.in = true
	}
	if c == 'E' {
		m.in = false
		m.events = append(m.events, "processed")
	}
}

func (m *model) abort() {
	if m.in {
		m.in, m.state = false, 'H'
		m.events = append(m.events, "abort "+m.at, "processed")
		return
	}
	if m.state == 'E' {
		m.state = 'H'
	}
}

func (m *model) end(cause string) {
	m.ended = true
	m.abort()
	m.events = append(m.events, "finished "+cause)
}

// run feeds a new session commands and closes it; it returns what happened.
func runCommands(commands []byte, steps option.Step) (events []string, replies []byte, err error) {
	var out bytes.Buffer
	config := forever()
	config.Logger = slog.New(slog.DiscardHandler)
	ctx := context.New(&out, config)
	add := func(event string) protocol.Status {
		events = append(events, event)
		return protocol.StatusContinue
	}
	ctx.OnNegotiate(func(_ *context.ClientContext, offer *option.Option, _ *option.MacroRequests) protocol.Status {
		offer.Steps = steps
		return protocol.StatusContinue
	})
	ctx.OnConnect(func(*context.ClientContext, string, netAddr) protocol.Status { return add("connect") })
	ctx.OnHelo(func(*context.ClientContext, string) protocol.Status { return add("helo") })
	ctx.OnEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) protocol.Status { return add("envelope-from") })
	ctx.OnEnvelopeRecipient(func(*context.ClientContext, string, protocol.Parameters) protocol.Status {
		return add("envelope-recipient")
	})
	ctx.OnData(func(*context.ClientContext) protocol.Status { return add("data") })
	ctx.OnUnknown(func(*context.ClientContext, string) protocol.Status { return add("unknown") })
	ctx.OnHeader(func(*context.ClientContext, string, string) protocol.Status { return add("header") })
	ctx.OnEndOfHeader(func(*context.ClientContext) protocol.Status { return add("end-of-header") })
	ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status { return add("body") })
	ctx.OnEndOfMessage(func(*context.ClientContext, []byte) protocol.Status { return add("end-of-message") })
	ctx.OnAbort(func(_ *context.ClientContext, at context.State) protocol.Status { return add("abort " + at.String()) })
	ctx.OnMessageProcessed(func(*context.ClientContext, *context.MessageResult) { add("processed") })
	ctx.OnError(func(_ *context.ClientContext, err error) { add("error " + errorClass(err)) })
	ctx.OnFinished(func(ctx *context.ClientContext) { add("finished " + errorClass(causeOf(ctx))) })
	var in []byte
	for _, c := range commands {
		in = append(in, letters[c]...)
	}
	err = ctx.Feed(in)
	_ = ctx.Close()
	for b := out.Bytes(); len(b) >= 5; b = b[4+int(b[3]):] {
		replies = append(replies, b[4])
	}
	return events, replies, err
}

// check compares a session of commands with the model, and returns the model.
func checkOrder(t *testing.T, commands []byte, steps option.Step) *model {
	m := &model{steps: steps}
	for _, c := range commands {
		if m.ended {
			break
		}
		m.next(c)
	}
	events, replies, err := runCommands(commands, steps)
	want := m.events
	if !m.ended {
		open := *m
		open.events = slices.Clone(m.events)
		open.end("ErrClosed")
		want = open.events
	}
	if !slices.Equal(want, events) {
		t.Errorf("%s with %v: events (-want +got):\n%s", commands, steps, cmp.Diff(want, events))
	}
	if len(replies) != m.replies {
		t.Errorf("%s with %v: replies %q, want %d", commands, steps, replies, m.replies)
	}
	for i, r := range replies {
		if (r == 'c') == (i == 0) || i == 0 && r != 'O' {
			t.Errorf("%s with %v: replies %q, want an O and then only c", commands, steps, replies)
			break
		}
	}
	if m.violation != errors.Is(err, context.ErrProtocol) {
		t.Errorf("%s with %v: Feed returned %v, want ErrProtocol: %v", commands, steps, err, m.violation)
	}
	return m
}

// TestOrder compares every sequence of up to five commands with the model, from
// the start and from behind each command of a session. What begins with the same
// illegal command ends there, so it is tried once.
func TestOrder(t *testing.T) {
	depth, behind := 5, 3
	if testing.Short() || raceEnabled {
		depth, behind = 4, 2
	}
	for _, steps := range []option.Step{
		0,
		option.StepNoEnvelopeFrom | option.StepNoEnvelopeRecipient,
		option.StepNoEnvelopeRecipient,
		option.StepNoEndOfHeader | option.StepNoHeaders | option.StepNoData,
		option.StepNoEnvelopeFrom | option.StepNoEndOfHeader,
		option.NoEventSteps,
	} {
		t.Run(steps.String(), func(t *testing.T) {
			t.Parallel()
			tried := 0
			var walk func(commands []byte, depth int)
			walk = func(commands []byte, depth int) {
				if depth == 0 || t.Failed() {
					return
				}
				for _, c := range []byte(allLetters) {
					next := append(commands[:len(commands):len(commands)], c)
					tried++
					if m := checkOrder(t, next, steps); !m.ended {
						walk(next, depth-1)
					}
				}
			}
			if steps == 0 {
				walk(nil, depth)
			} else {
				walk(nil, depth-1)
			}
			for _, prefix := range []string{"OCHM", "OCHMR", "OCHMRT", "OCHMRTL", "OCHMRTLN", "OCHMRTLNB", "OCHMRTLNBE", "OCHMRU", "OCHMRTLNBEM", "OCHMRLA"} {
				if !(checkOrder(t, []byte(prefix), steps)).ended {
					walk([]byte(prefix), behind)
				}
			}
			t.Logf("%d sessions", tried)
		})
	}
}

// TestOrderOfLongSessions compares random sessions, mostly legal, with the model.
func TestOrderOfLongSessions(t *testing.T) {
	n := 3000
	if testing.Short() {
		n = 300
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range n {
		steps := option.Step(r.Uint32()) & option.NoEventSteps & option.Step(r.Uint32())
		commands := []byte("O")
		m := &model{steps: steps}
		m.next('O')
		for len(commands) < 60 && !m.ended {
			c := allLetters[r.IntN(len(allLetters))]
			try := *m
			try.next(c)
			if try.ended && r.IntN(40) > 0 {
				continue
			}
			*m = try
			commands = append(commands, c)
		}
		if checkOrder(t, commands, steps); t.Failed() {
			return
		}
	}
}

// TestOrderErrors: the error names the command and the state.
func TestOrderErrors(t *testing.T) {
	for _, test := range []struct{ commands, want string }{
		{"H", "context: protocol error: helo command in state start (15 bytes)"},
		{"OO", "context: protocol error: negotiate command in state negotiate-replied (12 bytes)"},
		{"OCHR", "context: protocol error: envelope-recipient command in state helo-replied (17 bytes)"},
		{"OCHMRTB", "context: protocol error: body command in state data-replied (6 bytes)"},
	} {
		_, _, err := runCommands([]byte(test.commands), 0)
		if got := fmt.Sprint(err); got != test.want {
			t.Errorf("%s: error %q, want %q", test.commands, got, test.want)
		}
	}
}
