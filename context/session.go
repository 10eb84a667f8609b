package context

import (
	"fmt"
	"time"

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
	for {
		ctx.mu.Lock()
		work := len(ctx.arrived) > 0 || len(ctx.pending) > 0 || ctx.held && ctx.owed == 0 || ctx.cause != nil
		if !ctx.fed || ctx.running || ctx.finished || !work {
			ctx.mu.Unlock()
			return
		}
		ctx.running = true
		ctx.mu.Unlock()
		ctx.deliver()
		ctx.mu.Lock()
		ctx.running = false
		ctx.mu.Unlock()
	}
}

// deliver runs every event that can run, and the last ones when the session
// ends. Its caller has set running.
func (ctx *ClientContext) deliver() {
	for ctx.step() {
	}
	ctx.mu.Lock()
	ended := ctx.cause != nil
	ctx.mu.Unlock()
	if ended {
		ctx.finish()
	}
}

// step runs one event, and reports whether there may be more.
func (ctx *ClientContext) step() bool {
	ctx.mu.Lock()
	ctx.held = false
	if len(ctx.pending) > 0 {
		event := ctx.pending[0]
		ctx.pending = ctx.pending[1:]
		ctx.mu.Unlock()
		event()
		return true
	}
	if ctx.cause != nil {
		ctx.mu.Unlock()
		return false
	}
	if len(ctx.arrived) > 0 {
		_, _ = ctx.in.Write(ctx.arrived) // never fails
		ctx.arrived = ctx.arrived[:0]
	}
	p, ok, err := ctx.in.Peek()
	command := protocol.Command(p.Letter)
	if ok {
		ctx.partialSince = time.Time{} // the time of the next one counts from its own first byte
	}
	if ok && ctx.owed != 0 && !neverWaits(command) {
		ctx.held, ok = true, false
	}
	ctx.mu.Unlock()
	switch {
	case err != nil:
		ctx.fail(fmt.Errorf("%w: %w", ErrProtocol, err))
		return false
	case !ok:
		return false
	case ctx.abortsFirst(command):
		ctx.abort()
		return true // the packet is looked at again: an abort may take its time
	}
	_, _, _ = ctx.in.Next()
	ctx.handle(command, p)
	return true
}

// neverWaits reports whether c is served while a reply is due.
func neverWaits(c protocol.Command) bool {
	return c == protocol.CommandAbort || c == protocol.CommandQuit || c == protocol.CommandQuitNewConnection
}

// abortsFirst reports whether c comes in the middle of a message and ends it.
func (ctx *ClientContext) abortsFirst(c protocol.Command) bool {
	switch c {
	case protocol.CommandHelo, protocol.CommandEnvelopeFrom, protocol.CommandAbort,
		protocol.CommandQuit, protocol.CommandQuitNewConnection:
		ctx.mu.Lock()
		defer ctx.mu.Unlock()
		return ctx.inMessage
	}
	return false
}

// handle serves one packet.
func (ctx *ClientContext) handle(c protocol.Command, p protocol.Packet) {
	switch c {
	case protocol.CommandDefineMacro:
		ctx.handleDefineMacro(p)
		return
	case protocol.CommandAbort:
		ctx.forgetDecision()
		ctx.mu.Lock()
		ctx.clearMacrosAt(c) // also those whose command did not come any more
		ctx.announced = false
		ctx.endIfDrained()
		ctx.mu.Unlock()
		return
	case protocol.CommandQuit:
		ctx.mu.Lock()
		ctx.setState(StateQuit)
		ctx.end(fmt.Errorf("%w: the MTA quit", ErrFinished))
		ctx.mu.Unlock()
		return
	}
	ctx.mu.Lock()
	steps, state, decided := ctx.option.Steps, ctx.state, ctx.decision
	ctx.mu.Unlock()
	if decided != nil {
		if decided.concerns(c, ctx.phase, steps) {
			ctx.repeat(c, decided)
			return
		}
		if c != protocol.CommandUnknown {
			ctx.forgetDecision()
		}
	}
	phase, ok := ctx.phase.after(c, steps)
	if !ok {
		ctx.fail(fmt.Errorf("%w: %v command in state %v (%d bytes)", ErrProtocol, c, state, len(p.Payload)))
		return
	}
	message, err := protocol.Decode(p)
	if err != nil {
		ctx.fail(fmt.Errorf("%w: %w", ErrProtocol, err))
		return
	}
	if c == protocol.CommandQuitNewConnection {
		ctx.quitNewConnection()
		return
	}
	ctx.phase = phase
	if m, ok := message.(protocol.Negotiate); ok {
		ctx.negotiate(m.Option)
		return
	}
	debt := ctx.begin(message)
	if debt == 0 {
		return
	}
	status, err := ctx.emit(message)
	if err != nil {
		ctx.payForPanic(c, debt, err)
		return
	}
	ctx.handled(c, debt, status)
}

// forgetDecision is called when nothing can come any more of a message that was
// decided.
func (ctx *ClientContext) forgetDecision() {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.decision = nil
	ctx.phase = min(ctx.phase, phaseHelo)
}

// emit runs the handlers of an event.
func (ctx *ClientContext) emit(message protocol.Message) (protocol.Status, error) {
	switch m := message.(type) {
	case protocol.Connect:
		addr, _ := m.Addr() // Decode has checked it
		return dispatch(ctx, &ctx.handlers.connect, func(h connectFunc) protocol.Status { return h(ctx, m.Host, addr) })
	case protocol.Helo:
		return dispatch(ctx, &ctx.handlers.helo, func(h stringFunc) protocol.Status { return h(ctx, m.Name) })
	case protocol.EnvelopeFrom:
		return dispatch(ctx, &ctx.handlers.envelopeFrom, func(h envelopeFunc) protocol.Status { return h(ctx, m.Path, m.Parameters) })
	case protocol.EnvelopeRecipient:
		return dispatch(ctx, &ctx.handlers.envelopeRecipient, func(h envelopeFunc) protocol.Status { return h(ctx, m.Path, m.Parameters) })
	case protocol.Unknown:
		return dispatch(ctx, &ctx.handlers.unknown, func(h stringFunc) protocol.Status { return h(ctx, m.Line) })
	case protocol.Header:
		return dispatch(ctx, &ctx.handlers.header, func(h headerFunc) protocol.Status { return h(ctx, m.Name, m.Value) })
	case protocol.Body:
		return dispatch(ctx, &ctx.handlers.body, func(h chunkFunc) protocol.Status { return h(ctx, m.Chunk) })
	case protocol.EndOfMessage:
		var chunk []byte
		if len(m.Chunk) > 0 {
			chunk = m.Chunk
		}
		return dispatch(ctx, &ctx.handlers.endOfMessage, func(h chunkFunc) protocol.Status { return h(ctx, chunk) })
	case protocol.Bare:
		e := &ctx.handlers.data
		if m.Command() == protocol.CommandEndOfHeader {
			e = &ctx.handlers.endOfHeader
		}
		return dispatch(ctx, e, func(h plainFunc) protocol.Status { return h(ctx) })
	}
	return protocol.StatusDefault, nil
}

// begin enters the state of a command and lets a reply be due. It returns the
// number of the debt, or 0 when the command was answered already.
func (ctx *ClientContext) begin(message protocol.Message) uint64 {
	c := message.Command()
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if ctx.cause != nil {
		return 0
	}
	ctx.setState(stateOf(c))
	ctx.owe(c)
	ctx.clearMacrosAt(c)
	if _, ok := messagePhase(c); ok && !ctx.inMessage {
		ctx.beginMessage()
	}
	switch m := message.(type) {
	case protocol.EnvelopeFrom:
		ctx.result.From, ctx.result.FromParameters = m.Path, m.Parameters
	case protocol.EnvelopeRecipient:
		ctx.recipient = m.Path
	case protocol.Header:
		ctx.result.Headers = append(ctx.result.Headers, m)
	case protocol.Body:
		ctx.result.BodySize += int64(len(m.Chunk))
		if ctx.skipBody {
			_ = ctx.pay(c, protocol.StatusContinue)
			return 0
		}
	case protocol.EndOfMessage:
		ctx.result.BodySize += int64(len(m.Chunk))
	}
	return ctx.debt
}

// owe lets a reply to c be due.
func (ctx *ClientContext) owe(c protocol.Command) {
	ctx.owed, ctx.last = c, c
	ctx.debt++
	ctx.smtp = reply.SMTP{}
	if c != protocol.CommandAbort {
		ctx.fresh = [numStages]bool{}
	}
	ctx.startTimers(c)
}

// handleDefineMacro stores macros. They have no reply.
func (ctx *ClientContext) handleDefineMacro(p protocol.Packet) {
	var m protocol.DefineMacro
	ctx.mu.Lock()
	listeners := len(ctx.handlers.defineMacro) > 0
	if len(p.Payload) > 0 {
		if ctx.decision != nil && protocol.Command(p.Payload[0]) == protocol.CommandEnvelopeFrom {
			ctx.decision, ctx.phase = nil, phaseHelo // a new message begins
		}
		if s, ok := stageFor(protocol.Command(p.Payload[0])); ok && s >= stageEnvelopeFrom && ctx.option.Steps.Has(option.StepNoEnvelopeFrom) {
			ctx.announced = true
		}
		ctx.storeMacros(protocol.Command(p.Payload[0]), p.Payload[1:])
	}
	ctx.mu.Unlock()
	if len(p.Payload) > 0 && !listeners {
		return
	}
	if err := m.Decode(p.Payload); err != nil {
		ctx.fail(fmt.Errorf("%w: %w", ErrProtocol, err))
		return
	}
	notify(ctx, &ctx.handlers.defineMacro, func(h func(*ClientContext, protocol.Command, []protocol.Macro)) { h(ctx, m.For, m.Macros) })
}

// abort ends a mail transaction that the milter has not answered.
func (ctx *ClientContext) abort() {
	ctx.mu.Lock()
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
	ctx.mu.Unlock()

	status, err := dispatch(ctx, &ctx.handlers.abort, func(h abortFunc) protocol.Status { return h(ctx, before) })
	report()
	if err != nil {
		ctx.panicked(err)
		return
	}
	if debt != 0 && status != protocol.StatusProgress {
		ctx.mu.Lock()
		if ctx.debt == debt && ctx.owed == protocol.CommandAbort {
			_ = ctx.pay(protocol.CommandAbort, protocol.StatusAbort)
		}
		ctx.mu.Unlock()
	}
}

// quitNewConnection ends this session and prepares the next one on the same
// connection, which begins with what was negotiated.
func (ctx *ClientContext) quitNewConnection() {
	next := New(ctx.w, ctx.config)
	_, _ = next.in.Write(ctx.in.Bytes())
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
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

// noReplyStep returns the step by which the MTA awaits no reply to c.
func noReplyStep(c protocol.Command) option.Step {
	switch c {
	case protocol.CommandConnect:
		return option.StepNoReplyConnect
	case protocol.CommandHelo:
		return option.StepNoReplyHelo
	case protocol.CommandEnvelopeFrom:
		return option.StepNoReplyEnvelopeFrom
	case protocol.CommandEnvelopeRecipient:
		return option.StepNoReplyEnvelopeRecipient
	case protocol.CommandData:
		return option.StepNoReplyData
	case protocol.CommandUnknown:
		return option.StepNoReplyUnknown
	case protocol.CommandHeader:
		return option.StepNoReplyHeader
	case protocol.CommandEndOfHeader:
		return option.StepNoReplyEndOfHeader
	case protocol.CommandBody:
		return option.StepNoReplyBody
	}
	return 0
}
