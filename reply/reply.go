// Package reply is what a milter sends back to the MTA: the answers to events,
// the changes to a mail at end of message, and the SMTP reply ([SMTP]) that a
// refusal may carry.
//
// Each kind is a struct with the fields of its payload. Append writes a whole
// packet, [Decode] reads one; neither does I/O. Nothing is checked when a
// packet is written: package context does that before it builds one.
package reply

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A Message is a packet that the milter sends.
type Message interface {
	// Reply returns the letter of the message.
	Reply() protocol.Reply
	// Append appends the message to dst as one packet.
	Append(dst []byte) []byte
}

// Bare is a reply without payload: continue, accept, reject, temporary-failure,
// discard, skip or progress.
type Bare protocol.Reply

// Reply returns b.
func (b Bare) Reply() protocol.Reply { return protocol.Reply(b) }

// Append appends the packet to dst.
func (b Bare) Append(dst []byte) []byte { return protocol.AppendPacket(dst, byte(b), nil) }

// A Negotiate answers the MTA's offer: what the milter takes of it, and the
// macros it asks for.
type Negotiate struct {
	Option option.Option
	Macros option.MacroRequests
}

// Reply returns protocol.ReplyNegotiate.
func (Negotiate) Reply() protocol.Reply { return protocol.ReplyNegotiate }

// Append appends the packet to dst.
func (m Negotiate) Append(dst []byte) []byte {
	start := len(dst)
	dst = protocol.BeginPacket(dst, byte(protocol.ReplyNegotiate))
	dst = binary.BigEndian.AppendUint32(dst, m.Option.Version)
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.Option.Actions))
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.Option.Steps))
	for stage := range option.MacroStage(option.NumMacroStages) {
		if names, ok := m.Macros.Get(stage); ok {
			dst = binary.BigEndian.AppendUint32(dst, uint32(stage))
			dst = protocol.AppendString(dst, strings.Join(names, " "))
		}
	}
	return protocol.EndPacket(dst, start)
}

// A ReplyCode refuses with an SMTP reply of the milter's own.
type ReplyCode struct{ SMTP SMTP }

// Reply returns protocol.ReplyReplyCode.
func (ReplyCode) Reply() protocol.Reply { return protocol.ReplyReplyCode }

// Append appends the packet to dst.
func (m ReplyCode) Append(dst []byte) []byte {
	start := len(dst)
	dst = protocol.BeginPacket(dst, byte(protocol.ReplyReplyCode))
	dst = append(m.SMTP.appendWire(dst), 0)
	return protocol.EndPacket(dst, start)
}

// An AddHeader adds a header field, at the end as a rule.
type AddHeader struct{ Name, Value string }

// Reply returns protocol.ReplyAddHeader.
func (AddHeader) Reply() protocol.Reply { return protocol.ReplyAddHeader }

// Append appends the packet to dst.
func (m AddHeader) Append(dst []byte) []byte {
	return appendStrings(dst, protocol.ReplyAddHeader, m.Name, m.Value)
}

// An InsertHeader adds a header field at a place.
type InsertHeader struct {
	Index       uint32 // 0 is above all others
	Name, Value string
}

// Reply returns protocol.ReplyInsertHeader.
func (InsertHeader) Reply() protocol.Reply { return protocol.ReplyInsertHeader }

// Append appends the packet to dst.
func (m InsertHeader) Append(dst []byte) []byte {
	return appendIndexed(dst, protocol.ReplyInsertHeader, m.Index, m.Name, m.Value)
}

// A ChangeHeader replaces the value of a header field, or deletes the field.
type ChangeHeader struct {
	Index uint32 // 1 is the first field of that name
	Name  string
	Value string // empty: delete
}

// Reply returns protocol.ReplyChangeHeader.
func (ChangeHeader) Reply() protocol.Reply { return protocol.ReplyChangeHeader }

// Append appends the packet to dst.
func (m ChangeHeader) Append(dst []byte) []byte {
	return appendIndexed(dst, protocol.ReplyChangeHeader, m.Index, m.Name, m.Value)
}

// A ChangeFrom replaces the envelope sender.
type ChangeFrom struct {
	Path       string
	Parameters string // ESMTP parameters, separated by blanks; may be empty
}

// Reply returns protocol.ReplyChangeFrom.
func (ChangeFrom) Reply() protocol.Reply { return protocol.ReplyChangeFrom }

// Append appends the packet to dst.
func (m ChangeFrom) Append(dst []byte) []byte {
	if m.Parameters == "" {
		return appendStrings(dst, protocol.ReplyChangeFrom, m.Path)
	}
	return appendStrings(dst, protocol.ReplyChangeFrom, m.Path, m.Parameters)
}

// An AddRecipient adds an envelope recipient.
type AddRecipient struct {
	Path       string
	Parameters string // ESMTP parameters, separated by blanks; may be empty
}

// Reply returns protocol.ReplyAddRecipientParameters if there are parameters,
// else protocol.ReplyAddRecipient.
func (m AddRecipient) Reply() protocol.Reply {
	if m.Parameters != "" {
		return protocol.ReplyAddRecipientParameters
	}
	return protocol.ReplyAddRecipient
}

// Append appends the packet to dst.
func (m AddRecipient) Append(dst []byte) []byte {
	if m.Parameters == "" {
		return appendStrings(dst, m.Reply(), m.Path)
	}
	return appendStrings(dst, m.Reply(), m.Path, m.Parameters)
}

// A DeleteRecipient removes an envelope recipient.
type DeleteRecipient struct{ Path string }

// Reply returns protocol.ReplyDeleteRecipient.
func (DeleteRecipient) Reply() protocol.Reply { return protocol.ReplyDeleteRecipient }

// Append appends the packet to dst.
func (m DeleteRecipient) Append(dst []byte) []byte {
	return appendStrings(dst, protocol.ReplyDeleteRecipient, m.Path)
}

// A ReplaceBody is a piece of the new body. The first one makes the MTA drop the
// old body; more of them, one right behind the other, add to the new one.
type ReplaceBody struct{ Chunk []byte }

// Reply returns protocol.ReplyReplaceBody.
func (ReplaceBody) Reply() protocol.Reply { return protocol.ReplyReplaceBody }

// Append appends the packet to dst.
func (m ReplaceBody) Append(dst []byte) []byte {
	return protocol.AppendPacket(dst, byte(protocol.ReplyReplaceBody), m.Chunk)
}

// A Quarantine puts the message on hold.
type Quarantine struct{ Reason string }

// Reply returns protocol.ReplyQuarantine.
func (Quarantine) Reply() protocol.Reply { return protocol.ReplyQuarantine }

// Append appends the packet to dst.
func (m Quarantine) Append(dst []byte) []byte {
	return appendStrings(dst, protocol.ReplyQuarantine, m.Reason)
}

// Decode returns the message in p. It is as strict as the strictest MTA: a
// payload where none belongs, a missing NUL, an empty name, path or reason, or an
// SMTP reply out of form is an error that names the reply and the fault.
func Decode(p protocol.Packet) (Message, error) {
	payload := p.Payload
	switch r := protocol.Reply(p.Letter); r {
	case protocol.ReplyContinue, protocol.ReplyAccept, protocol.ReplyReject, protocol.ReplyTemporaryFailure,
		protocol.ReplyDiscard, protocol.ReplySkip, protocol.ReplyProgress,
		protocol.ReplyConnectionFailure, protocol.ReplyShutdown:
		if len(payload) > 0 {
			return nil, malformed(r, payload, "has a payload")
		}
		return Bare(r), nil
	case protocol.ReplyNegotiate:
		return decodeNegotiate(payload)
	case protocol.ReplyReplyCode:
		s, err := decodeStrings(r, payload, 1, 1, "text")
		if err != nil {
			return nil, err
		}
		smtp, err := parseWire(s[0])
		if err != nil {
			return nil, malformed(r, payload, strings.TrimPrefix(err.Error(), "reply: "))
		}
		return ReplyCode{smtp}, nil
	case protocol.ReplyAddHeader:
		s, err := decodeStrings(r, payload, 2, 2, "name")
		if err != nil {
			return nil, err
		}
		return AddHeader{s[0], s[1]}, nil
	case protocol.ReplyInsertHeader, protocol.ReplyChangeHeader:
		if len(payload) < 4 {
			return nil, malformed(r, payload, "has no index")
		}
		index := binary.BigEndian.Uint32(payload)
		s, err := decodeStrings(r, payload[4:], 2, 2, "name")
		if err != nil {
			return nil, err
		}
		if r == protocol.ReplyInsertHeader {
			return InsertHeader{index, s[0], s[1]}, nil
		}
		return ChangeHeader{index, s[0], s[1]}, nil
	case protocol.ReplyChangeFrom, protocol.ReplyAddRecipientParameters:
		s, err := decodeStrings(r, payload, 1, 2, "path")
		if err != nil {
			return nil, err
		}
		s = append(s, "")
		if r == protocol.ReplyChangeFrom {
			return ChangeFrom{s[0], s[1]}, nil
		}
		return AddRecipient{s[0], s[1]}, nil
	case protocol.ReplyAddRecipient:
		s, err := decodeStrings(r, payload, 1, 1, "path")
		if err != nil {
			return nil, err
		}
		return AddRecipient{Path: s[0]}, nil
	case protocol.ReplyDeleteRecipient:
		s, err := decodeStrings(r, payload, 1, 1, "path")
		if err != nil {
			return nil, err
		}
		return DeleteRecipient{s[0]}, nil
	case protocol.ReplyReplaceBody:
		return ReplaceBody{payload}, nil
	case protocol.ReplyQuarantine:
		s, err := decodeStrings(r, payload, 1, 1, "reason")
		if err != nil {
			return nil, err
		}
		return Quarantine{s[0]}, nil
	}
	return nil, fmt.Errorf("reply: unknown reply %q with %d bytes of payload", p.Letter, len(payload))
}

func decodeNegotiate(payload []byte) (Message, error) {
	const r = protocol.ReplyNegotiate
	if len(payload) < 12 {
		return nil, malformed(r, payload, "need 12 bytes for version, actions and steps")
	}
	m := Negotiate{Option: option.Option{
		Version: binary.BigEndian.Uint32(payload),
		Actions: option.Action(binary.BigEndian.Uint32(payload[4:])),
		Steps:   option.Step(binary.BigEndian.Uint32(payload[8:])),
	}}
	for rest := payload[12:]; len(rest) > 0; {
		if len(rest) < 4 {
			return nil, malformed(r, payload, "macro stage is cut off")
		}
		stage := option.MacroStage(binary.BigEndian.Uint32(rest))
		i := bytes.IndexByte(rest[4:], 0)
		if i < 0 {
			return nil, malformed(r, payload, "macro list does not end with NUL")
		}
		// Sendmail takes commas as well as blanks.
		names := strings.FieldsFunc(string(rest[4:4+i]), func(c rune) bool { return c == ' ' || c == ',' })
		if err := m.Macros.Set(stage, names...); err != nil {
			return nil, malformed(r, payload, err.Error())
		}
		rest = rest[4+i+1:]
	}
	return m, nil
}

// decodeStrings splits payload into between least and most strings that end
// with NUL. The first one is called what and may not be empty: libmilter does
// not send it so (smfi.c), and Sendmail drops such a packet without a word.
func decodeStrings(r protocol.Reply, payload []byte, least, most int, what string) ([]string, error) {
	if len(payload) == 0 || payload[len(payload)-1] != 0 {
		return nil, malformed(r, payload, "does not end with NUL")
	}
	s := strings.Split(string(payload[:len(payload)-1]), "\x00")
	if len(s) < least || len(s) > most {
		return nil, malformed(r, payload, fmt.Sprintf("has %d strings", len(s)))
	}
	if s[0] == "" {
		return nil, malformed(r, payload, "has no "+what)
	}
	return s, nil
}

func appendStrings(dst []byte, r protocol.Reply, strings ...string) []byte {
	start := len(dst)
	dst = protocol.BeginPacket(dst, byte(r))
	for _, s := range strings {
		dst = protocol.AppendString(dst, s)
	}
	return protocol.EndPacket(dst, start)
}

func appendIndexed(dst []byte, r protocol.Reply, index uint32, name, value string) []byte {
	start := len(dst)
	dst = protocol.BeginPacket(dst, byte(r))
	dst = binary.BigEndian.AppendUint32(dst, index)
	dst = protocol.AppendString(dst, name)
	dst = protocol.AppendString(dst, value)
	return protocol.EndPacket(dst, start)
}

func malformed(r protocol.Reply, payload []byte, fault string) error {
	const show = 80
	if len(payload) > show {
		return fmt.Errorf("reply: malformed %v reply: %s: %q... (%d bytes)", r, fault, payload[:show], len(payload))
	}
	return fmt.Errorf("reply: malformed %v reply: %s: %q", r, fault, payload)
}
