package context

import (
	stdcontext "context"
	"log/slog"
	"time"

	"github.com/milter-go/milter/protocol"
)

// The defaults of a session.
const (
	// DefaultTimeout is libmilter's: ten seconds more than the two hours after
	// which an MTA gives up an idle SMTP client.
	DefaultTimeout = 7210 * time.Second
	// DefaultPacketTimeout is how long a begun packet may take.
	DefaultPacketTimeout = 30 * time.Second
	// DefaultWriteTimeout is how long the MTA may take to read a reply.
	DefaultWriteTimeout = 10 * time.Second
	// DefaultPacketBufferSize is how many bytes of changes are kept back at end
	// of message.
	DefaultPacketBufferSize = 256 << 10
)

// A Config is what a session starts with. [DefaultConfig] returns the defaults;
// the zero value has no timeouts at all.
type Config struct {
	// Timeout is how long the MTA may be silent while it is its turn, counted
	// from the connect, the last packet or the last reply. Zero means no limit.
	// Default: 7210 s.
	Timeout time.Duration
	// PacketTimeout is how long a packet may take from its first byte to its
	// last, and the negotiation from the connect. Zero means no limit.
	// Default: 30 s.
	PacketTimeout time.Duration
	// WriteTimeout is how long one write may wait for an MTA that does not read.
	// Zero means no limit. Default: 10 s.
	WriteTimeout time.Duration
	// PacketBufferSize is how many bytes of changes may wait at end of message
	// for the reply, so that all of them leave in one write with it. Above it
	// they are written at once; zero writes each change at once, as milter
	// manager does by default. Default: 256 KiB.
	PacketBufferSize int
	// MaxPayload is the largest payload of a packet that is taken, in bytes. A
	// larger one ends the session. Zero means the default: 1 MiB.
	MaxPayload int
	// KeepAlive is how often a progress is sent by itself while a reply to
	// end-of-message is due, so that the MTA does not give up on a long scan.
	// Sendmail waits 10 s for each packet by default and 300 s in all, Postfix
	// 300 s for each: something below 10 s suits both. Zero means never. Default:
	// zero.
	KeepAlive time.Duration
	// ReplyTimeout is how long a reply may be due, whether its handler has not
	// returned or a late reply has not come. After that ReplyTimeoutStatus is
	// sent in its place, without the changes that were not sent yet. Zero means
	// no limit. Default: zero.
	//
	// At the negotiation the answer is a temporary failure, or a reject if that is
	// ReplyTimeoutStatus: the other statuses would ask the MTA for no event. The
	// same goes for PanicStatus.
	ReplyTimeout time.Duration
	// ReplyTimeoutStatus is the answer when ReplyTimeout has passed;
	// StatusDefault stands for StatusTemporaryFailure.
	ReplyTimeoutStatus protocol.Status
	// PanicStatus is the answer when a handler panics, before the session is
	// closed; StatusDefault stands for StatusTemporaryFailure. StatusAbort
	// closes without an answer, so that the MTA's own rule for a failed milter
	// applies.
	PanicStatus protocol.Status
	// PanicCrash lets a handler's panic end the process, for programs that a
	// supervisor starts anew: after the log line and the answer of PanicStatus the
	// session panics with the handler's panic and its stack. Without it only the
	// session ends. It counts for all handlers of sessions, functions given to Later,
	// and the client's OnConnectionEstablished. Default: false.
	PanicCrash bool
	// Logger takes what nobody handles: panics always, errors when there is no
	// OnError handler. Nil stands for slog.Default().
	Logger *slog.Logger
	// Counters count what happens to this session, and to others that are given
	// the same ones. Nil counts nothing; package client has counters of its own then.
	// Default: nil.
	Counters *Counters
	// ID is the number of the session, in log lines and by [ClientContext.ID].
	ID uint64
	// Parent gives the session its values, and ends the session as Close does when
	// it ends itself. Nil stands for the background.
	Parent stdcontext.Context
	// ProcessingSessions returns how many sessions the owner of this one serves.
	// Nil stands for none.
	ProcessingSessions func() int
}

// parent returns what the sessions are part of.
func (c *Config) parent() stdcontext.Context {
	if c.Parent == nil {
		return stdcontext.Background()
	}
	return c.Parent
}

// DefaultConfig returns the defaults that are said at each field.
func DefaultConfig() Config {
	return Config{
		Timeout:          DefaultTimeout,
		PacketTimeout:    DefaultPacketTimeout,
		WriteTimeout:     DefaultWriteTimeout,
		PacketBufferSize: DefaultPacketBufferSize,
	}
}
