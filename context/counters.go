package context

import (
	"errors"
	"sync/atomic"
)

// Counters count what happens to all sessions that share them, see
// [Config.Counters]. They only grow. They may be read, and added to, by any
// goroutine at any time; the zero value is ready for use.
type Counters struct {
	// Panics is how many panics there were: of handlers, of functions given to
	// Later, and of those given to SetPrivateData for the end. The end of a Later
	// goroutine by runtime.Goexit counts as one. Package client adds the panics of
	// its own handlers.
	Panics atomic.Uint64
	// BadPeers is how many sessions ended by a protocol error before anything was
	// negotiated: their peers are scanners as a rule, and no MTAs. One that says
	// nothing is a timeout; one that only hangs up is not counted.
	BadPeers atomic.Uint64
	// ProtocolErrors is how many sessions ended by a protocol error later on: an
	// MTA, or this library, is at fault.
	ProtocolErrors atomic.Uint64
	// Timeouts is how many sessions ended because the MTA was silent for too long,
	// by Timeout or PacketTimeout. One that did not read for WriteTimeout is not
	// among them.
	Timeouts atomic.Uint64
	// ReplyTimeouts is how many replies ReplyTimeout has given in place of a
	// handler. A session may have several.
	ReplyTimeouts atomic.Uint64
}

// panicked counts a panic. Like the other methods it does nothing without
// counters.
func (n *Counters) panicked() {
	if n != nil {
		n.Panics.Add(1)
	}
}

func (n *Counters) replyTimedOut() {
	if n != nil {
		n.ReplyTimeouts.Add(1)
	}
}

// ended counts a session that ends with cause.
func (n *Counters) ended(cause error, negotiated bool) {
	if n == nil {
		return
	}
	_, panicked := cause.(*panicError) // has been counted, whatever its error
	switch {
	case panicked:
	case errors.Is(cause, ErrTimeout):
		n.Timeouts.Add(1)
	case !errors.Is(cause, ErrProtocol):
	case negotiated:
		n.ProtocolErrors.Add(1)
	default:
		n.BadPeers.Add(1)
	}
}
