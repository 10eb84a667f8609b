package client

import stdcontext "context"

// Shutdown ends the client in an orderly way: it closes the listeners, ends the
// sessions that are idle, and waits for the others, each of which ends after the
// mail transaction it is in; see [context.ClientContext.Shutdown]. It returns nil
// when all have ended.
//
// When ctx is done before that, Shutdown ends the rest as Close does and returns
// ctx.Err(). A handler that calls Shutdown waits for its own session, that is
// until ctx is done; it should call it in a goroutine.
func (c *Client) Shutdown(ctx stdcontext.Context) error {
	c.end()
	select {
	case <-c.drained:
		return nil
	default:
	}
	select {
	case <-c.drained:
		return nil
	case <-ctx.Done():
		c.endNow()
		return ctx.Err()
	}
}

// Close ends the client now: it closes the listeners and every connection. It
// does not wait for handlers that run; the standard context of their session is
// done. The error is always nil: what goes wrong goes to OnError.
func (c *Client) Close() error {
	c.end()
	c.endNow()
	return nil
}

// end begins the end. Only the first call does something.
func (c *Client) end() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	listeners := c.listeners
	if listeners == nil {
		listeners = c.given
	}
	if len(c.sessions) == 0 {
		close(c.drained)
	}
	sessions := c.live()
	c.freed.Broadcast()
	c.mu.Unlock()

	c.stopNow()
	c.closeAll(listeners)
	c.reserve.release()
	for _, s := range sessions {
		// In parallel: a session that is writing to a slow MTA may let us wait.
		go s.ctx.Shutdown()
	}
}

// endNow ends the sessions by force.
func (c *Client) endNow() {
	c.mu.Lock()
	sessions := c.live()
	c.mu.Unlock()
	c.forceNow()
	for _, s := range sessions {
		go func() {
			_ = s.ctx.Close()
			s.conn.HangUp()
			s.conn.Close()
		}()
	}
}

// live returns copies of the sessions. After end none of them changes.
func (c *Client) live() []session {
	live := make([]session, 0, len(c.sessions))
	for s := range c.sessions {
		live = append(live, *s)
	}
	return live
}
