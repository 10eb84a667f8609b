package context

import (
	"github.com/milter-go/milter/protocol"
)

// A stage is a place for the macros of one command, in the order of the session.
type stage int

const (
	stageConnect stage = iota
	stageHelo
	stageEnvelopeFrom
	stageEnvelopeRecipient
	stageData
	stageEndOfHeader
	stageEndOfMessage
	numStages
)

// stageFor returns the stage whose macros come before command c. Macros for
// other commands (Postfix sends some before each header and body piece) are not
// stored, as in libmilter: they repeat what is known.
func stageFor(c protocol.Command) (stage, bool) {
	switch c {
	case protocol.CommandConnect:
		return stageConnect, true
	case protocol.CommandHelo:
		return stageHelo, true
	case protocol.CommandEnvelopeFrom:
		return stageEnvelopeFrom, true
	case protocol.CommandEnvelopeRecipient:
		return stageEnvelopeRecipient, true
	case protocol.CommandData:
		return stageData, true
	case protocol.CommandEndOfHeader:
		return stageEndOfHeader, true
	case protocol.CommandEndOfMessage:
		return stageEndOfMessage, true
	}
	return 0, false
}

// storeMacros replaces the macros of a stage. A list without any macro changes
// nothing, as in libmilter.
func (ctx *ClientContext) storeMacros(c protocol.Command, list protocol.MacroList) {
	s, ok := stageFor(c)
	if !ok {
		return
	}
	for range list.All() {
		ctx.macros[s] = append(ctx.macros[s][:0], list...)
		ctx.fresh[s] = true
		return
	}
}

// clearMacrosAt drops the macros that a command makes stale: connect those of
// helo and later, helo those of MAIL and later, MAIL those of RCPT and later,
// RCPT those of DATA and later, the negotiation all (libmilter engine.c). An abort
// drops those of MAIL and later, which libmilter keeps.
func (ctx *ClientContext) clearMacrosAt(c protocol.Command) {
	from := numStages
	switch c {
	case protocol.CommandNegotiate:
		from = stageConnect
	case protocol.CommandConnect:
		from = stageHelo
	case protocol.CommandHelo, protocol.CommandAbort:
		from = stageEnvelopeFrom
	case protocol.CommandEnvelopeFrom:
		from = stageEnvelopeRecipient
	case protocol.CommandEnvelopeRecipient:
		from = stageData
	}
	for s := from; s < numStages; s++ {
		ctx.macros[s] = ctx.macros[s][:0]
	}
}

// Macro returns the value of a macro that the MTA has defined, "" if it has not.
// The macros of later stages come before those of earlier ones. Braces around
// the name make no difference.
func (ctx *ClientContext) Macro(name string) string {
	value, _ := ctx.LookupMacro(name)
	return value
}

// LookupMacro is [ClientContext.Macro] that also says whether the macro is
// defined.
func (ctx *ClientContext) LookupMacro(name string) (value string, ok bool) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	for s := numStages - 1; s >= 0; s-- {
		if v, ok := protocol.MacroList(ctx.macros[s]).Get(name); ok {
			return string(v), true
		}
	}
	return "", false
}

// Macros returns the macros that the MTA defined for the current event, in its
// order and as it named them.
func (ctx *ClientContext) Macros() []protocol.Macro {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	s, ok := stageFor(ctx.last)
	if !ok {
		return nil
	}
	var macros []protocol.Macro
	for name, value := range protocol.MacroList(ctx.macros[s]).All() {
		macros = append(macros, protocol.Macro{Name: name, Value: string(value)})
	}
	return macros
}

// AvailableMacros returns all macros that are defined now, by their names without
// braces. Where several stages define one, the latest stage counts.
func (ctx *ClientContext) AvailableMacros() map[string]string {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	macros := make(map[string]string)
	for _, list := range ctx.macros {
		for name, value := range protocol.MacroList(list).All() {
			macros[protocol.MacroName(name)] = string(value)
		}
	}
	return macros
}
