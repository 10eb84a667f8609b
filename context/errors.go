package context

import (
	"errors"
	"fmt"

	"github.com/milter-go/milter/protocol"
)

// The errors of this package that a program may want to tell apart. Each error
// that wraps one of them says what was called and quotes the value at fault.
var (
	// ErrNoReplyDue is returned by a Response call when the MTA is not waiting
	// for a reply to that event: it has been answered, the message was aborted,
	// or the event has not come; and by everything done by a Late that is over.
	ErrNoReplyDue = errors.New("context: no reply is due")
	// ErrFinished is returned by every call that would send something when the
	// session has ended. The cause of an ended session wraps it, unless the
	// session ended with an error.
	ErrFinished = errors.New("context: session has finished")
	// ErrClosed is the cause of a session that was ended by Close, and is wrapped by
	// what Serve and Feed return when Config.Parent has ended.
	ErrClosed = errors.New("context: session was closed")
	// ErrTimeout is wrapped by the cause of a session whose MTA was silent for
	// too long.
	ErrTimeout = errors.New("context: timeout")
	// ErrInvalidState is returned by a change to a mail, or a progress, while no
	// reply to end-of-message is due.
	ErrInvalidState = errors.New("context: can only be done on end-of-message state")
	// ErrInvalidAction is returned by a change to a mail that was not negotiated.
	ErrInvalidAction = errors.New("context: action was not negotiated")
	// ErrInvalidArgument is returned for a value that cannot be sent. Nothing was
	// sent.
	ErrInvalidArgument = errors.New("context: invalid argument")
	// ErrInvalidStatus is reported for a status that the event does not allow.
	ErrInvalidStatus = errors.New("context: status is not allowed here")
	// ErrProtocol is reported for a packet that is malformed or out of order.
	ErrProtocol = errors.New("context: protocol error")
	// ErrPanic is reported for a handler that panicked.
	ErrPanic = errors.New("context: handler panicked")
	// ErrReplyTimeout is reported when a reply did not come within ReplyTimeout.
	ErrReplyTimeout = errors.New("context: no reply within the reply timeout")
)

// These errors are made in functions of their own: the goroutine of a late answer
// has a small stack, which would have to grow for what they need.

// notDue says why c cannot be answered now.
func (ctx *ClientContext) notDue(c protocol.Command, debt uint64, status protocol.Status) error {
	switch {
	case ctx.cause != nil:
		return fmt.Errorf("%w: %v response %v", ErrFinished, c, status)
	case ctx.owed != c || debt != 0 && ctx.debt != debt:
		return fmt.Errorf("%w: %v response %v in state %v", ErrNoReplyDue, c, status, ctx.state)
	}
	return fmt.Errorf("%w: %v as a late %v response", ErrInvalidStatus, status, c)
}

func notAllowed(c protocol.Command, status protocol.Status) error {
	return fmt.Errorf("%w: %v at %v; answered with continue", ErrInvalidStatus, status, c)
}

func notSent(c protocol.Command, status protocol.Status) error {
	return fmt.Errorf("%w: %v at %v could not be sent: the MTA awaits no reply", ErrInvalidStatus, status, c)
}
