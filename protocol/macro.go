package protocol

import "iter"

// A Macro is a name and a value that the MTA tells the milter.
type Macro struct {
	// Name is as the MTA sent it: one letter, or a longer name in braces.
	Name  string
	Value string
}

// A DefineMacro brings macros for the command that follows it. It has no reply.
type DefineMacro struct {
	// For is the command that the macros belong to. MTAs send a DefineMacro also
	// for a command that was negotiated away.
	For    Command
	Macros []Macro
}

// Command returns CommandDefineMacro.
func (DefineMacro) Command() Command { return CommandDefineMacro }

// Append appends the packet to dst.
func (m DefineMacro) Append(dst []byte) []byte {
	start := len(dst)
	dst = BeginPacket(dst, byte(CommandDefineMacro))
	dst = append(dst, byte(m.For))
	for _, macro := range m.Macros {
		dst = AppendString(dst, macro.Name)
		dst = AppendString(dst, macro.Value)
	}
	return EndPacket(dst, start)
}

// Decode sets m to what payload says. A name without a value has the value "";
// a last string without NUL is dropped, as in libmilter.
func (m *DefineMacro) Decode(payload []byte) error {
	if len(payload) == 0 {
		return malformed(CommandDefineMacro, payload, "no command letter")
	}
	*m = DefineMacro{For: Command(payload[0])}
	for name, value := range MacroList(payload[1:]).All() {
		m.Macros = append(m.Macros, Macro{name, string(value)})
	}
	return nil
}

// A MacroList is the payload of a [DefineMacro] behind its first letter: name
// NUL value NUL ..., as it came. It is searched without being decoded.
type MacroList []byte

// All yields the names and values in the list.
func (l MacroList) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for rest := []byte(l); ; {
			name, value, next, ok := cutMacro(rest)
			if !ok || !yield(string(name), value) {
				return
			}
			rest = next
		}
	}
}

// Get returns the value of the macro called name, and whether it is in the list.
// Braces around a name mean nothing: "i" finds "{i}", and "{daemon_name}" finds
// "daemon_name".
func (l MacroList) Get(name string) (value []byte, ok bool) {
	name = withoutBraces(name)
	for rest := []byte(l); ; {
		n, value, next, ok := cutMacro(rest)
		if !ok {
			return nil, false
		}
		if string(withoutBraces(n)) == name {
			return value, true
		}
		rest = next
	}
}

// cutMacro takes the first macro from list. A name at the end of the list has an
// empty value; a name without NUL is none.
func cutMacro(list []byte) (name, value, rest []byte, ok bool) {
	name, rest, ok = cut(list)
	if !ok {
		return nil, nil, nil, false
	}
	if v, r, ok := cut(rest); ok {
		return name, v, r, true
	}
	return name, nil, nil, true
}

func cut(b []byte) (before, after []byte, ok bool) {
	for i, c := range b {
		if c == 0 {
			return b[:i], b[i+1:], true
		}
	}
	return nil, b, false
}

// MacroName returns the name of a macro without the braces around it.
func MacroName(name string) string { return withoutBraces(name) }

func withoutBraces[T string | []byte](name T) T {
	if n := len(name); n > 2 && name[0] == '{' && name[n-1] == '}' {
		return name[1 : n-1]
	}
	return name
}
