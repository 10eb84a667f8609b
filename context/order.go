package context

import (
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A phase is how far a session has come, for the order of commands. Unlike
// State it does not know about replies, and unknown commands do not change it
// (in libmilter they do, and the rest of the message is lost).
type phase int

const (
	phaseStart phase = iota
	phaseNegotiated
	phaseConnected
	phaseHelo // greeted, or between two messages
	phaseEnvelopeFrom
	phaseEnvelopeRecipient
	phaseData
	phaseHeader
	phaseEndOfHeader
	phaseBody
	phaseEndOfMessage
)

// after returns the phase that command c leads to, and whether c may come in
// phase p of a session with the given steps. It is libmilter's table (engine.c,
// next_states) with its leniencies: a new greeting or MAIL may come at any time,
// as may an unknown command. Headers and body may be missing, DATA too (MTAs
// below version 4 do not send it), and so may every command that was negotiated
// away. Define-macro, abort and quit are not asked about: they are always legal.
func (p phase) after(c protocol.Command, steps option.Step) (phase, bool) {
	switch c {
	case protocol.CommandNegotiate:
		return phaseNegotiated, p == phaseStart
	case protocol.CommandConnect:
		return phaseConnected, p == phaseNegotiated
	case protocol.CommandHelo:
		return phaseHelo, p >= phaseNegotiated
	case protocol.CommandEnvelopeFrom:
		return phaseEnvelopeFrom, p >= phaseNegotiated
	case protocol.CommandUnknown:
		return p, p >= phaseNegotiated
	case protocol.CommandQuitNewConnection:
		return phaseNegotiated, p >= phaseNegotiated
	}
	to := commands[c].phase
	if to == phaseStart || p < phaseNegotiated {
		return p, false
	}
	if p == phaseEndOfMessage {
		p = phaseHelo
	}
	switch {
	case p < phaseEnvelopeFrom && !steps.Has(option.StepNoEnvelopeFrom):
		return p, false
	case p < phaseEnvelopeRecipient && to > phaseEnvelopeRecipient && !steps.Has(option.StepNoEnvelopeRecipient):
		return p, false
	case p > phaseEnvelopeRecipient && p < phaseEndOfHeader && to > phaseEndOfHeader && !steps.Has(option.StepNoEndOfHeader):
		return p, false
	case p == to:
		return to, to == phaseEnvelopeRecipient || to == phaseHeader || to == phaseBody
	}
	return to, p < to
}
