package miltertest

import (
	"slices"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// macroStages are the stages that a milter may ask macros for, in the order of
// an SMTP session.
var macroStages = [option.NumMacroStages]struct {
	command protocol.Command
	stage   option.MacroStage
}{
	{protocol.CommandConnect, option.MacroStageConnect},
	{protocol.CommandHelo, option.MacroStageHelo},
	{protocol.CommandEnvelopeFrom, option.MacroStageEnvelopeFrom},
	{protocol.CommandEnvelopeRecipient, option.MacroStageEnvelopeRecipient},
	{protocol.CommandData, option.MacroStageData},
	{protocol.CommandEndOfHeader, option.MacroStageEndOfHeader},
	{protocol.CommandEndOfMessage, option.MacroStageEndOfMessage},
}

// appendMacros appends the packet with the macros for command c, if there is to
// be one. A list of the milter's that leaves nothing to send leaves the packet
// out, as in Sendmail.
func (s *Session) appendMacros(dst []byte, c protocol.Command) []byte {
	macros, ok := s.Macros[c]
	ok = ok && macros != nil
	for i, m := range macroStages {
		if m.command != c {
			continue
		}
		if names, asked := s.requests.Get(m.stage); asked {
			macros = s.requestedMacros(names, i)
			ok = len(macros) > 0
		}
	}
	if !ok {
		return dst
	}
	return protocol.DefineMacro{For: c, Macros: macros}.Append(dst)
}

// requestedMacros returns the macros called names that are known at
// macroStages[i] or before.
func (s *Session) requestedMacros(names []string, i int) []protocol.Macro {
	var macros []protocol.Macro
	for _, name := range names {
		for _, m := range slices.Backward(macroStages[:i+1]) {
			if value, ok := lookupMacro(s.Macros[m.command], name); ok {
				macros = append(macros, protocol.Macro{Name: name, Value: value})
				break
			}
		}
	}
	return macros
}

// lookupMacro finds a macro by its name, with or without braces.
func lookupMacro(macros []protocol.Macro, name string) (value string, ok bool) {
	for _, m := range macros {
		if protocol.MacroName(m.Name) == protocol.MacroName(name) {
			return m.Value, true
		}
	}
	return "", false
}
