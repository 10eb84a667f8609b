package context

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"reflect"
	"sync"
	"syscall"
	"time"

	"github.com/milter-go/milter/internal/socket"
)

// Serve runs the session on conn until it ends, and returns when the last handler
// has returned. It does not close conn. The error is nil when the session ended
// by the MTA (quit, or a hang-up, which OnAbort and the session's cause tell of)
// or by Shutdown; else it is the session's cause.
//
// One goroutine, the caller's, reads and runs the handlers. conn must be the
// writer the session was made with. Serve may be called once. If the session was
// closed before, Serve runs its last events and returns.
//
// A *net.TCPConn or *net.UnixConn is served without a buffer while it waits; other
// connections, TLS for one, keep one.
func (ctx *ClientContext) Serve(conn net.Conn) error {
	sock := socket.Of(conn)
	ctx.mu.Lock()
	switch {
	case ctx.resting:
		ctx.resting = false
	case ctx.running || ctx.fed || ctx.finished:
		ctx.mu.Unlock()
		return fmt.Errorf("%w: Serve of a session that runs or has run", ErrInvalidState)
	default:
		ctx.running = true
		ctx.started = time.Now()
		ctx.writesToConn = same(ctx.w, conn)
		ctx.conn.Store(sock)
	}
	ctx.mu.Unlock()

	ctx.deliver()
	if !ctx.isFinished() {
		sock.Serve(&ctx.in, (*reader)(ctx))
	}
	ctx.in.Release()
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if ctx.resting {
		return socket.ErrRest
	}
	return endError(ctx.cause)
}

// same reports whether w is conn. Connections that cannot be compared, structs with
// slices say, count as different.
func same(w io.Writer, conn net.Conn) bool {
	return reflect.TypeOf(w) == reflect.TypeOf(conn) && reflect.ValueOf(conn).Comparable() && w == io.Writer(conn)
}

func (ctx *ClientContext) isFinished() bool {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.finished
}

// A reader is the session as its connection sees it.
type reader ClientContext

// How long a wait may be that nobody has looked before, see [socket.Session].
const (
	recheckInMail = time.Second
	// Between mails, a look is also when a session comes to rest: the sooner, the
	// less memory many new sessions take.
	recheckBetween = 100 * time.Millisecond
)

// Wait prepares a wait for bytes from the MTA, for its hang-up, for a timeout, or
// for a kick.
func (r *reader) Wait(unsure bool) bool {
	ctx := (*ClientContext)(r)
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if ctx.hasWork() {
		return false
	}
	now := ctx.now()
	if ctx.heard {
		ctx.heard = false
		ctx.lastActivity = now
	}
	switch {
	case ctx.in.Len() == 0 || ctx.held:
		ctx.partialSince = none
	case ctx.partialSince == none:
		ctx.partialSince = now
	}
	at, _ := ctx.deadline()
	if unsure && ctx.inMessage {
		at = min(at, now+recheckInMail)
	} else if unsure {
		at = min(at, now+recheckBetween)
	}
	ctx.arm(at)
	ctx.reading = true
	ctx.batch = batch{}
	if !ctx.holdsChunk() {
		ctx.in.Release()
	}
	return true
}

// maxHeld is how many bytes are read while a packet waits for a late reply.
const maxHeld = 64 << 10

// hasWork reports whether there is something to deliver, so that a wait must not
// begin.
func (ctx *ClientContext) hasWork() bool {
	return len(ctx.pending) > 0 || ctx.cause != nil || ctx.held && ctx.owed == 0
}

// Received takes note of what came, and delivers the events in it.
func (r *reader) Received(n int, err error) socket.Next {
	ctx := (*ClientContext)(r)
	ctx.mu.Lock()
	ctx.reading = false
	switch {
	case n > 0: // what came counts first; the error comes again
		ctx.heard = true
		ctx.batch = batch{}
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		ctx.deadlinePassed()
		ctx.resting = ctx.canRest()
	case isHangUp(err):
		ctx.end(fmt.Errorf("%w: the MTA hung up: %w", ErrFinished, err))
	default:
		ctx.end(fmt.Errorf("context: reading a command: %w", err))
	}
	ctx.deliverLocked()
	for ctx.held && ctx.in.Len() >= maxHeld {
		// Enough waits for a late reply; TCP makes the MTA wait. The price is that
		// a hang-up is noticed only at the next write.
		if ctx.wake == nil {
			ctx.wake = sync.NewCond(&ctx.mu)
		}
		for !ctx.hasWork() {
			ctx.wake.Wait()
		}
		ctx.deliverLocked()
	}
	next := socket.Read
	switch {
	case ctx.finished || ctx.resting:
		next = socket.Stop
	case ctx.owed != 0:
		next = socket.Await
	}
	ctx.mu.Unlock()
	return next
}

// canRest reports whether the session is idle, see [socket.ErrRest].
func (ctx *ClientContext) canRest() bool {
	return ctx.conn.Load().Owned() && !ctx.hasWork() && ctx.owed == 0 && !ctx.inMessage && ctx.in.Len() == 0
}

// isHangUp reports whether err says that the other side has gone. Which of these
// a peer causes depends on the moment, not on its intent.
func isHangUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// pastDeadline is a deadline that ends a read or write at once.
var pastDeadline = time.Unix(1, 0)

// kick makes the goroutine that delivers events look up from its read.
func (ctx *ClientContext) kick() {
	if ctx.wake != nil {
		ctx.wake.Signal()
	}
	if conn := ctx.conn.Load(); conn != nil && ctx.reading {
		ctx.armed = kickedAt
		_ = conn.SetReadDeadline(pastDeadline)
	}
}

// now returns the time since Serve was called.
func (ctx *ClientContext) now() time.Duration { return time.Since(ctx.started) }

const (
	never    time.Duration = math.MaxInt64 // a time after all others
	kickedAt time.Duration = -1            // stands for pastDeadline
	none     time.Duration = -2            // no packet has begun
)

// deadline returns when the MTA will have been silent for too long, and for how
// long that is.
func (ctx *ClientContext) deadline() (at, d time.Duration) {
	if ctx.owed != 0 {
		return never, 0 // it is our turn
	}
	at = never
	if ctx.timeout > 0 {
		at, d = after(ctx.lastActivity, ctx.timeout), ctx.timeout
	}
	if p := ctx.config.PacketTimeout; p > 0 && (ctx.partialSince != none || ctx.state == StateStart) {
		since := ctx.partialSince
		if ctx.state == StateStart {
			since = 0
		}
		if packet := after(since, p); packet < at {
			at, d = packet, p
		}
	}
	return at, d
}

// after returns t+d, or never when that is too large.
func after(t, d time.Duration) time.Duration {
	if d > never-t {
		return never
	}
	return t + d
}

// arm makes sure that a read ends no later than at. It may end earlier: then
// deadlinePassed sees that it is not time yet. So there is hardly ever a deadline
// to be set anew.
func (ctx *ClientContext) arm(at time.Duration) {
	kicked := ctx.armed == kickedAt
	if kicked && ctx.reading {
		return // not taken notice of yet
	}
	if conn := ctx.conn.Load(); conn != nil && (kicked || at < ctx.armed) {
		ctx.setDeadline(conn, at)
	}
}

func (ctx *ClientContext) setDeadline(conn *socket.Conn, at time.Duration) {
	ctx.armed = at
	var deadline time.Time
	if at != never {
		deadline = ctx.started.Add(at)
	}
	_ = conn.SetReadDeadline(deadline)
}

// deadlinePassed ends the session if the MTA was silent for too long.
func (ctx *ClientContext) deadlinePassed() {
	at, d := ctx.deadline()
	if ctx.now() >= at {
		ctx.end(fmt.Errorf("%w: the MTA was silent for %v in state %v", ErrTimeout, d, ctx.state))
		return
	}
	ctx.setDeadline(ctx.conn.Load(), at)
}

// active notes that a reply has been sent and it is the MTA's turn.
func (ctx *ClientContext) active() {
	ctx.heard = true
	if !ctx.reading {
		return // the next wait begins the MTA's time
	}
	ctx.lastActivity = ctx.now()
	if ctx.partialSince != none {
		ctx.partialSince = ctx.lastActivity // its time begins with the MTA's turn
	}
	at, _ := ctx.deadline()
	ctx.arm(at)
}
