package protocol

import "fmt"

// A Status is what a handler returns: the milter's decision on one event.
// Which statuses an event allows is said at the event; the others are reported
// as an error and answered with continue, so that no MTA is left waiting.
type Status int

// The statuses.
const (
	// StatusDefault leaves the decision to the next handler of the event, or
	// else to the library: ALL_OPTIONS at negotiation, CONTINUE elsewhere.
	StatusDefault Status = iota
	// StatusNotChange keeps what the handlers before decided.
	StatusNotChange
	// StatusContinue goes on with the session.
	StatusContinue
	// StatusReject refuses the connection, recipient or message for good (5xx).
	StatusReject
	// StatusDiscard accepts the message and drops it.
	StatusDiscard
	// StatusAccept accepts the connection or message without any further event.
	StatusAccept
	// StatusTemporaryFailure refuses the connection, recipient or message for
	// now (4xx).
	StatusTemporaryFailure
	// StatusNoReply sends no reply. It has an effect only when the no-reply step
	// of the event was negotiated; else it is StatusContinue.
	StatusNoReply
	// StatusSkip is for body chunks: the rest of the body is not wanted.
	StatusSkip
	// StatusAllOptions is for negotiation: every action that was offered, and
	// the events that have a handler.
	StatusAllOptions
	// StatusProgress means that the reply comes later, by the event's Response
	// call from any goroutine. The MTA waits for it.
	StatusProgress
	// StatusAbort is the status of an aborted message. As the status for panics
	// it closes the session without a reply. No handler may return it.
	StatusAbort
	// StatusQuarantine is the status of a result whose message was put on hold.
	// No handler may return it: a handler calls Quarantine and then accepts.
	StatusQuarantine
	// StatusStop is kept for its number only. No handler may return it.
	StatusStop
	// StatusError is the status of a session that ended with an error. No
	// handler may return it.
	StatusError
)

var statusNames = [...]string{
	"default", "not-change", "continue", "reject", "discard", "accept", "temporary-failure", "no-reply",
	"skip", "all-options", "progress", "abort", "quarantine", "stop", "error",
}

// String returns the status's name, such as "temporary-failure".
func (s Status) String() string {
	if s >= 0 && int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status(%d)", int(s))
}

// ParseStatus is the inverse of [Status.String].
func ParseStatus(name string) (Status, error) {
	for i, n := range statusNames {
		if n == name {
			return Status(i), nil
		}
	}
	return StatusDefault, fmt.Errorf("protocol: unknown status %q", name)
}

// IsPass reports whether s lets the session go on as if nobody had decided
// anything: default, not-change or continue.
func (s Status) IsPass() bool {
	return s == StatusDefault || s == StatusNotChange || s == StatusContinue
}

// Compare orders statuses by severity, for programs that merge the answers of
// several filters: discard > reject > temporary-failure > continue > skip >
// accept > all others. It returns a negative number when s is less severe than
// t, zero when they are alike and a positive number when s is more severe.
func (s Status) Compare(t Status) int { return s.severity() - t.severity() }

func (s Status) severity() int {
	switch s {
	case StatusDiscard:
		return 6
	case StatusReject:
		return 5
	case StatusTemporaryFailure:
		return 4
	case StatusContinue:
		return 3
	case StatusSkip:
		return 2
	case StatusAccept:
		return 1
	}
	return 0
}
