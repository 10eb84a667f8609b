package client

import (
	stdcontext "context"
	"fmt"
	"net"
	"runtime/debug"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/internal/socket"
)

// A session is a connection that is served. One that follows another session on
// the same connection takes its place.
type session struct {
	conn *socket.Conn
	ctx  *context.ClientContext // guarded by Client.mu once the session is added
}

// ServeConn serves one connection and closes it. It returns when the session has
// ended: nil if the MTA ended it, by quit or by hanging up, or Shutdown did,
// otherwise the error that ended it. After Shutdown or Close the connection is
// closed and the error is ErrClosed. Neither Listen nor Run is needed.
func (c *Client) ServeConn(conn net.Conn) error {
	s := c.newSession(socket.Of(conn))
	if err := c.add(s, false); err != nil {
		s.refuse()
		return err
	}
	return c.serve(s)
}

func (c *Client) newSession(conn *socket.Conn) *session {
	c.prepare.Do(func() {
		c.each = c.Config
		if c.each.Parent == nil {
			c.each.Parent = stdcontext.Background()
		}
		c.each.Parent = stdcontext.WithValue(c.each.Parent, clientKey{}, c)
		if c.each.ProcessingSessions == nil {
			c.each.ProcessingSessions = c.NumberOfProcessingSessions
		}
		c.each.Counters = c.counters()
	})
	return &session{conn, context.NewSession(conn, &c.each, c.ids.Add(1))}
}

// refuse closes the connection of a session that is not added.
func (s *session) refuse() {
	abandon(s.ctx, s.conn)
	s.conn.Close()
}

// add makes s one of the sessions that are served; it may wait for room.
func (c *Client) add(s *session, wait bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for wait && c.full() {
		c.freed.Wait()
	}
	if c.closed {
		return ErrClosed
	}
	c.sessions[s] = struct{}{}
	c.total++
	return nil
}

// remove is the end of s.
func (c *Client) remove(s *session) {
	s.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s)
	c.freed.Broadcast()
	if c.closed && len(c.sessions) == 0 {
		close(c.drained)
	}
}

// follow lets ctx take the place of the session before it.
func (c *Client) follow(s *session, ctx *context.ClientContext) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	s.ctx = ctx
	return true
}

// serve runs a session, and those that follow it on the same connection.
func (c *Client) serve(s *session) error {
	established := false
	defer func() {
		if !established { // a handler may also end its goroutine
			c.remove(s)
		}
	}()
	if err := c.establish(s); err != nil {
		return err
	}
	established = true
	return c.run(s)
}

// run runs a session that is established, and those that follow it.
func (c *Client) run(s *session) (err error) {
	defer func() {
		if err != socket.ErrRest {
			c.remove(s)
		}
	}()
	for {
		switch err := s.ctx.Serve(s.conn); {
		case err == socket.ErrRest:
			go c.run(s)
			return err
		case err != nil:
			return err
		}
		next := s.ctx.Next()
		if next == nil {
			return nil
		}
		if !c.follow(s, next) {
			abandon(next, s.conn)
			return nil
		}
		if err := c.establish(s); err != nil {
			return err
		}
	}
}

// establish calls the OnConnectionEstablished handlers. If one panics, it ends the
// session.
func (c *Client) establish(s *session) error {
	ctx := s.ctx
	ctx.SetSocketAddress(s.conn.RemoteAddr())
	c.mu.Lock()
	handlers := c.established
	c.mu.Unlock()
	err := protect(func() {
		for _, h := range handlers {
			h(ctx)
		}
	})
	if err == nil {
		return nil
	}
	stack := err.(*panicError).stack
	err = fmt.Errorf("client: OnConnectionEstablished: %w", err)
	c.reportTo(ctx.Logger(), err)
	if c.PanicCrash {
		panic(fmt.Sprintf("%v\n\n%s", err, stack))
	}
	abandon(ctx, s.conn)
	return err
}

// abandon ends a session that is not served. Its OnFinished handlers run.
func abandon(ctx *context.ClientContext, conn net.Conn) {
	_ = ctx.Close()
	_ = ctx.Serve(conn)
}

// A panicError is a handler's panic.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("%v: %v", context.ErrPanic, e.value) }
func (e *panicError) Unwrap() error { return context.ErrPanic }

// protect calls f and returns its panic as a *panicError.
func protect(f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	f()
	return nil
}
