package context

import (
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A command is what the session knows of a letter of the protocol.
type command struct {
	event   event
	state   State       // in which a reply to it is due
	phase   phase       // to which it leads within a mail; phaseStart: it is not of a mail
	noEvent option.Step // by which the MTA does not send it
	noReply option.Step // by which the MTA awaits no reply to it
	macros  stage       // whose macros come before it, if hasMacros
	// Macros for other commands (Postfix sends some before each header and body
	// piece) are not stored, as in libmilter: they repeat what is known.
	hasMacros bool
}

var commands = [256]command{
	protocol.CommandNegotiate:         {event: eventNegotiate, state: StateNegotiate},
	protocol.CommandConnect:           {eventConnect, StateConnect, phaseStart, option.StepNoConnect, option.StepNoReplyConnect, stageConnect, true},
	protocol.CommandHelo:              {eventHelo, StateHelo, phaseStart, option.StepNoHelo, option.StepNoReplyHelo, stageHelo, true},
	protocol.CommandEnvelopeFrom:      {eventEnvelopeFrom, StateEnvelopeFrom, phaseEnvelopeFrom, option.StepNoEnvelopeFrom, option.StepNoReplyEnvelopeFrom, stageEnvelopeFrom, true},
	protocol.CommandEnvelopeRecipient: {eventEnvelopeRecipient, StateEnvelopeRecipient, phaseEnvelopeRecipient, option.StepNoEnvelopeRecipient, option.StepNoReplyEnvelopeRecipient, stageEnvelopeRecipient, true},
	protocol.CommandData:              {eventData, StateData, phaseData, option.StepNoData, option.StepNoReplyData, stageData, true},
	protocol.CommandUnknown:           {event: eventUnknown, state: StateUnknown, noEvent: option.StepNoUnknown, noReply: option.StepNoReplyUnknown},
	protocol.CommandHeader:            {event: eventHeader, state: StateHeader, phase: phaseHeader, noEvent: option.StepNoHeaders, noReply: option.StepNoReplyHeader},
	protocol.CommandEndOfHeader:       {eventEndOfHeader, StateEndOfHeader, phaseEndOfHeader, option.StepNoEndOfHeader, option.StepNoReplyEndOfHeader, stageEndOfHeader, true},
	protocol.CommandBody:              {event: eventBody, state: StateBody, phase: phaseBody, noEvent: option.StepNoBody, noReply: option.StepNoReplyBody},
	protocol.CommandEndOfMessage:      {event: eventEndOfMessage, state: StateEndOfMessage, phase: phaseEndOfMessage, macros: stageEndOfMessage, hasMacros: true},
	protocol.CommandAbort:             {event: eventAbort, state: StateAbort},
}

// inMail reports whether the command is one of a mail.
func (c *command) inMail() bool { return c.phase != phaseStart }
