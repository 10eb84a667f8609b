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
	fresh [numStages]bool  // defined since the last command
}

// at returns the macros of a stage.
func (m *macroStore) at(s stage) protocol.MacroList {
	start := int32(0)
	if s > 0 {
		start = m.end[s-1]
	}
	return protocol.MacroList(m.text[start:m.end[s]])
}

// replace puts list in the place of a stage's macros.
func (m *macroStore) replace(s stage, list []byte) {
	old := m.at(s)
	end := int(m.end[s])
	start, more := end-len(old), len(list)-len(old)
	if more == 0 && len(list) == 0 {
		return
	}
	m.text = slices.Replace(m.text, start, end, list...)
	for ; s < numStages; s++ {
		m.end[s] += int32(more)
	}
}

// store replaces the macros of a stage. A list without any macro changes nothing,
// as in libmilter.
func (m *macroStore) store(s stage, list []byte) {
	if bytes.Equal(m.at(s), list) { // as a rule; most of them say the queue id again
		m.fresh[s] = m.fresh[s] || len(list) > 0
	} else if bytes.IndexByte(list, 0) >= 0 {
		m.replace(s, list)
		m.fresh[s] = true
	}
}

// settle says that a command has come: what was defined belongs to it.
func (m *macroStore) settle() { m.fresh = [numStages]bool{} }

// clearFrom drops the macros of a stage and all later ones.
func (m *macroStore) clearFrom(s stage) {
	if s == numStages {
		return
	}
	start := int32(0)
	if s > 0 {
		start = m.end[s-1]
	}
	m.text = m.text[:start]
	for ; s < numStages; s++ {
		m.end[s] = start
	}
}

// clearStale drops the macros of a mail that has ended. Those that came since the
// last command belong to the next message: an MTA defines them before the MAIL
// that aborts this one.
func (m *macroStore) clearStale() {
	for s := stageEnvelopeFrom; s < numStages; s++ {
		if !m.fresh[s] {
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
