package context

import "github.com/milter-go/milter/protocol"

// look serves a command that the MTA awaits no reply to, and that nobody decides
// about. So nothing is due.
func (ctx *ClientContext) look(c protocol.Command, e *arrival) {
	ctx.last = c
	ctx.macros.settle()
	ctx.enter(c, e)
	if _, err := ctx.emit(c, e); err != nil {
		ctx.payForPanic(c, ctx.debt, err)
		return
	}
	if ctx.cause != nil {
		return
	}
	if c == protocol.CommandHeader {
		if ctx.lookOn(e); ctx.cause != nil {
			return
		}
	}
	ctx.answered(c, protocol.StatusNotChange)
	ctx.endIfDrained()
}

// lookOn goes on with the header fields that have come in a row with one that was
// looked at. They are most of what a mail consists of, and of all that its callers
// ask and do little is left for the next one. Whatever else there is to do, and
// whatever is wrong, is left to step.
func (ctx *ClientContext) lookOn(e *arrival) {
	watchers, registered := ctx.handlers.of(eventHeader), len(ctx.handlers.list)
	m, calling := ctx.mail, false
	defer func() {
		var err error
		if calling {
			if err = recovered(recover()); err == nil {
				return // it has ended its goroutine, and mu is not held
			}
			ctx.mu.Lock()
		}
		m.endRun()
		if err != nil {
			ctx.payForPanic(protocol.CommandHeader, ctx.debt, err)
		}
	}()
	for len(ctx.pending) == 0 && ctx.owed == 0 && len(ctx.handlers.list) == registered {
		p, ok, _ := ctx.in.Peek()
		if !ok || p.Letter != byte(protocol.CommandHeader) || !e.isHeader(p.Payload) || len(e.text) < e.size || !m.goOn(ctx.in.Bytes(), p) {
			break
		}
		ctx.in.Discard(p)
		if len(watchers) == 0 {
			continue
		}
		ctx.state, ctx.lastState, ctx.status = StateHeader, StateHeader, protocol.StatusNotChange
		name, value := ctx.field(e)
		calling = true
		ctx.mu.Unlock()
		for _, f := range watchers {
			f.(headerWatch)(ctx, name, value)
		}
		ctx.mu.Lock()
		calling = false
		if ctx.cause != nil {
			break
		}
	}
}
