package context

import (
	"net"
	"slices"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// An event is what handlers are registered for.
type event uint8

const (
	eventNegotiate event = iota
	eventConnect
	eventHelo
	eventEnvelopeFrom
	eventEnvelopeRecipient
	eventData
	eventUnknown
	eventHeader
	eventEndOfHeader
	eventBody
	eventEndOfMessage
	eventAbort
	eventDefineMacro
	eventMessageProcessed
	eventTimeout
	eventError
	eventFinished
	numEvents
)

// commandOf has the commands of the events that are commands.
var commandOf = [numEvents]protocol.Command{
	eventNegotiate:         protocol.CommandNegotiate,
	eventConnect:           protocol.CommandConnect,
	eventHelo:              protocol.CommandHelo,
	eventEnvelopeFrom:      protocol.CommandEnvelopeFrom,
	eventEnvelopeRecipient: protocol.CommandEnvelopeRecipient,
	eventData:              protocol.CommandData,
	eventUnknown:           protocol.CommandUnknown,
	eventHeader:            protocol.CommandHeader,
	eventEndOfHeader:       protocol.CommandEndOfHeader,
	eventBody:              protocol.CommandBody,
	eventEndOfMessage:      protocol.CommandEndOfMessage,
	eventAbort:             protocol.CommandAbort,
}

// The types of the handlers that return a status; the methods spell them out.
type (
	negotiateFunc = func(*ClientContext, *option.Option, *option.MacroRequests) protocol.Status
	plainFunc     = func(*ClientContext) protocol.Status
	connectFunc   = func(*ClientContext, string, net.Addr) protocol.Status
	stringFunc    = func(*ClientContext, string) protocol.Status
	envelopeFunc  = func(*ClientContext, string, protocol.Parameters) protocol.Status
	headerFunc    = func(*ClientContext, string, string) protocol.Status
	chunkFunc     = func(*ClientContext, []byte) protocol.Status
	abortFunc     = func(*ClientContext, State) protocol.Status
)

// The types of those that only look.
type (
	plainWatch    = func(*ClientContext)
	connectWatch  = func(*ClientContext, string, net.Addr)
	stringWatch   = func(*ClientContext, string)
	envelopeWatch = func(*ClientContext, string, protocol.Parameters)
	headerWatch   = func(*ClientContext, string, string)
	chunkWatch    = func(*ClientContext, []byte)
)

// handlers has the functions for all events in one list, for there may be many
// sessions: those of an event side by side, in the order they were registered.
type handlers struct {
	list []any
	end  [numEvents]uint16 // where those of an event end in list

	deciding option.Step // the no-reply steps of the events that have a handler which is no watcher
}

// usualHandlers is how many handlers there is room for at first.
const usualHandlers = 12

// of returns the functions for an event.
func (h *handlers) of(e event) []any {
	if e == 0 {
		return h.list[:h.end[0]]
	}
	return h.list[h.end[e-1]:h.end[e]]
}

// register adds a function to those of an event.
func (ctx *ClientContext) register(e event, f any) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	h := &ctx.handlers
	if len(h.list) == 1<<16-1 {
		panic("context: more than 65535 handlers in one session")
	}
	switch {
	case h.list == nil:
		h.list = make([]any, 0, usualHandlers)
	case ctx.running: // handlers of the list may be running
		h.list = slices.Clone(h.list)
	}
	h.list = slices.Insert(h.list, int(h.end[e]), f)
	if decides(f) {
		h.deciding |= commands[commandOf[e]].noReply
	}
	for ; e < numEvents; e++ {
		h.end[e]++
	}
}

// decides reports whether a handler is asked, and does not only look.
func decides(f any) bool {
	switch f.(type) {
	case plainWatch, connectWatch, stringWatch, envelopeWatch, headerWatch, chunkWatch:
		return false
	}
	return true
}

// call calls a handler with what has come. One that only looks changes nothing.
func (e *arrival) call(ctx *ClientContext, f any) protocol.Status {
	switch f := f.(type) {
	case headerFunc:
		return f(ctx, e.name, e.value)
	case headerWatch:
		f(ctx, e.name, e.value)
	case plainFunc:
		return f(ctx)
	case plainWatch:
		f(ctx)
	case chunkFunc:
		return f(ctx, e.text)
	case chunkWatch:
		f(ctx, e.text)
	case envelopeFunc:
		return f(ctx, e.name, e.parameters)
	case envelopeWatch:
		f(ctx, e.name, e.parameters)
	case stringFunc:
		return f(ctx, e.name)
	case stringWatch:
		f(ctx, e.name)
	case connectFunc:
		return f(ctx, e.name, e.addr)
	case connectWatch:
		f(ctx, e.name, e.addr)
	case negotiateFunc:
		return f(ctx, e.proposal, e.macros)
	case abortFunc:
		return f(ctx, e.state)
	}
	return protocol.StatusNotChange
}
