package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/milter-go/milter/option"
)

// A Message is a command with its payload.
type Message interface {
	// Command returns the letter of the message.
	Command() Command
	// Append appends the message to dst as one packet.
	Append(dst []byte) []byte
}

// Decode returns the message in p. The error names the command and the fault.
func Decode(p Packet) (Message, error) {
	var err error
	switch c := Command(p.Letter); c {
	case CommandNegotiate:
		var m Negotiate
		err = m.Decode(p.Payload)
		return m, err
	case CommandDefineMacro:
		var m DefineMacro
		err = m.Decode(p.Payload)
		return m, err
	case CommandConnect:
		var m Connect
		err = m.Decode(p.Payload)
		return m, err
	case CommandHelo:
		var m Helo
		err = m.Decode(p.Payload)
		return m, err
	case CommandEnvelopeFrom:
		var m EnvelopeFrom
		err = m.Decode(p.Payload)
		return m, err
	case CommandEnvelopeRecipient:
		var m EnvelopeRecipient
		err = m.Decode(p.Payload)
		return m, err
	case CommandUnknown:
		var m Unknown
		err = m.Decode(p.Payload)
		return m, err
	case CommandHeader:
		var m Header
		err = m.Decode(p.Payload)
		return m, err
	case CommandBody:
		return Body{Chunk: p.Payload}, nil
	case CommandEndOfMessage:
		return EndOfMessage{Chunk: p.Payload}, nil
	case CommandData, CommandEndOfHeader, CommandAbort, CommandQuit, CommandQuitNewConnection:
		// libmilter does not look at their payload.
		return Bare(c), nil
	default:
		return nil, fmt.Errorf("protocol: unknown command %q with %d bytes of payload", p.Letter, len(p.Payload))
	}
}

// A Negotiate opens a session: what the MTA offers.
type Negotiate struct{ Option option.Option }

// Command returns CommandNegotiate.
func (Negotiate) Command() Command { return CommandNegotiate }

// Append appends the packet to dst.
func (m Negotiate) Append(dst []byte) []byte {
	start := len(dst)
	dst = BeginPacket(dst, byte(CommandNegotiate))
	dst = binary.BigEndian.AppendUint32(dst, m.Option.Version)
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.Option.Actions))
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.Option.Steps))
	return EndPacket(dst, start)
}

// Decode sets m to what payload says. Bytes after the first twelve are ignored,
// as in libmilter.
func (m *Negotiate) Decode(payload []byte) error {
	if len(payload) < 12 {
		return malformed(CommandNegotiate, payload, "need 12 bytes for version, actions and steps")
	}
	m.Option = option.Option{
		Version: binary.BigEndian.Uint32(payload),
		Actions: option.Action(binary.BigEndian.Uint32(payload[4:])),
		Steps:   option.Step(binary.BigEndian.Uint32(payload[8:])),
	}
	return nil
}

// A Helo is the SMTP client's HELO or EHLO.
type Helo struct{ Name string }

// Command returns CommandHelo.
func (Helo) Command() Command { return CommandHelo }

// Append appends the packet to dst.
func (m Helo) Append(dst []byte) []byte { return appendStrings(dst, CommandHelo, m.Name) }

// Decode sets m to what payload says. What follows the first NUL is ignored, as
// in libmilter.
func (m *Helo) Decode(payload []byte) error { return decodeString(CommandHelo, payload, &m.Name) }

// An EnvelopeFrom is the SMTP client's MAIL FROM.
type EnvelopeFrom struct {
	// Path is the sender as the client typed it, usually with angle brackets;
	// "<>" is the null sender. Mail that Postfix takes from its sendmail command
	// has no brackets, and its null sender is "".
	Path       string
	Parameters Parameters
}

// Command returns CommandEnvelopeFrom.
func (EnvelopeFrom) Command() Command { return CommandEnvelopeFrom }

// Append appends the packet to dst.
func (m EnvelopeFrom) Append(dst []byte) []byte {
	return appendEnvelope(dst, CommandEnvelopeFrom, m.Path, m.Parameters)
}

// Decode sets m to what payload says.
func (m *EnvelopeFrom) Decode(payload []byte) error {
	return decodeEnvelope(CommandEnvelopeFrom, payload, &m.Path, &m.Parameters)
}

// An EnvelopeRecipient is an RCPT TO of the SMTP client.
type EnvelopeRecipient struct {
	// Path is the recipient as the client typed it, usually with angle brackets.
	Path       string
	Parameters Parameters
}

// Command returns CommandEnvelopeRecipient.
func (EnvelopeRecipient) Command() Command { return CommandEnvelopeRecipient }

// Append appends the packet to dst.
func (m EnvelopeRecipient) Append(dst []byte) []byte {
	return appendEnvelope(dst, CommandEnvelopeRecipient, m.Path, m.Parameters)
}

// Decode sets m to what payload says.
func (m *EnvelopeRecipient) Decode(payload []byte) error {
	return decodeEnvelope(CommandEnvelopeRecipient, payload, &m.Path, &m.Parameters)
}

// An Unknown is an SMTP command that the MTA does not know. Sendmail sends the
// whole line, Postfix its first word.
type Unknown struct{ Line string }

// Command returns CommandUnknown.
func (Unknown) Command() Command { return CommandUnknown }

// Append appends the packet to dst.
func (m Unknown) Append(dst []byte) []byte { return appendStrings(dst, CommandUnknown, m.Line) }

// Decode sets m to what payload says.
func (m *Unknown) Decode(payload []byte) error { return decodeString(CommandUnknown, payload, &m.Line) }

// A Header is one header field of the message.
type Header struct {
	Name string
	// Value is the field's body. The lines of a folded one are joined by LF and
	// keep the white space they begin with; there is no CR. One space after the
	// colon is removed, unless the leading space was negotiated.
	Value string
}

// Command returns CommandHeader.
func (Header) Command() Command { return CommandHeader }

// Append appends the packet to dst.
func (m Header) Append(dst []byte) []byte { return appendStrings(dst, CommandHeader, m.Name, m.Value) }

// Is reports whether an MTA counts the field as one called name. Only ASCII letters
// are folded (strcasecmp in the MTAs): Unicode has letters, such as the long s, with
// which a sender could shift the count. White space before the colon is no part of
// the name (RFC 5322 section 4.5).
func (m Header) Is(name string) bool {
	came := strings.TrimRight(m.Name, " \t")
	if len(came) != len(name) {
		return false
	}
	for i := range len(came) {
		if lower(came[i]) != lower(name[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// Decode sets m to what payload says. Strings after the second are ignored, as
// in libmilter.
func (m *Header) Decode(payload []byte) error {
	if len(payload) == 0 || payload[len(payload)-1] != 0 {
		return malformed(CommandHeader, payload, "does not end with NUL")
	}
	name, rest, _ := cutString(payload)
	value, _, ok := cutString(rest)
	if !ok {
		return malformed(CommandHeader, payload, "has no value")
	}
	if name == "" {
		return malformed(CommandHeader, payload, "has no name")
	}
	m.Name, m.Value = name, value
	return nil
}

// A Body is a piece of the message body: lines end in CRLF, dots are unstuffed,
// and a piece may end anywhere, between CR and LF as well.
type Body struct{ Chunk []byte }

// Command returns CommandBody.
func (Body) Command() Command { return CommandBody }

// Append appends the packet to dst.
func (m Body) Append(dst []byte) []byte { return AppendPacket(dst, byte(CommandBody), m.Chunk) }

// Decode sets m to payload, which it keeps.
func (m *Body) Decode(payload []byte) error { m.Chunk = payload; return nil }

// An EndOfMessage ends the message. No known MTA puts a last piece of the body
// into it, but it may.
type EndOfMessage struct{ Chunk []byte }

// Command returns CommandEndOfMessage.
func (EndOfMessage) Command() Command { return CommandEndOfMessage }

// Append appends the packet to dst.
func (m EndOfMessage) Append(dst []byte) []byte {
	return AppendPacket(dst, byte(CommandEndOfMessage), m.Chunk)
}

// Decode sets m to payload, which it keeps.
func (m *EndOfMessage) Decode(payload []byte) error { m.Chunk = payload; return nil }

// Bare is a command without payload: data, end-of-header, abort, quit or
// quit-new-connection.
type Bare Command

// Command returns c.
func (c Bare) Command() Command { return Command(c) }

// Append appends the packet to dst.
func (c Bare) Append(dst []byte) []byte { return AppendPacket(dst, byte(c), nil) }

func appendStrings(dst []byte, c Command, strings ...string) []byte {
	start := len(dst)
	dst = BeginPacket(dst, byte(c))
	for _, s := range strings {
		dst = AppendString(dst, s)
	}
	return EndPacket(dst, start)
}

func appendEnvelope(dst []byte, c Command, path string, parameters Parameters) []byte {
	start := len(dst)
	dst = BeginPacket(dst, byte(c))
	dst = AppendString(dst, path)
	for _, p := range parameters {
		dst = AppendString(dst, p)
	}
	return EndPacket(dst, start)
}

func decodeString(c Command, payload []byte, s *string) error {
	v, _, ok := cutString(payload)
	if !ok {
		return malformed(c, payload, "does not end with NUL")
	}
	*s = v
	return nil
}

// decodeEnvelope drops a last string without NUL, as libmilter does; without any
// NUL there is no path.
func decodeEnvelope(c Command, payload []byte, path *string, parameters *Parameters) error {
	p, rest, ok := cutString(payload)
	if !ok {
		return malformed(c, payload, "does not end with NUL")
	}
	*path, *parameters = p, nil
	for {
		var s string
		if s, rest, ok = cutString(rest); !ok {
			return nil
		}
		*parameters = append(*parameters, s)
	}
}

// cutString splits b behind its first NUL.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return "", b, false
	}
	return string(b[:i]), b[i+1:], true
}

func malformed(c Command, payload []byte, fault string) error {
	const show = 80
	if len(payload) > show {
		return fmt.Errorf("protocol: malformed %v command: %s: %q... (%d bytes)", c, fault, payload[:show], len(payload))
	}
	return fmt.Errorf("protocol: malformed %v command: %s: %q", c, fault, payload)
}
