package context

import (
	"fmt"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// Feed brings the session bytes as the MTA would send them, in any pieces, and
// returns when every event in them that can run has run. It is for sessions
// without a socket: tests and tools.
//
// A packet that has to wait for a late reply is kept; it is delivered by the
// goroutine whose reply lets it go on. While another goroutine delivers events,
// Feed leaves the bytes to it and returns at once. The error is the fault that
// ended the session, or ErrFinished when it has ended before.
func (ctx *ClientContext) Feed(p []byte) error {
	ctx.mu.Lock()
	switch {
	case ctx.finished || ctx.cause != nil && !ctx.fed:
		ctx.mu.Unlock()
		return ErrFinished
	case ctx.running && !ctx.fed:
		ctx.mu.Unlock()
		return fmt.Errorf("%w: Feed of a session with a socket", ErrInvalidState)
	}
	ctx.fed, ctx.held = true, true // held: there may be something left to do
	ctx.arrived = append(ctx.arrived, p...)
	ctx.mu.Unlock()

	ctx.drive()
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return endError(ctx.cause)
}

// drive delivers what Feed has brought and what a late reply has made possible:
// events that are pending, and packets that waited. With a socket, or while
// somebody delivers, there is nothing to do.
func (ctx *ClientContext) drive() {
	ctx.mu.Lock()
	for ctx.fed && !ctx.running && !ctx.finished && (len(ctx.arrived) > 0 || ctx.hasWork()) {
		ctx.running = true
		ctx.deliverLocked()
		ctx.running = false
	}
	ctx.mu.Unlock()
}

// deliver runs every event that can run, and the last ones when the session
// ends. Its caller has set running.
func (ctx *ClientContext) deliver() {
	ctx.mu.Lock()
	ctx.deliverLocked()
	ctx.mu.Unlock()
}

// deliverLocked is deliver with mu held, which is released while handlers run. So
// there is one lock for the end of an event and the beginning of the next. (It is
// never released by a defer: a handler may end its goroutine.)
func (ctx *ClientContext) deliverLocked() {
	for ctx.step() {
	}
	if ctx.cause != nil {
		ctx.finish()
	}
}

// step runs one event, and reports whether there may be more. mu is held.
func (ctx *ClientContext) step() bool {
	ctx.held = false
	if len(ctx.pending) > 0 {
		event := ctx.pending[0]
		ctx.pending = ctx.pending[:copy(ctx.pending, ctx.pending[1:])]
		ctx.mu.Unlock()
		event(ctx)
		ctx.mu.Lock()
		return true
	}
	if ctx.cause != nil {
		return false
	}
	if len(ctx.arrived) > 0 {
		_, _ = ctx.in.Write(ctx.arrived) // never fails
		ctx.batch = batch{}
		ctx.arrived = ctx.arrived[:0]
	}
	p, ok, err := ctx.in.Peek()
	command := protocol.Command(p.Letter)
	switch {
	case err != nil:
		ctx.end(fmt.Errorf("%w: %w", ErrProtocol, err))
		return false
	case !ok:
		return false
	}
	ctx.partialSince = none // the time of the next one counts from its own first byte
	switch {
	case ctx.owed != 0 && !neverWaits(command):
		ctx.held = true
		return false
	case ctx.inMessage && abortsFirst(command):
		ctx.abort()
		return true // the packet is looked at again: an abort may take its time
	}
	ctx.in.Discard(p)
	ctx.handle(command, p)
	return true
}

// neverWaits reports whether c is served while a reply is due.
func neverWaits(c protocol.Command) bool {
	return c == protocol.CommandAbort || c == protocol.CommandQuit || c == protocol.CommandQuitNewConnection
}

// abortsFirst reports whether c, in the middle of a message, ends it.
func abortsFirst(c protocol.Command) bool {
	switch c {
	case protocol.CommandHelo, protocol.CommandEnvelopeFrom, protocol.CommandAbort,
		protocol.CommandQuit, protocol.CommandQuitNewConnection:
		return true
	}
	return false
}

// handle serves one packet. mu is held.
func (ctx *ClientContext) handle(c protocol.Command, p protocol.Packet) {
	switch c {
	case protocol.CommandDefineMacro:
		ctx.handleDefineMacro(p)
		return
	case protocol.CommandAbort:
		ctx.forgetDecision()
		ctx.macros.clearAt(c) // also those whose command did not come any more
		ctx.announced = false
		ctx.endIfDrained()
		return
	case protocol.CommandQuit:
		ctx.setState(StateQuit)
		ctx.end(fmt.Errorf("%w: the MTA quit", ErrFinished))
		return
	}
	if d := ctx.decision; d != nil {
		if d.concerns(c, ctx.phase, ctx.option.Steps) {
			ctx.repeat(c, d)
			return
		}
		if c != protocol.CommandUnknown {
			ctx.forgetDecision()
		}
	}
	phase, ok := ctx.phase.after(c, ctx.option.Steps)
	if !ok {
		ctx.end(fmt.Errorf("%w: %v command in state %v (%d bytes)", ErrProtocol, c, ctx.state, len(p.Payload)))
		return
	}
	var event arrival
	if err := event.decode(p); err != nil {
		ctx.end(fmt.Errorf("%w: %w", ErrProtocol, err))
		return
	}
	if c == protocol.CommandQuitNewConnection {
		ctx.quitNewConnection()
		return
	}
	ctx.phase = phase
	if c == protocol.CommandNegotiate {
		ctx.negotiate(event.message.(protocol.Negotiate).Option)
		return
	}
	if commands[c].noReply&ctx.option.Steps&^ctx.handlers.deciding != 0 {
		ctx.look(c, &event)
		return
	}
	debt := ctx.begin(c, &event)
	if debt == 0 {
		return
	}
	status, err := ctx.emit(c, &event)
	if err != nil {
		ctx.payForPanic(c, debt, err)
		return
	}
	ctx.handled(c, debt, status)
}

// forgetDecision is called when nothing can come any more of a message that was
// decided.
func (ctx *ClientContext) forgetDecision() {
	if ctx.decision != nil {
		ctx.macros.clearStale()
	}
	ctx.decision = nil
	ctx.phase = min(ctx.phase, phaseHelo)
}

// emit runs the handlers of an event. mu is held, and released while they run.
func (ctx *ClientContext) emit(c protocol.Command, e *arrival) (protocol.Status, error) {
	handlers := ctx.handlers.of(commands[c].event)
	if len(handlers) == 0 {
		return protocol.StatusNotChange, nil
	}
	switch c {
	case protocol.CommandHeader:
		e.name, e.value = ctx.field(e)
	case protocol.CommandEnvelopeFrom, protocol.CommandEnvelopeRecipient:
		e.name, e.parameters = splitEnvelope(ctx.string(e), e.first)
	case protocol.CommandHelo, protocol.CommandUnknown:
		e.name = ctx.string(e)[:e.first]
	case protocol.CommandConnect:
		m := e.message.(protocol.Connect)
		e.name = m.Host
		e.addr, _ = m.Addr() // decode has checked it
	case protocol.CommandBody:
		return ctx.emitBody(handlers, e)
	case protocol.CommandEndOfMessage:
		if len(e.text) == 0 {
			e.text = nil
		}
	}
	return ctx.dispatch(handlers, e)
}

// begin enters the state of a command and lets a reply be due. It returns the
// number of the debt, or 0 when the command was answered already.
func (ctx *ClientContext) begin(c protocol.Command, e *arrival) uint64 {
	ctx.owe(c)
	ctx.enter(c, e)
	if c == protocol.CommandBody && ctx.skipBody {
		_ = ctx.pay(c, protocol.StatusContinue)
		return 0
	}
	return ctx.debt
}

// enter enters the state of a command and records what it brings.
func (ctx *ClientContext) enter(c protocol.Command, e *arrival) {
	of := &commands[c]
	ctx.state, ctx.lastState = of.state, of.state
	ctx.macros.clearAt(c)
	if of.inMail() && !ctx.inMessage {
		ctx.beginMessage()
	}
	switch c {
	case protocol.CommandEnvelopeFrom, protocol.CommandEnvelopeRecipient, protocol.CommandHeader:
		ctx.theMail().note(c, e.text)
	case protocol.CommandBody, protocol.CommandEndOfMessage:
		ctx.theMail().bodySize += int64(len(e.text))
	}
}

// holdsChunk reports whether the reply that is due is to a piece of body. Its
// handler should have copied it; for one that answers late and did not, it stays
// where it is.
func (ctx *ClientContext) holdsChunk() bool {
	return ctx.owed == protocol.CommandBody || ctx.owed == protocol.CommandEndOfMessage
}

// owe lets a reply to c be due.
func (ctx *ClientContext) owe(c protocol.Command) {
	ctx.owed, ctx.last = c, c
	ctx.debt++
	ctx.debtCause = nil
	ctx.smtp = reply.SMTP{}
	if c != protocol.CommandAbort {
		ctx.macros.settle()
	}
	ctx.startTimers(c)
}

// handleDefineMacro stores macros. They have no reply.
func (ctx *ClientContext) handleDefineMacro(p protocol.Packet) {
	listeners := len(ctx.handlers.of(eventDefineMacro)) > 0
	if len(p.Payload) > 0 {
		c := protocol.Command(p.Payload[0])
		if ctx.decision != nil && c == protocol.CommandEnvelopeFrom {
			ctx.forgetDecision() // a new message begins
		}
		if of := &commands[c]; of.hasMacros {
			if of.macros >= stageEnvelopeFrom && ctx.option.Steps.Has(option.StepNoEnvelopeFrom) {
				ctx.announced = true
			}
			ctx.macros.store(of.macros, p.Payload[1:])
		}
	}
	if len(p.Payload) > 0 && !listeners {
		return
	}
	var m protocol.DefineMacro
	if err := m.Decode(p.Payload); err != nil {
		ctx.end(fmt.Errorf("%w: %w", ErrProtocol, err))
		return
	}
	notify(ctx, eventDefineMacro, func(h func(*ClientContext, protocol.Command, []protocol.Macro)) { h(ctx, m.For, m.Macros) })
}

// abort ends a mail transaction that the milter has not answered. mu is held.
func (ctx *ClientContext) abort() {
	before := ctx.state
	ctx.void(errMessageEnded)
	ctx.setState(StateAbort)
	ctx.phase = phaseHelo
	report := ctx.endTransaction(before, protocol.StatusAbort)
	var debt uint64
	if ctx.cause == nil {
		ctx.owe(protocol.CommandAbort)
		debt = ctx.debt
	}

	status, err := ctx.dispatch(ctx.handlers.of(eventAbort), &arrival{state: before})
	ctx.mu.Unlock()
	report(ctx)
	if err != nil {
		ctx.panicked(err)
	}
	ctx.mu.Lock()
	if err == nil && debt != 0 && status != protocol.StatusProgress && ctx.debt == debt && ctx.owed == protocol.CommandAbort {
		_ = ctx.pay(protocol.CommandAbort, protocol.StatusAbort)
	}
}

// quitNewConnection ends this session and prepares the next one on the same
// connection, which begins with what was negotiated.
func (ctx *ClientContext) quitNewConnection() {
	next := NewSession(ctx.w, ctx.config, ctx.id)
	_, _ = next.in.Write(ctx.in.Bytes())
	next.option = ctx.option
	next.phase = phaseNegotiated
	next.setState(StateNegotiate)
	next.state = StateNegotiateReplied
	next.timeout, next.packetBufferSize, next.socketAddress = ctx.timeout, ctx.packetBufferSize, ctx.socketAddress
	ctx.next = next
	ctx.setState(StateQuit)
	ctx.end(fmt.Errorf("%w: the MTA quit and goes on with a new connection", ErrFinished))
}

// Next returns the session that follows on the same connection when the MTA has
// ended this one with quit-new-connection, and nil otherwise. It has no handlers
// yet; set it up and Serve it, or Feed it (with nil first, for what came in with
// the quit). It begins after the negotiation.
func (ctx *ClientContext) Next() *ClientContext {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.next
}
