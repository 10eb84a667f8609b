package main

import (
	"fmt"
	"slices"

	"github.com/milter-go/milter/cmd/internal/mta"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A script is all that a session writes, encoded for one outcome of the
// negotiation. Sessions share it and only read it.
type script struct {
	agreed   option.Option
	greeting []exchange
	// mail begins with an abort, which is left out unless the message before was
	// given up.
	mail []exchange
	// opening replaces the first write of the first message: it begins with what of
	// the greeting is not answered.
	opening []byte
	quit    []byte // begins with an abort as well
}

// An exchange is a write and the reply that is awaited to the last command in it.
type exchange struct {
	write   []byte
	command protocol.Command
	number  int    // of several of a kind, from 1; 0 if there is one only
	replies string // the letters that may come
	last    bool   // of the recipients
}

// String returns such as "header 3".
func (x *exchange) String() string {
	if x.number == 0 {
		return x.command.String()
	}
	return fmt.Sprintf("%v %d", x.command, x.number)
}

// lengthOfAbort is the length of the abort at the beginning of a script.
const lengthOfAbort = 5

// A scriptWriter joins what is not answered with what follows it.
type scriptWriter struct {
	agreed    option.Option
	macros    func(c protocol.Command, number int) protocol.DefineMacro // nil for none
	pending   []byte
	exchanges []exchange
}

// newScript encodes the session for what was agreed.
func (o *options) newScript(agreed option.Option, requests *option.MacroRequests) *script {
	w := &scriptWriter{agreed: agreed}
	if o.macros == "postfix" {
		w.macros = postfixMacros{requests}.define
	}
	abort := protocol.Bare(protocol.CommandAbort).Append(nil)
	s := &script{agreed: agreed, quit: protocol.Bare(protocol.CommandQuit).Append(slices.Clone(abort))}

	w.add(protocol.Connect{Host: clientHost, Family: protocol.FamilyInet, Port: clientPort, Address: clientAddress}, 0)
	w.add(protocol.Helo{Name: clientHost}, 0)
	s.greeting = w.exchanges
	unanswered := w.pending

	w.exchanges, w.pending = nil, slices.Clone(abort)
	o.addMail(w)
	s.mail = w.exchanges
	s.opening = s.mail[0].write[lengthOfAbort:]
	if len(unanswered) > 0 {
		s.opening = slices.Concat(unanswered, s.opening)
	}
	return s
}

func (o *options) addMail(w *scriptWriter) {
	size := fmt.Sprintf("SIZE=%d", o.bodySize)
	w.add(protocol.EnvelopeFrom{Path: "<" + sender + ">", Parameters: protocol.Parameters{size}}, 0)
	for i := range o.recipients {
		w.add(protocol.EnvelopeRecipient{Path: "<" + recipient(i) + ">"}, i+1)
	}
	if n := len(w.exchanges); n > 0 && w.exchanges[n-1].command == protocol.CommandEnvelopeRecipient {
		w.exchanges[n-1].last = true
	}
	if w.agreed.Version >= 4 { // version 3 has no DATA (Postfix milter8.c, Sendmail milter.c)
		w.add(protocol.Bare(protocol.CommandData), 0)
	}
	m := newMail(o.headers, o.bodySize, uint64(o.seed))
	for i, h := range m.headers {
		if w.agreed.Steps.Has(option.StepHeaderValueWithLeadingSpace) {
			h.Value = " " + h.Value
		}
		w.add(h, i+1)
	}
	w.add(protocol.Bare(protocol.CommandEndOfHeader), 0)
	number := 0
	for chunk := range slices.Chunk(m.body, o.bodyChunk) {
		number++
		w.add(protocol.Body{Chunk: chunk}, number)
	}
	w.add(protocol.EndOfMessage{}, 0)
}

// add encodes m, the number-th of its kind.
func (w *scriptWriter) add(m protocol.Message, number int) {
	c := m.Command()
	no, noReply := mta.StepsOf(c)
	left := no != 0 && w.agreed.Steps.Has(no)
	// Of a command that is left out Postfix still sends the macros, unless cleanup
	// would send it.
	cleanup := c == protocol.CommandHeader || c == protocol.CommandEndOfHeader || c == protocol.CommandBody
	if w.macros != nil && !(left && cleanup) {
		w.pending = w.macros(c, max(number-1, 0)).Append(w.pending)
	}
	if left {
		return
	}
	w.pending = m.Append(w.pending)
	if noReply != 0 && w.agreed.Steps.Has(noReply) {
		return
	}
	w.exchanges = append(w.exchanges, exchange{write: w.pending, command: c, number: number, replies: w.replies(c)})
	w.pending = nil
}

// replies returns the letters that may answer command c.
func (w *scriptWriter) replies(c protocol.Command) string {
	switch {
	case c == protocol.CommandConnect || c == protocol.CommandHelo:
		return "carty" // there is no message yet that could be discarded
	case c == protocol.CommandBody && w.agreed.Steps.Has(option.StepSkip):
		return "cartyds"
	}
	return "cartyd"
}
