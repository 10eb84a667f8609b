package context

import (
	"fmt"

	"github.com/milter-go/milter/internal/block"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// internalSteps are bits with which libmilter and Sendmail agree on larger
// packets; a milter never asks for them.
const internalSteps option.Step = 0x70000000

// A negotiation is what is on the table until the offer is answered.
type negotiation struct {
	offer    option.Option
	proposal option.Option         // what the handlers make of it
	macros   *option.MacroRequests // nil: none
}

// DefaultOption returns the answer to offer that the library gives by itself:
// every action; the events that have a handler (registration is subscription);
// no reply to the events that have only watchers; SKIP; nothing else, and
// nothing that was not offered. It is libmilter's rule. (Milter manager's client
// echoes the offer, which asks for no event.)
func (ctx *ClientContext) DefaultOption(offer option.Option) option.Option {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	return ctx.defaultOption(offer)
}

func (ctx *ClientContext) defaultOption(offer option.Option) option.Option {
	steps := option.StepSkip
	for e, c := range commandOf {
		of := &commands[c]
		switch {
		case len(ctx.handlers.of(event(e))) == 0:
			steps |= of.noEvent
		case ctx.handlers.deciding&of.noReply == 0:
			steps |= of.noReply
		}
	}
	return clamp(option.Option{Version: option.Version, Actions: option.AllActions, Steps: steps}, offer)
}

// clamp returns o without what was not offered.
func clamp(o, offer option.Option) option.Option {
	v := min(option.Version, offer.Version)
	return option.Option{
		Version: max(option.MinVersion, min(o.Version, v)),
		Actions: o.Actions & offer.Actions,
		Steps:   o.Steps & offer.Steps &^ internalSteps,
	}
}

// negotiate serves the MTA's offer. mu is held.
func (ctx *ClientContext) negotiate(offer option.Option) {
	if offer.Version < option.MinVersion {
		// libmilter closes without an answer, too.
		ctx.end(fmt.Errorf("%w: version %d was offered; %d is the oldest that is served", ErrProtocol, offer.Version, option.MinVersion))
		return
	}
	if offer.Actions == 0 {
		offer.Actions = option.DefaultActions
	}
	if offer.Steps == 0 {
		offer.Steps = option.DefaultSteps
	}
	n := &negotiation{offer: offer, proposal: offer}
	ctx.setState(StateNegotiate)
	ctx.macros.clearAt(protocol.CommandNegotiate)
	ctx.negotiation = n
	ctx.owe(protocol.CommandNegotiate)
	debt := ctx.debt

	status := protocol.StatusNotChange
	if len(ctx.handlers.of(eventNegotiate)) > 0 {
		var err error
		if status, err = ctx.emitNegotiate(n); err != nil {
			ctx.payForPanic(protocol.CommandNegotiate, debt, err)
			return
		}
	}
	ctx.handled(protocol.CommandNegotiate, debt, status)
}

// emitNegotiate runs the handlers. They work on copies: a late answer may come
// while they run.
func (ctx *ClientContext) emitNegotiate(n *negotiation) (protocol.Status, error) {
	proposal, macros := n.proposal, new(option.MacroRequests)
	status, err := ctx.dispatch(ctx.handlers.of(eventNegotiate), &arrival{proposal: &proposal, macros: macros})
	if ctx.negotiation == n && err == nil {
		n.proposal, n.macros = proposal, macros
	}
	return status, err
}

// payNegotiation answers the MTA's offer.
func (ctx *ClientContext) payNegotiation(status protocol.Status) error {
	n := ctx.negotiation
	if n == nil { // a state set by a test
		n = &negotiation{offer: option.All(), proposal: ctx.option}
	}
	var fault error
	var o option.Option
	switch status {
	case protocol.StatusReject, protocol.StatusTemporaryFailure:
		return ctx.refuse(status)
	case protocol.StatusContinue:
		o = clamp(n.proposal, n.offer)
	case protocol.StatusAccept, protocol.StatusDiscard:
		o = clamp(option.Option{Version: option.Version, Steps: option.NoEventSteps}, n.offer)
	default:
		fault = fmt.Errorf("%w: %v at negotiate; answered with all-options", ErrInvalidStatus, status)
		fallthrough
	case protocol.StatusDefault, protocol.StatusNotChange, protocol.StatusAllOptions:
		o = ctx.defaultOption(n.offer)
	}
	packet := n.answer(o).Append(block.Grow(nil, block.Small))
	err := ctx.write(packet)
	block.Put(packet)
	if err != nil {
		return err
	}
	ctx.option, ctx.negotiation = o, nil
	ctx.settle(protocol.CommandNegotiate, status)
	if status == protocol.StatusContinue {
		ctx.warnOfDeafHandlers()
	}
	if fault != nil {
		ctx.reportSoon(fault)
	}
	ctx.endIfDrained()
	return fault
}

// answer returns the answer with o.
func (n *negotiation) answer(o option.Option) reply.Negotiate {
	if n.macros == nil || !n.offer.Actions.Has(option.ActionSetSymbolList) {
		return reply.Negotiate{Option: o}
	}
	macros := *n.macros
	_, eom := macros.Get(option.MacroStageEndOfMessage)
	if _, eoh := macros.Get(option.MacroStageEndOfHeader); eom && !eoh {
		// Sendmail 8.17.1 honours the list for end-of-message only if there is one
		// for end-of-header (milter.c tests the wrong index).
		_ = macros.Set(option.MacroStageEndOfHeader)
	}
	return reply.Negotiate{Option: o, Macros: macros}
}

// refuse ends the session at its negotiation.
func (ctx *ClientContext) refuse(status protocol.Status) error {
	letter := protocol.ReplyReject
	if status == protocol.StatusTemporaryFailure {
		letter = protocol.ReplyTemporaryFailure
	}
	err := ctx.write(reply.Bare(letter).Append(ctx.small[:0]))
	if err == nil {
		ctx.negotiation = nil
		ctx.settle(protocol.CommandNegotiate, status)
		ctx.end(fmt.Errorf("%w: the milter refused the session with %v", ErrFinished, status))
	}
	return err
}

// warnOfDeafHandlers logs the handlers that an answer to the offer has switched
// off: a mail would pass them unseen.
func (ctx *ClientContext) warnOfDeafHandlers() {
	for e, c := range commandOf {
		if ctx.option.Steps&commands[c].noEvent != 0 && len(ctx.handlers.of(event(e))) > 0 {
			ctx.later(func(ctx *ClientContext) {
				ctx.Logger().Warn("milter: the event has a handler but was negotiated away", "event", c.String())
			})
		}
	}
}
