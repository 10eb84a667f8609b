package client

import (
	stdcontext "context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/milter-go/milter/context"
)

var (
	// ErrRunning is returned by Run when the client runs already, and when
	// something is set that can only be set before the client listens.
	ErrRunning = errors.New("client: already running")
	// ErrClosed is returned by Listen and ServeConn after Shutdown or Close.
	ErrClosed = errors.New("client: closed")
)

// A Client listens for MTAs and serves their sessions. It is made by [New]; the
// zero value does not work. Its fields may not be changed after Listen, Run or
// ServeConn was called.
type Client struct {
	// Config is what every session starts with. ID is set by the client: sessions
	// are numbered from 1. ProcessingSessions and Counters are set if they are nil.
	// The client itself logs to Logger, too.
	context.Config

	// ListenBacklog is how many connections may wait to be accepted. Zero or less
	// means the system's limit (on Linux net.core.somaxconn, usually 4096), which
	// also limits larger values. Default: -1.
	ListenBacklog int
	// MaxConnections is how many connections are served at once. At the limit no
	// more are accepted: they wait in the backlog until a session ends. Those of
	// ServeConn count, but never wait. Zero or less means no limit. Default: 0.
	MaxConnections int
	// RefuseAtLimit says that connections above MaxConnections do not wait: each is
	// accepted and told of a temporary failure, so that the MTA asks its SMTP
	// client to try again later, whatever it is told to do when a milter fails. No
	// handler hears of it. An MTA has 3 s to take the answer, and no more than 100
	// are being answered at a time; beyond that a connection is just closed.
	// Default: false.
	RefuseAtLimit bool
	// AllowRemote says that it is meant when the client listens on an address that
	// other machines may reach. Otherwise there is a warning in the log for each
	// such listener: the milter protocol has no authentication. Default: false.
	AllowRemote bool
	// UnixSocketMode is the mode of unix sockets, of which only the permissions of
	// 0777 are allowed. Who wants to connect needs the right to write. See
	// [ParseMode]. Default: 0660.
	UnixSocketMode os.FileMode
	// UnixSocketGroup is the group of unix sockets, by name or number; empty means
	// the one that the system gives a new file. Default: empty.
	UnixSocketGroup string
	// RemoveUnixSocketOnCreate says that a unix socket is put in the place of an
	// old one that nobody listens on any more and that belongs to this process's
	// user or to root. Otherwise, and in the place of anything else, it cannot be
	// created. Default: true.
	RemoveUnixSocketOnCreate bool
	// RemoveUnixSocketOnClose says that the client removes its unix sockets when
	// it stops listening, unless something else has taken their place. Default:
	// true.
	RemoveUnixSocketOnClose bool

	ids       atomic.Uint64
	binding   sync.Mutex // held while Listen binds
	admission sync.Mutex // held while a connection is let in or refused, with RefuseAtLimit
	refusals  refusals
	own       context.Counters // unless Config has some
	reserve   reserve

	prepare sync.Once
	each    context.Config // what a session gets, but for its number

	stop     stdcontext.Context // done as soon as Shutdown or Close is called
	stopNow  stdcontext.CancelFunc
	drained  chan struct{}      // closed when stop is done and the last session has ended
	forced   stdcontext.Context // done when the sessions are ended by force
	forceNow stdcontext.CancelFunc

	mu          sync.Mutex // guards what follows
	freed       *sync.Cond // a session has ended, or stop is done
	established []func(*context.ClientContext)
	started     []func(net.Addr)
	failed      []func(error)
	specs       []namedSpec
	given       []*listener // by SetListener and AddListener
	listeners   []*listener // nil before Listen
	panics      throttle
	running     bool
	closed      bool // stop is done or about to be
	sessions    map[*session]struct{}
	total       uint64 // sessions there have been
}

// A namedSpec is a spec with the text it was given as.
type namedSpec struct {
	text string
	Spec
}

// New returns a client with the defaults that are said at its fields and at those
// of [context.Config].
func New() *Client {
	c := &Client{
		Config:                   context.DefaultConfig(),
		ListenBacklog:            -1,
		UnixSocketMode:           0o660,
		RemoveUnixSocketOnCreate: true,
		RemoveUnixSocketOnClose:  true,
		drained:                  make(chan struct{}),
		panics:                   throttle{interval: faultInterval},
		sessions:                 make(map[*session]struct{}),
	}
	c.freed = sync.NewCond(&c.mu)
	c.stop, c.stopNow = stdcontext.WithCancel(stdcontext.Background())
	c.forced, c.forceNow = stdcontext.WithCancel(stdcontext.Background())
	return c
}

type clientKey struct{}

// FromContext returns the client whose session ctx belongs to, or nil. ctx is the
// *[context.ClientContext] itself or one that was made from it.
func FromContext(ctx stdcontext.Context) *Client {
	c, _ := ctx.Value(clientKey{}).(*Client)
	return c
}

// OnConnectionEstablished registers a handler for every new session. It is the
// place to register the handlers of the session's events. It runs before anything
// is read from the MTA. A session that follows another one on the same connection
// (quit-new-connection) is new as well; its negotiation is over.
//
// A panic in it is logged and reported to OnError, and the connection is closed.
func (c *Client) OnConnectionEstablished(handler func(ctx *context.ClientContext)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.established = append(c.established, handler)
}

// OnListenStarted registers a handler that is told of each socket the client
// listens on, when all of them do. It is called by Listen, before any connection
// is accepted. A panic in it is logged and reported to OnError; the client goes on.
func (c *Client) OnListenStarted(handler func(addr net.Addr)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = append(c.started, handler)
}

// OnError registers a handler for the faults of the client itself: a connection
// that could not be accepted, a panic in another of its handlers, a unix socket
// that could not be removed. What may come again and again is reported at most
// once a second: a fault of accept (for each listener), and a panic in the
// OnConnectionEstablished and OnListenStarted handlers. The errors of sessions go to
// their own OnError handlers.
//
// Without a handler errors are logged. The handler may be called from several
// goroutines at once.
func (c *Client) OnError(handler func(err error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = append(c.failed, handler)
}

// SetConnectionSpec says where to listen, in place of what SetConnectionSpec and
// AddConnectionSpec said before; see [ParseSpec]. The empty spec removes all.
// After an error, that of the spec or ErrRunning, nothing has changed.
//
// A client with neither a spec nor a listener uses [DefaultConnectionSpec].
func (c *Client) SetConnectionSpec(spec string) error {
	if spec == "" {
		return c.setSpecs(func([]namedSpec) []namedSpec { return nil })
	}
	s, err := ParseSpec(spec)
	if err != nil {
		return err
	}
	return c.setSpecs(func([]namedSpec) []namedSpec { return []namedSpec{{spec, s}} })
}

// AddConnectionSpec says where to listen besides. Its errors are those of
// [Client.SetConnectionSpec].
func (c *Client) AddConnectionSpec(spec string) error {
	s, err := ParseSpec(spec)
	if err != nil {
		return err
	}
	return c.setSpecs(func(old []namedSpec) []namedSpec { return append(old, namedSpec{spec, s}) })
}

func (c *Client) setSpecs(change func(old []namedSpec) []namedSpec) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listeners != nil {
		return fmt.Errorf("%w: the connection spec cannot be changed", ErrRunning)
	}
	c.specs = change(c.specs)
	return nil
}

// ConnectionSpec returns the first connection spec, as it was given; empty if
// there is none. [Client.Addrs] says where the client listens in fact.
func (c *Client) ConnectionSpec() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.specs) == 0 {
		return ""
	}
	return c.specs[0].text
}

// SetListener gives the client a listener that is open already, say one inherited
// from systemd, in place of those given before, which stay open. It is served
// besides the connection specs. The client closes it at the end, but does nothing
// else to it: the mode and the removal of a unix socket are the giver's.
//
// A client that listens already does not serve it.
func (c *Client) SetListener(l net.Listener) { c.give(l, true) }

// AddListener is like [Client.SetListener] and keeps the listeners given before.
func (c *Client) AddListener(l net.Listener) { c.give(l, false) }

// Listener returns the first listener that the client was given; nil if there is
// none.
func (c *Client) Listener() net.Listener {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.given) == 0 {
		return nil
	}
	return c.given[0].Listener
}

func (c *Client) give(l net.Listener, replace bool) {
	given := &listener{Listener: l, addr: l.Addr()}
	c.mu.Lock()
	closed := c.closed
	if replace {
		c.given = nil
	}
	c.given = append(slices.Clip(c.given), given)
	c.mu.Unlock()
	if closed {
		c.closeAll([]*listener{given})
	}
}

// Addrs returns the addresses of the sockets that the client listens on, those of
// the connection specs first, in their order. It is empty before Listen.
// [SpecOf] turns one into a connection spec.
func (c *Client) Addrs() []net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	var addrs []net.Addr
	for _, l := range c.listeners {
		addrs = append(addrs, l.Addr())
	}
	return addrs
}

// NumberOfProcessingSessions returns how many connections are being served.
func (c *Client) NumberOfProcessingSessions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions)
}

func (c *Client) logger() *slog.Logger {
	if c.Logger != nil {
		return c.Logger
	}
	return slog.Default()
}

// report tells the OnError handlers of a fault, or the log if there is none. A
// panic is logged with its stack in any case.
func (c *Client) report(err error) { c.reportTo(c.logger(), err) }

func (c *Client) reportTo(logger *slog.Logger, err error) {
	var p *panicError
	isPanic := errors.As(err, &p)
	if isPanic {
		c.counters().Panics.Add(1)
	}
	c.mu.Lock()
	handlers, panics := c.failed, &c.panics
	if isPanic && !panics.allow() {
		c.mu.Unlock()
		return
	}
	unreported := panics.denied
	if isPanic {
		panics.denied = 0
	}
	c.mu.Unlock()
	switch {
	case isPanic:
		logger.Error(err.Error(), "stack", string(p.stack), "unreported", unreported)
	case len(handlers) == 0:
		logger.Error(err.Error())
	}
	for _, h := range handlers {
		if fault := protect(func() { h(err) }); fault != nil {
			c.counters().Panics.Add(1)
			logger.Error("panic in an OnError handler", "error", fault)
		}
	}
}
