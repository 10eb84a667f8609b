package client

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/milter-go/milter/internal/socket"
)

const (
	// How long accept rests after a fault that can pass: as in net/http, twice as
	// long after each fault in a row.
	minAcceptDelay = 5 * time.Millisecond
	maxAcceptDelay = time.Second
	// How often a lasting fault of accept is reported, and a lasting limit logged.
	faultInterval = time.Second
	limitInterval = time.Minute
	// How long Run waits for handlers of sessions that were ended by force.
	forcedGrace = time.Second
)

// errFull says that a connection is to be refused.
var errFull = errors.New("client: at the limit of connections")

// Run serves what [Client.Listen] has bound, which it does itself if need be, and
// returns when the client has ended: nil after Shutdown or Close, otherwise an
// error. That is an error of Listen, after which Run may be called again, or one
// of a listener that is broken for good, which ends the client as Shutdown does.
// A second Run at the same time returns ErrRunning.
//
// Run returns after the last session, so that a program whose main function ends
// with Run cuts nothing off. Only when sessions were ended by force, by Close or
// by a Shutdown that ran out of time, it waits no longer than a second for the
// handlers that still run.
func (c *Client) Run() error {
	c.mu.Lock()
	if c.running {
		c.mu.Unlock()
		return ErrRunning
	}
	c.running = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.running = false
		c.mu.Unlock()
	}()

	if err := c.Listen(); err != nil && !errors.Is(err, ErrClosed) {
		return err
	}
	c.mu.Lock()
	listeners := c.listeners
	c.mu.Unlock()
	results := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { results <- c.accept(l) }()
	}
	var fault error
	for range listeners {
		if err := <-results; err != nil && fault == nil {
			fault = err
			c.end()
		}
	}
	c.refusals.running.Wait() // the end has closed them
	c.awaitSessions()
	return fault
}

// ListenAndServe listens on spec only, see [Client.SetConnectionSpec], and runs
// the client, see [Client.Run].
func (c *Client) ListenAndServe(spec string) error {
	if err := c.SetConnectionSpec(spec); err != nil {
		return err
	}
	return c.Run()
}

// awaitSessions waits for the end of the last session.
func (c *Client) awaitSessions() {
	select {
	case <-c.drained:
		return
	case <-c.forced.Done():
	}
	grace := time.NewTimer(forcedGrace)
	defer grace.Stop()
	select {
	case <-c.drained:
	case <-grace.C:
		c.logger().Warn("not waiting for handlers that still run", "sessions", c.NumberOfProcessingSessions())
	}
}

// accept serves one listener until the client ends, then its result is nil, or
// until the listener is broken.
func (c *Client) accept(l *listener) error {
	var delay time.Duration
	dropped := 0 // connections since the last report
	faults := throttle{interval: faultInterval}
	limits := throttle{interval: limitInterval}
	for c.awaitRoom(&limits) {
		conn, err := l.Accept()
		switch {
		case err == nil:
			if delay > 0 {
				delay = 0
				c.reserve.take()
			}
			c.start(l.wrap(conn), &limits)
			continue
		case c.stop.Err() != nil:
			return nil
		}
		err = fmt.Errorf("client: cannot accept on %q: %w", SpecOf(l.Addr()), shorten(err))
		if !canPass(err) {
			return err
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			n := c.reserve.spend(l.Listener)
			c.refusals.total.Add(uint64(n))
			dropped += n
		}
		delay = min(max(2*delay, minAcceptDelay), maxAcceptDelay)
		if faults.allow() {
			if dropped > 0 {
				err = fmt.Errorf("%w; waiting connections that were closed: %d", err, dropped)
				dropped = 0
			}
			c.report(err)
		}
		select {
		case <-time.After(delay):
		case <-c.stop.Done():
		}
	}
	return nil
}

// awaitRoom waits until fewer than MaxConnections are served, unless what comes
// above that is refused. It returns false when the client ends.
func (c *Client) awaitRoom(limits *throttle) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.RefuseAtLimit {
		return !c.closed
	}
	if c.full() && limits.allow() {
		c.mu.Unlock()
		c.logger().Warn("at the limit of connections; new ones wait", slog.Int("limit", c.MaxConnections))
		c.mu.Lock()
	}
	for c.full() {
		c.freed.Wait()
	}
	return !c.closed
}

// full reports whether there is no room for a new connection.
func (c *Client) full() bool {
	return !c.closed && c.MaxConnections > 0 && len(c.sessions) >= c.MaxConnections
}

// start serves a connection in a goroutine of its own, or refuses it.
func (c *Client) start(conn *socket.Conn, limits *throttle) {
	s, err := c.admit(conn)
	switch {
	case err == nil:
		go c.serve(s)
	case s != nil:
		s.refuse()
	default:
		if limits.allow() {
			c.logger().Warn("at the limit of connections; new ones are refused", slog.Int("limit", c.MaxConnections))
		}
		c.refuse(conn)
	}
}

// admit makes a session of a connection as soon as there is room: another listener
// may have been quicker to use the last place. If connections are not to wait, it
// returns no session and errFull at once.
func (c *Client) admit(conn *socket.Conn) (*session, error) {
	if !c.RefuseAtLimit {
		s := c.newSession(conn)
		return s, c.add(s, true)
	}
	c.admission.Lock()
	defer c.admission.Unlock()
	c.mu.Lock()
	full := c.full()
	c.mu.Unlock()
	if full {
		return nil, errFull
	}
	s := c.newSession(conn)
	return s, c.add(s, false)
}

// canPass reports whether accept may work again after err: when the system is
// short of something, or when it was the new connection that failed, whose error
// Linux passes on (accept(2), error handling).
func canPass(err error) bool {
	for _, passing := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR, syscall.EAGAIN, syscall.EPERM,
		syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EOPNOTSUPP,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// A throttle allows something once per interval.
type throttle struct {
	interval time.Duration
	last     time.Time
	denied   int // since the last time
}

func (t *throttle) allow() bool {
	now := time.Now()
	if !t.last.IsZero() && now.Sub(t.last) < t.interval {
		t.denied++
		return false
	}
	t.last = now
	return true
}
