package context

import "fmt"

// A State says where a session is. Each command has two: the one while its
// handlers run and a reply is due, and the "replied" one after it.
type State int

// The states, with the numbers of milter manager.
const (
	StateInvalid State = iota
	StateStart
	StateNegotiate
	StateNegotiateReplied
	StateConnect
	StateConnectReplied
	StateHelo
	StateHeloReplied
	StateEnvelopeFrom
	StateEnvelopeFromReplied
	StateEnvelopeRecipient
	StateEnvelopeRecipientReplied
	StateData
	StateDataReplied
	StateUnknown
	StateUnknownReplied
	StateHeader
	StateHeaderReplied
	StateEndOfHeader
	StateEndOfHeaderReplied
	StateBody
	StateBodyReplied
	StateEndOfMessage
	StateEndOfMessageReplied
	StateQuit
	StateQuitReplied
	StateAbort
	StateAbortReplied
	StateFinished
)

var stateNames = [...]string{
	"invalid", "start", "negotiate", "negotiate-replied", "connect", "connect-replied", "helo", "helo-replied",
	"envelope-from", "envelope-from-replied", "envelope-recipient", "envelope-recipient-replied",
	"data", "data-replied", "unknown", "unknown-replied", "header", "header-replied",
	"end-of-header", "end-of-header-replied", "body", "body-replied", "end-of-message", "end-of-message-replied",
	"quit", "quit-replied", "abort", "abort-replied", "finished",
}

// String returns the state's name, such as "envelope-from-replied".
func (s State) String() string {
	if s >= 0 && int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", int(s))
}

// InMessageProcessing reports whether s lies within a mail: from the envelope
// sender up to, and without, end-of-message.
func (s State) InMessageProcessing() bool {
	return s >= StateEnvelopeFrom && s < StateEndOfMessage
}

// replied returns the state after the reply to s.
func (s State) replied() State { return s + 1 }
