package context_test

import (
	"slices"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A planned command is one that the MTA of a live session sends, and what the
// program will do about it.
type planned struct {
	c      byte
	serial int // of the command in its session: what belongs to its mail is marked with such numbers

	how    int // see the constants
	status protocol.Status
	code   int // of SetReply, 0 for none
	tries  []byte
	reason bool // for quarantine
	again  bool // answers a second time

	of    int  // the serial of the command that began its mail; 0 outside one
	first bool // of its mail
}

// How a handler answers.
const (
	howReturn   = iota // by its return value
	howResponse        // by a Response call, and returns progress
	howOverrule        // by a Response call, and returns something else
	howLate            // not before it has returned, if at all
	howPanic           // by a panic
	numHows
)

// A liveModel predicts what comes of a session: the trace. It is written from the
// documentation of events.go and of Config, and for the order of commands from
// libmilter's table (see model), not from the code.
//
// In a trace a command's letter is a call of its handlers, the letter of a reply
// or a change is that on the wire, '!' an abort, '.' the end of a mail, '#' an
// error, and '$' the end of the session.
type liveModel struct {
	steps   option.Step
	actions option.Action
	direct  bool // changes leave at once

	state    byte // as in model
	start    int  // the serial of the command that began the mail; 0 outside one
	headers  int  // of the mail
	skip     bool
	decided  bool
	decision planned // with the answer that is repeated
	silent   bool    // the MTA does not know of the decision
	ended    bool
	illegal  bool // it ended by a command out of order
	next     bool // another session follows on the connection

	due        *planned // waits for a late answer
	waiting    []byte   // the changes that wait for the answer
	quarantine int      // the serial of the quarantine's reason, 0 for none
	replaced   bool

	queue []*planned // sent, but not handled

	want  []byte
	tags  []int      // the serials on the wire, of what carries one
	calls []*planned // that handlers will be called for
	mails []mailEnd
}

type mailEnd struct {
	start, headers int
	status         protocol.Status
}

// mayTable holds what model.may says, which takes its time: by the state, the
// command, and whether MAIL, RCPT and end of header were negotiated away.
type mayTable [8][256][256]bool

func newMayTable() *mayTable {
	t := new(mayTable)
	for i := range t {
		for _, state := range []byte("\x00OCHMRTLNBE") {
			for _, c := range []byte("OCHMRTULNBEK") {
				var steps option.Step
				for bit, step := range skippable {
					if i>>bit&1 > 0 {
						steps |= step
					}
				}
				t[i][state][c] = (&model{steps: steps, state: state}).may(c)
			}
		}
	}
	return t
}

var skippable = [...]option.Step{option.StepNoEnvelopeFrom, option.StepNoEnvelopeRecipient, option.StepNoEndOfHeader}

func (t *mayTable) may(steps option.Step, state, c byte) bool {
	i := 0
	for bit, step := range skippable {
		if steps.Has(step) {
			i |= 1 << bit
		}
	}
	return t[i][state][c]
}

// order is the order of a mail's commands.
func position(c byte) int { return slices.Index([]byte("MRTLNBE"), c) }

// run handles what can be handled.
func (m *liveModel) run(table *mayTable) {
	for len(m.queue) > 0 && !m.ended {
		p := m.queue[0]
		if m.due != nil && p.c != 'A' && p.c != 'Q' && p.c != 'K' {
			return
		}
		m.queue = m.queue[1:]
		m.handle(p, table)
	}
}

func (m *liveModel) handle(p *planned, table *mayTable) {
	switch p.c {
	case 'D': // no event, no reply, but it waits for its turn
		return
	case 'A':
		m.abort()
		m.forget()
		return
	case 'Q':
		m.end()
		return
	case 'H', 'M', 'K':
		m.abort()
	}
	if m.decided {
		if m.concerned(p.c) {
			if !m.noReply(p.c) {
				m.answer(&m.decision)
			}
			if p.c == 'E' {
				m.decided, m.state = false, 'E'
			}
			return
		}
		if p.c != 'U' {
			m.forget()
		}
	}
	if !table.may(m.steps, m.state, p.c) {
		m.want, m.illegal = append(m.want, '#'), true
		m.end()
		return
	}
	if p.c == 'K' {
		m.next = true
		m.end()
		return
	}
	if p.c != 'U' {
		m.state = p.c
	}
	if p.c == 'O' {
		m.want = append(m.want, 'O')
		return
	}
	if position(p.c) >= 0 && m.start == 0 {
		m.start, m.headers, m.skip, p.first = p.serial, 0, false, true
		m.quarantine = 0
	}
	p.of = m.start
	if p.c == 'L' {
		m.headers++
	}
	if p.c == 'B' && m.skip {
		if !m.noReply('B') {
			m.want = append(m.want, 'c')
		}
		return
	}
	m.want = append(m.want, p.c)
	m.calls = append(m.calls, p)
	m.change(p)
	switch p.how {
	case howLate:
		m.due = p
	case howPanic:
		m.waiting, m.quarantine, p.code = nil, 0, 0
		p.status = protocol.StatusTemporaryFailure
		m.pay(p)
		m.want = append(m.want, '#')
		m.end()
	default:
		m.pay(p)
	}
}

// concerned reports whether c belongs to the mail that was decided.
func (m *liveModel) concerned(c byte) bool {
	switch {
	case c == 'M' || position(c) < 0:
		return false
	case !m.steps.Has(option.StepNoEnvelopeFrom):
		return true
	}
	to, at := position(c), position(m.decision.c)
	return to > at || to == at && m.silent
}

func (m *liveModel) noReply(c byte) bool { return noReplyTo[c]&m.steps != 0 }

var noReplyTo = [256]option.Step{
	'C': option.StepNoReplyConnect, 'H': option.StepNoReplyHelo, 'M': option.StepNoReplyEnvelopeFrom, 'R': option.StepNoReplyEnvelopeRecipient,
	'T': option.StepNoReplyData, 'U': option.StepNoReplyUnknown, 'L': option.StepNoReplyHeader, 'N': option.StepNoReplyEndOfHeader, 'B': option.StepNoReplyBody,
}

// change makes the changes that a handler tries, which work at end of message only.
func (m *liveModel) change(p *planned) {
	if p.c != 'E' {
		return
	}
	m.waiting, m.replaced = nil, false
	var after []byte
	for _, letter := range p.tries {
		switch {
		case letter == 'p' && m.direct && m.replaced:
			m.want = append(m.want, 'b') // an empty piece: a progress would end the new body
		case letter == 'p':
			m.want = append(m.want, 'p')
		case m.actions == 0:
		case letter == 'b' && m.direct, m.direct && !m.replaced:
			m.want, m.tags = append(m.want, letter), append(m.tags, p.serial)
		case letter == 'b':
			m.waiting = append(m.waiting, letter)
		case m.replaced:
			after = append(after, letter)
		default:
			m.waiting = append(m.waiting, letter)
		}
		m.replaced = m.replaced || letter == 'b' && m.actions != 0
	}
	m.waiting = append(m.waiting, after...)
	if p.reason && m.actions != 0 {
		m.quarantine = p.serial
	}
}

// answer writes an answer.
func (m *liveModel) answer(p *planned) {
	if p.c == 'E' {
		for _, letter := range m.waiting {
			m.want, m.tags = append(m.want, letter), append(m.tags, p.serial)
		}
		if m.quarantine != 0 {
			m.want, m.tags = append(m.want, 'q'), append(m.tags, m.quarantine)
		}
	}
	letter := byte('c')
	switch p.status {
	case protocol.StatusAccept:
		letter = 'a'
	case protocol.StatusDiscard:
		letter = 'd'
	case protocol.StatusReject:
		if letter = 'r'; p.code/100 == 5 {
			letter = 'y'
		}
	case protocol.StatusTemporaryFailure:
		if letter = 't'; p.code/100 == 4 {
			letter = 'y'
		}
	case protocol.StatusSkip:
		if m.steps.Has(option.StepSkip) {
			letter = 's'
		}
	}
	if m.want = append(m.want, letter); letter == 'y' {
		m.tags = append(m.tags, p.serial)
	}
}

// pay answers p with its status.
func (m *liveModel) pay(p *planned) {
	m.due = nil
	fault := !allowedAt(p.c, p.status)
	answered := *p
	if fault {
		answered.status = protocol.StatusContinue
	}
	silent := m.noReply(p.c)
	if !silent {
		m.answer(&answered)
	}
	m.waiting = nil
	switch status := answered.status; {
	case status == protocol.StatusSkip:
		m.skip = true
	case m.start != 0 && endsMail(p.c, status):
		m.endMail(status)
		if p.c != 'E' {
			m.decided, m.decision, m.silent = true, answered, silent
		}
	case silent && !status.IsPass() && status != protocol.StatusNoReply:
		fault = true
	}
	if fault {
		m.want = append(m.want, '#')
	}
}

// allowedAt is what events.go says is allowed.
func allowedAt(c byte, status protocol.Status) bool {
	switch status {
	case protocol.StatusDefault, protocol.StatusNotChange, protocol.StatusContinue, protocol.StatusReject,
		protocol.StatusTemporaryFailure, protocol.StatusNoReply:
		return true
	case protocol.StatusAccept:
		return c != 'U'
	case protocol.StatusDiscard:
		return position(c) >= 0
	case protocol.StatusSkip:
		return c == 'B'
	}
	return false
}

func endsMail(c byte, status protocol.Status) bool {
	switch {
	case position(c) < 0:
		return false
	case c == 'E':
		return true
	case status == protocol.StatusReject, status == protocol.StatusTemporaryFailure:
		return c != 'R'
	}
	return status == protocol.StatusAccept || status == protocol.StatusDiscard
}

func (m *liveModel) endMail(status protocol.Status) {
	m.want = append(m.want, '.')
	m.mails = append(m.mails, mailEnd{m.start, m.headers, status})
	m.start, m.quarantine, m.skip = 0, 0, false
}

// abort ends a mail that is under way.
func (m *liveModel) abort() {
	if m.start == 0 {
		return
	}
	m.due = nil
	m.want = append(m.want, '!')
	m.endMail(protocol.StatusAbort)
	m.state = 'H'
}

// forget lets nothing come any more of a mail that was decided.
func (m *liveModel) forget() {
	m.decided = false
	if position(m.state) >= 0 {
		m.state = 'H'
	}
}

func (m *liveModel) end() {
	m.abort()
	m.ended, m.due = true, nil
	m.want = append(m.want, '$')
}
