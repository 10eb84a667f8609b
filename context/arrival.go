package context

import (
	"bytes"
	"net"
	"strings"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// An arrival is what a command brings, checked, and still in the buffer: strings
// are made of it only for a handler that takes them.
type arrival struct {
	text    []byte           // the payload up to the last string that counts
	size    int              // of the payload
	first   int              // the length of the first string
	message protocol.Message // what came, if it is one of the rare commands

	// What handlers get, of those that their event has.
	name, value string // or the host, or the path
	parameters  protocol.Parameters
	addr        net.Addr
	state       State
	proposal    *option.Option
	macros      *option.MacroRequests
}

// decode checks a packet. What it says of a wrong one is package protocol's.
func (e *arrival) decode(p protocol.Packet) error {
	e.text, e.size = p.Payload, len(p.Payload)
	ok := true
	switch protocol.Command(p.Letter) {
	case protocol.CommandHeader:
		ok = e.isHeader(p.Payload)
	case protocol.CommandHelo, protocol.CommandUnknown:
		e.first = bytes.IndexByte(e.text, 0)
		ok = e.first >= 0
	case protocol.CommandEnvelopeFrom, protocol.CommandEnvelopeRecipient:
		e.first = bytes.IndexByte(e.text, 0)
		ok = e.first >= 0
		e.text = e.text[:bytes.LastIndexByte(e.text, 0)+1]
	case protocol.CommandBody, protocol.CommandEndOfMessage, protocol.CommandData, protocol.CommandEndOfHeader:
	default:
		ok = false
	}
	if ok {
		return nil
	}
	var err error
	e.message, err = protocol.Decode(p)
	return err
}

// isHeader takes the payload of a header field, if it is one.
func (e *arrival) isHeader(payload []byte) bool {
	first := bytes.IndexByte(payload, 0)
	if first <= 0 || payload[len(payload)-1] != 0 {
		return false
	}
	second := bytes.IndexByte(payload[first+1:], 0)
	if second < 0 {
		return false
	}
	e.size, e.first = len(payload), first
	e.text = payload[:first+1+second+1]
	return true
}

// A batch is what came with a command that handed out strings, made a string at
// once: an MTA that awaits no replies sends many commands at a time.
type batch struct {
	text   string
	unread int // bytes in the buffer where it begins
}

// maxBatch bounds what a string keeps in memory that a handler has put away.
const maxBatch = 1 << 10

// string returns the text of e as a string, which may share its memory with the
// strings of the commands that came with it.
func (ctx *ClientContext) string(e *arrival) string {
	unread := ctx.in.Len() + e.size
	from := ctx.batch.unread - unread
	if to := from + len(e.text); from >= 0 && to <= len(ctx.batch.text) {
		return ctx.batch.text[from:to]
	}
	if e.size == unread || len(e.text) >= maxBatch {
		return string(e.text)
	}
	// Behind its payload the buffer goes on with the next packets.
	ctx.batch = batch{string(e.text[:min(unread, maxBatch)]), unread}
	return ctx.batch.text[:len(e.text)]
}

// field returns the name and the value of a header field.
func (ctx *ClientContext) field(e *arrival) (name, value string) {
	text := ctx.string(e)
	return text[:e.first], text[e.first+1 : len(text)-1]
}

// splitEnvelope splits strings that end in NUL, of which the first has length n.
func splitEnvelope(text string, n int) (path string, parameters protocol.Parameters) {
	path, text = text[:n], text[n+1:]
	if text == "" {
		return path, nil
	}
	parameters = make(protocol.Parameters, 0, strings.Count(text, "\x00"))
	for len(text) > 0 {
		i := strings.IndexByte(text, 0)
		parameters = append(parameters, text[:i])
		text = text[i+1:]
	}
	return path, parameters
}
