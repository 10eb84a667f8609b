package mta

import (
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// StepsOf returns the steps that leave out command c, and the reply to it; 0 where
// nothing may be left out.
func StepsOf(c protocol.Command) (noEvent, noReply option.Step) {
	switch c {
	case protocol.CommandConnect:
		return option.StepNoConnect, option.StepNoReplyConnect
	case protocol.CommandHelo:
		return option.StepNoHelo, option.StepNoReplyHelo
	case protocol.CommandEnvelopeFrom:
		return option.StepNoEnvelopeFrom, option.StepNoReplyEnvelopeFrom
	case protocol.CommandEnvelopeRecipient:
		return option.StepNoEnvelopeRecipient, option.StepNoReplyEnvelopeRecipient
	case protocol.CommandData:
		return option.StepNoData, option.StepNoReplyData
	case protocol.CommandUnknown:
		return option.StepNoUnknown, option.StepNoReplyUnknown
	case protocol.CommandHeader:
		return option.StepNoHeaders, option.StepNoReplyHeader
	case protocol.CommandEndOfHeader:
		return option.StepNoEndOfHeader, option.StepNoReplyEndOfHeader
	case protocol.CommandBody:
		return option.StepNoBody, option.StepNoReplyBody
	}
	return 0, 0
}
