package context

import (
	stdcontext "context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/milter-go/milter/internal/socket"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// A ClientContext is one milter session, the milter's end of it. It is made by
// package client, which hands it to the OnConnectionEstablished handlers, or by
// [New] for a session without a socket.
//
// The session delivers its events one after the other; the goroutine that does
// so owns the fields above mu. All methods may be called from any goroutine,
// unless they say otherwise.
type ClientContext struct {
	due

	config *Config // not changed; the values that can be set live below mu
	id     uint64
	w      io.Writer

	leaveParent func() bool                 // nil: the parent never ends
	conn        atomic.Pointer[socket.Conn] // while Serve runs

	in    protocol.Buffer
	batch batch
	phase phase

	mu   sync.Mutex // guards what follows; never held while a handler runs or while reading
	wake *sync.Cond // ends a wait that is no read, see kick; nil until there is one

	std    stdcontext.Context // done when the session ends; nil until it is needed
	cancel stdcontext.CancelCauseFunc

	// Side by side, for there may be many sessions.
	running      bool // somebody delivers events
	fed          bool // Feed delivers them, not Serve
	held         bool // a packet waits for the reply that is due
	heard        bool // something came or was answered since lastActivity
	reading      bool // a wait for the MTA is under way
	resting      bool // Serve is to be called once more
	writesToConn bool // w is conn
	inMessage    bool
	announced    bool // macros tell of a mail whose MAIL was negotiated away
	skipBody     bool
	draining     bool
	finished     bool

	handlers handlers
	arrived  []byte                 // what Feed has brought
	pending  []func(*ClientContext) // events that come from other goroutines, see later

	state, lastState State
	status           protocol.Status

	// What the MTA waits for. debt is counted up with each event, so that a late
	// answer cannot pay for another event than its own.
	owed       protocol.Command // 0: nothing
	last       protocol.Command // the last event
	debt       uint64
	debtCause  error                        // why that one is not due any more
	cancels    []stdcontext.CancelCauseFunc // of what runs for the reply that is due
	replyTimer *time.Timer
	keepAlive  *time.Timer

	option      option.Option // as negotiated
	negotiation *negotiation  // while it is going on

	smtp  reply.SMTP // for the reply that is due
	wfail error      // the first write error; nothing is written after it
	small [8]byte    // for a reply without text

	macros macroStore

	decision *decision // the final answer to a message that the MTA has not ended yet
	mail     *mail     // nil: nothing is kept

	cause error // why the session ends; nil while it lives
	next  *ClientContext

	started      time.Time     // the other times are counted from it: one clock is read instead of two
	armed        time.Duration // the read deadline
	lastActivity time.Duration // when it became the MTA's turn
	partialSince time.Duration // when the packet that has begun to come in began, or none

	timeout          time.Duration
	packetBufferSize int
	private          any
	destroyPrivate   func()
	socketAddress    net.Addr
}

var _ stdcontext.Context = (*ClientContext)(nil)

// New returns a session that has no socket: [ClientContext.Feed] brings it what
// the MTA sends, and its replies are written to w, a whole packet or several at
// a time. With a connection as w, [ClientContext.Serve] runs the session on it.
func New(w io.Writer, config Config) *ClientContext {
	return NewSession(w, &config, config.ID)
}

// NewSession is [New] for one of many sessions with the same configuration. They
// share it, so it must not be changed any more. id takes the place of its ID.
func NewSession(w io.Writer, config *Config, id uint64) *ClientContext {
	ctx := &ClientContext{
		config:           config,
		id:               id,
		w:                w,
		in:               protocol.Buffer{MaxPayload: config.MaxPayload},
		state:            StateStart,
		lastState:        StateStart,
		status:           protocol.StatusNotChange,
		timeout:          config.Timeout,
		packetBufferSize: config.PacketBufferSize,
		armed:            never,
		partialSince:     none,
	}
	ctx.due.ctx = ctx
	if parent := config.parent(); parent.Done() != nil {
		ctx.leaveParent = stdcontext.AfterFunc(parent, func() {
			ctx.fail(fmt.Errorf("%w: %w", ErrClosed, stdcontext.Cause(parent)))
			ctx.drive()
		})
	}
	return ctx
}

// Deadline implements the standard Context.
func (ctx *ClientContext) Deadline() (deadline time.Time, ok bool) {
	return ctx.config.parent().Deadline()
}

// Done returns a channel that is closed when the session ends, by whichever side.
func (ctx *ClientContext) Done() <-chan struct{} {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.standard().Done()
}

// Err returns nil while the session lives, then an error. The standard package's
// Cause(ctx) says why the session ended.
func (ctx *ClientContext) Err() error {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.standard().Err()
}

// Value returns a value of [Config.Parent].
func (ctx *ClientContext) Value(key any) any {
	ctx.mu.Lock()
	std := ctx.standard()
	ctx.mu.Unlock()
	return std.Value(key)
}

// standard returns the standard context of the session, which is made when
// somebody asks for it.
func (ctx *ClientContext) standard() stdcontext.Context {
	if ctx.std == nil {
		ctx.std, ctx.cancel = stdcontext.WithCancelCause(ctx.config.parent())
		if ctx.cause != nil {
			ctx.cancel(ctx.cause)
		}
	}
	return ctx.std
}

// ID returns the number of the session, [Config.ID].
func (ctx *ClientContext) ID() uint64 { return ctx.id }

// NumberOfProcessingSessions returns how many sessions the client of this one
// serves, this one included; 0 for a session without a client.
func (ctx *ClientContext) NumberOfProcessingSessions() int {
	if ctx.config.ProcessingSessions == nil {
		return 0
	}
	return ctx.config.ProcessingSessions()
}

// State returns where the session is.
func (ctx *ClientContext) State() State {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.state
}

// LastState returns the state of the last command that has come: start,
// negotiate, connect, helo, envelope-from, envelope-recipient, data, unknown,
// header, end-of-header, body or end-of-message.
func (ctx *ClientContext) LastState() State {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.lastState
}

// SetState puts the session into a state, for tests: with a command's state its
// reply is due, so that SetState(StateEndOfMessage) makes changes legal.
func (ctx *ClientContext) SetState(state State) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.setState(state)
	ctx.owed = 0
	for _, command := range []byte("OCHMRTULNBEA") {
		if commands[command].state == state {
			ctx.owe(protocol.Command(command))
		}
	}
}

func (ctx *ClientContext) setState(state State) {
	ctx.state = state
	switch state {
	case StateStart, StateNegotiate, StateConnect, StateHelo, StateEnvelopeFrom, StateEnvelopeRecipient,
		StateData, StateUnknown, StateHeader, StateEndOfHeader, StateBody, StateEndOfMessage:
		ctx.lastState = state
	}
}

// Status returns the status of the last answer. During a handler that is the
// answer to the event before.
func (ctx *ClientContext) Status() protocol.Status {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.status
}

// SetStatus sets what Status returns, for tests. It sends nothing.
func (ctx *ClientContext) SetStatus(status protocol.Status) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.status = status
}

// Option returns what was negotiated. It is the zero value before that.
func (ctx *ClientContext) Option() option.Option {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.option
}

// SetOption sets what counts as negotiated, for tests. It sends nothing.
func (ctx *ClientContext) SetOption(o option.Option) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.option = o
}

// Timeout returns how long the MTA may be silent; 0 means no limit.
func (ctx *ClientContext) Timeout() time.Duration {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.timeout
}

// SetTimeout sets how long the MTA may be silent, see [Config.Timeout].
func (ctx *ClientContext) SetTimeout(d time.Duration) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.timeout = d
	at, _ := ctx.deadline()
	ctx.arm(at)
}

// PacketBufferSize returns how many bytes of changes may wait for the reply to
// end-of-message.
func (ctx *ClientContext) PacketBufferSize() int {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.packetBufferSize
}

// SetPacketBufferSize sets how many bytes of changes may wait for the reply to
// end-of-message, see [Config.PacketBufferSize].
func (ctx *ClientContext) SetPacketBufferSize(bytes int) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.packetBufferSize = bytes
}

// PrivateData returns what SetPrivateData was given last; nil before that.
func (ctx *ClientContext) PrivateData() any {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.private
}

// SetPrivateData keeps data for as long as the session lives. Then, after the
// OnFinished handlers, or when other data is set, destroy is called, unless it
// is nil. After the session it is called at once.
func (ctx *ClientContext) SetPrivateData(data any, destroy func()) {
	ctx.mu.Lock()
	old := ctx.destroyPrivate
	ctx.private, ctx.destroyPrivate = data, destroy
	if ctx.finished && destroy != nil {
		old = destroy
		ctx.private, ctx.destroyPrivate = nil, nil
	}
	ctx.mu.Unlock()
	if old != nil {
		old()
	}
}

// SocketAddress returns the address of the MTA; nil if it is not known.
func (ctx *ClientContext) SocketAddress() net.Addr {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.socketAddress
}

// SetSocketAddress sets what SocketAddress returns.
func (ctx *ClientContext) SetSocketAddress(addr net.Addr) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.socketAddress = addr
}

// Logger returns the session's logger. Its lines carry the number of the session
// and, as soon as the MTA has told it, the queue id of the mail.
func (ctx *ClientContext) Logger() *slog.Logger {
	logger := ctx.config.Logger
	if logger == nil {
		logger = slog.Default()
	}
	if ctx.id != 0 {
		logger = logger.With("session", ctx.id)
	}
	if id, ok := ctx.LookupMacro("i"); ok {
		logger = logger.With("queue_id", id)
	}
	return logger
}
