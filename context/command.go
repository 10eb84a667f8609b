package context

import (
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A command is what the session knows of a letter of the protocol.
type command struct {
	state   State       // in which a reply to it is due
	phase   phase       // to which it leads within a mail; phaseStart: it is not of a mail
	noReply option.Step // by which the MTA awaits no reply to it
	macros  stage       // whose macros come before it, if hasMacros
	// Macros for other commands (Postfix sends some before each header and body
	// piece) are not stored, as in libmilter: they repeat what is known.
	hasMacros bool
}

var commands = [256]command{
	protocol.CommandNegotiate:         {state: StateNegotiate},
	protocol.CommandConnect:           {StateConnect, phaseStart, option.StepNoReplyConnect, stageConnect, true},
	protocol.CommandHelo:              {StateHelo, phaseStart, option.StepNoReplyHelo, stageHelo, true},
	protocol.CommandEnvelopeFrom:      {StateEnvelopeFrom, phaseEnvelopeFrom, option.StepNoReplyEnvelopeFrom, stageEnvelopeFrom, true},
	protocol.CommandEnvelopeRecipient: {StateEnvelopeRecipient, phaseEnvelopeRecipient, option.StepNoReplyEnvelopeRecipient, stageEnvelopeRecipient, true},
	protocol.CommandData:              {StateData, phaseData, option.StepNoReplyData, stageData, true},
	protocol.CommandUnknown:           {state: StateUnknown, noReply: option.StepNoReplyUnknown},
	protocol.CommandHeader:            {state: StateHeader, phase: phaseHeader, noReply: option.StepNoReplyHeader},
	protocol.CommandEndOfHeader:       {StateEndOfHeader, phaseEndOfHeader, option.StepNoReplyEndOfHeader, stageEndOfHeader, true},
	protocol.CommandBody:              {state: StateBody, phase: phaseBody, noReply: option.StepNoReplyBody},
	protocol.CommandEndOfMessage:      {state: StateEndOfMessage, phase: phaseEndOfMessage, macros: stageEndOfMessage, hasMacros: true},
	protocol.CommandAbort:             {state: StateAbort},
}

// inMail reports whether the command is one of a mail.
func (c *command) inMail() bool { return c.phase != phaseStart }
