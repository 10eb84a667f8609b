package option

import (
	"fmt"
	"slices"
	"strings"
)

// A MacroStage is a point of the session for which a milter may ask the MTA for
// macros. Its number is the one on the wire (libmilter's SMFIM_ constants).
type MacroStage uint32

// The macro stages. End of message comes before end of header here, and only
// here (libmilter mfapi.h).
const (
	MacroStageConnect           MacroStage = 0 // SMFIM_CONNECT
	MacroStageHelo              MacroStage = 1 // SMFIM_HELO
	MacroStageEnvelopeFrom      MacroStage = 2 // SMFIM_ENVFROM
	MacroStageEnvelopeRecipient MacroStage = 3 // SMFIM_ENVRCPT
	MacroStageData              MacroStage = 4 // SMFIM_DATA
	MacroStageEndOfMessage      MacroStage = 5 // SMFIM_EOM
	MacroStageEndOfHeader       MacroStage = 6 // SMFIM_EOH

	// NumMacroStages is how many stages there are.
	NumMacroStages = 7
)

var macroStageNames = [NumMacroStages]string{
	"connect", "helo", "envelope-from", "envelope-recipient", "data", "end-of-message", "end-of-header",
}

// String returns the stage's name, such as "envelope-from".
func (s MacroStage) String() string {
	if s < NumMacroStages {
		return macroStageNames[s]
	}
	return fmt.Sprintf("macro-stage-%d", uint32(s))
}

// MacroRequests are the macros a milter asks the MTA for, a list per stage. The
// zero value asks for nothing: the MTA sends the macros of its configuration.
// A list replaces the MTA's own list for that stage; an empty list asks for no
// macros, which Sendmail honours and Postfix takes for no list at all.
type MacroRequests struct {
	lists [NumMacroStages][]string
	set   [NumMacroStages]bool
}

// Set asks for the named macros at stage, in that order, in place of what was
// asked for there before. Names are written as the MTA knows them: one letter
// plain, longer ones in braces, as in "i" and "{auth_authen}". A stage or name
// that cannot be sent is an error and changes nothing.
func (m *MacroRequests) Set(stage MacroStage, names ...string) error {
	if stage >= NumMacroStages {
		return fmt.Errorf("option: macros requested for unknown stage %d", uint32(stage))
	}
	for _, name := range names {
		if name == "" || strings.ContainsAny(name, " ,\t\r\n\x00") {
			return fmt.Errorf("option: macro name %q requested for %v is empty or contains a separator", name, stage)
		}
	}
	m.lists[stage] = slices.Clone(names)
	m.set[stage] = true
	return nil
}

// Get returns the macros asked for at stage, and whether there is a list for it.
func (m *MacroRequests) Get(stage MacroStage) (names []string, ok bool) {
	if m == nil || stage >= NumMacroStages {
		return nil, false
	}
	return m.lists[stage], m.set[stage]
}

// Merge adds what other asks for and m does not, stage by stage, keeping the
// order of both.
func (m *MacroRequests) Merge(other *MacroRequests) {
	if other == nil {
		return
	}
	for stage := range MacroStage(NumMacroStages) {
		names, ok := other.Get(stage)
		if !ok {
			continue
		}
		m.set[stage] = true
		for _, name := range names {
			if !slices.Contains(m.lists[stage], name) {
				// Clipped, because a copy of m may hold the same array.
				m.lists[stage] = append(slices.Clip(m.lists[stage]), name)
			}
		}
	}
}

// Empty reports whether no stage has a list.
func (m *MacroRequests) Empty() bool {
	return m == nil || m.set == [NumMacroStages]bool{}
}

// String returns the lists as `connect="j _" end-of-message="i"`, in the order
// of the wire.
func (m *MacroRequests) String() string {
	var parts []string
	for stage := range MacroStage(NumMacroStages) {
		if names, ok := m.Get(stage); ok {
			parts = append(parts, fmt.Sprintf("%v=%q", stage, strings.Join(names, " ")))
		}
	}
	return strings.Join(parts, " ")
}
