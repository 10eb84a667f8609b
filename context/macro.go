package context

import (
	"bytes"
	"slices"

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

// A macroStore has the macros of all stages, as they came, one stage behind the
// other.
type macroStore struct {
	text  []byte
	end   [numStages]int32 // where a stage's macros end in text
	fresh uint8            // a bit for each stage whose macros were defined since the last command
}

// bounds returns where the macros of a stage are in text.
func (m *macroStore) bounds(s stage) (start, end int) {
	if s > 0 {
		start = int(m.end[s-1])
	}
	return start, int(m.end[s])
}

// at returns the macros of a stage.
func (m *macroStore) at(s stage) protocol.MacroList {
	start, end := m.bounds(s)
	return protocol.MacroList(m.text[start:end])
}

// replace puts list in the place of a stage's macros.
func (m *macroStore) replace(s stage, list []byte) {
	start, end := m.bounds(s)
	if end == len(m.text) { // as a rule: stages come one after the other
		m.text = append(m.text[:start], list...)
	} else {
		m.text = slices.Replace(m.text, start, end, list...)
	}
	more := int32(len(list) - (end - start))
	for ; s < numStages; s++ {
		m.end[s] += more
	}
}

// store replaces the macros of a stage. A list without any macro changes nothing,
// as in libmilter.
func (m *macroStore) store(s stage, list []byte) {
	if bytes.IndexByte(list, 0) >= 0 {
		m.replace(s, list)
		m.fresh |= 1 << s
	}
}

// settle says that a command has come: what was defined belongs to it.
func (m *macroStore) settle() { m.fresh = 0 }

// clearFrom drops the macros of a stage and all later ones.
func (m *macroStore) clearFrom(s stage) {
	start, _ := m.bounds(s)
	m.text = m.text[:start]
	for ; s < numStages; s++ {
		m.end[s] = int32(start)
	}
}

// clearStale drops the macros of a mail that has ended. Those that came since the
// last command belong to the next message: an MTA defines them before the MAIL
// that aborts this one.
func (m *macroStore) clearStale() {
	if m.fresh == 0 {
		m.clearFrom(stageEnvelopeFrom)
		return
	}
	for s := stageEnvelopeFrom; s < numStages; s++ {
		if m.fresh&(1<<s) == 0 {
			m.replace(s, nil)
		}
	}
}

// clearAt drops the macros that a command makes stale: connect those of
// helo and later, helo those of MAIL and later, MAIL those of RCPT and later,
// RCPT those of DATA and later, the negotiation all (libmilter engine.c). An abort
// drops those of MAIL and later, which libmilter keeps.
func (m *macroStore) clearAt(c protocol.Command) {
	switch c {
	case protocol.CommandNegotiate:
		m.clearFrom(stageConnect)
	case protocol.CommandConnect:
		m.clearFrom(stageHelo)
	case protocol.CommandHelo, protocol.CommandAbort:
		m.clearFrom(stageEnvelopeFrom)
	case protocol.CommandEnvelopeFrom:
		m.clearFrom(stageEnvelopeRecipient)
	case protocol.CommandEnvelopeRecipient:
		m.clearFrom(stageData)
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
		if v, ok := ctx.macros.at(s).Get(name); ok {
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
	last := &commands[ctx.last]
	if !last.hasMacros {
		return nil
	}
	var macros []protocol.Macro
	for name, value := range ctx.macros.at(last.macros).All() {
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
	for s := range numStages {
		for name, value := range ctx.macros.at(s).All() {
			macros[protocol.MacroName(name)] = string(value)
		}
	}
	return macros
}
