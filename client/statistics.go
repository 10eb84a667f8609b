package client

import "github.com/milter-go/milter/context"

// Statistics say what a client and its sessions have been through, see
// [Client.Statistics]. All but Processing only grow.
type Statistics struct {
	// Sessions is how many connections became sessions, those that are being
	// served included. Sessions that follow another one on the same connection
	// (quit-new-connection), connections that were refused, and those that came
	// after Shutdown or Close do not count.
	Sessions uint64
	// Processing is how many connections are being served, as
	// [Client.NumberOfProcessingSessions] says.
	Processing int
	// Refused is how many connections were accepted only to be told of a temporary
	// failure, or to be closed: at MaxConnections with RefuseAtLimit, and for want
	// of descriptors. Those that wait at MaxConnections do not count.
	Refused uint64
	// Panics is that of [context.Counters], and the panics of the client's own
	// handlers: OnConnectionEstablished, OnListenStarted and OnError.
	Panics uint64
	// BadPeers, ProtocolErrors, Timeouts and ReplyTimeouts are those of
	// [context.Counters].
	BadPeers, ProtocolErrors, Timeouts, ReplyTimeouts uint64
}

// Statistics returns what has happened since the client was made. The numbers are
// read one after the other, while sessions go on. Those of [context.Counters] are
// Config.Counters': clients that were given the same ones have them in common.
func (c *Client) Statistics() Statistics {
	c.mu.Lock()
	sessions, processing := c.total, len(c.sessions)
	c.mu.Unlock()
	n := c.counters()
	return Statistics{
		Sessions:       sessions,
		Processing:     processing,
		Refused:        c.refusals.total.Load(),
		Panics:         n.Panics.Load(),
		BadPeers:       n.BadPeers.Load(),
		ProtocolErrors: n.ProtocolErrors.Load(),
		Timeouts:       n.Timeouts.Load(),
		ReplyTimeouts:  n.ReplyTimeouts.Load(),
	}
}

// counters returns what the client and its sessions count with.
func (c *Client) counters() *context.Counters {
	if c.Counters != nil {
		return c.Counters
	}
	return &c.own
}
