package context

import (
	"encoding/binary"
	"time"

	"github.com/milter-go/milter/internal/block"
	"github.com/milter-go/milter/protocol"
)

// A record is what came of a mail and what was changed in it, as bytes: most
// milters never ask for the MessageResult that is made of it. Once somebody has,
// the result itself is kept up to date.
type record struct {
	start    time.Time
	bodySize int64
	result   *MessageResult // nil until it is asked for

	size    int    // of the strings that were recorded, in bytes
	cut     bool   // some were not, see maxRecord
	came    []byte // entries of what came: MAIL, RCPT, headers
	changes []byte // entries of changed headers
	// Where the recipient whose reply is due is in came, or with a result its
	// address.
	recipientAt  int
	recipient    string
	recipientDue bool
}

// maxRecord is how many bytes of envelope and header are kept of one mail: about
// ten times what Postfix lets through (header_size_limit).
const maxRecord = 1 << 20

// An entry is a letter, a status, the length of the text, and that.
const (
	entrySize  = 2 + 4
	unanswered = 0xff // the status of a recipient whose reply is due
)

func appendEntry(dst []byte, letter, status byte, text ...[]byte) []byte {
	n := 0
	for _, t := range text {
		n += len(t)
	}
	dst = block.Grow(dst, entrySize+n)
	dst = append(dst, letter, status)
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	for _, t := range text {
		dst = append(dst, t...)
	}
	return dst
}

// entries calls f with each entry.
func entries(list []byte, f func(letter, status byte, text string)) {
	for len(list) > 0 {
		n := entrySize + int(binary.BigEndian.Uint32(list[2:]))
		f(list[0], list[1], string(list[entrySize:n]))
		list = list[n:]
	}
}

// known reports whether there is a mail at all, or a test has set a result.
func (m *record) known() bool { return !m.start.IsZero() || m.result != nil }

// release gives the memory back.
func (m *record) release() {
	block.Put(m.came)
	block.Put(m.changes)
	*m = record{}
}

// note records what came: strings that end in NUL.
func (m *record) note(c protocol.Command, text []byte) {
	if m.size+len(text) > maxRecord {
		m.cut, m.recipientDue = true, false
		return
	}
	m.size += len(text)
	m.recipientDue = c == protocol.CommandEnvelopeRecipient
	if m.result == nil {
		m.recipientAt = len(m.came)
		n := uint32(len(text))
		dst := block.Grow(m.came, entrySize+len(text))
		dst = append(dst, byte(c), unanswered, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		m.came = append(dst, text...)
		return
	}
	m.add(c, unanswered, string(text))
}

// add adds what came to the result.
func (m *record) add(c protocol.Command, status byte, text string) {
	first := 0
	for text[first] != 0 {
		first++
	}
	switch c {
	case protocol.CommandEnvelopeFrom:
		m.result.From, m.result.FromParameters = splitEnvelope(text, first)
	case protocol.CommandEnvelopeRecipient:
		m.recipient = text[:first]
		if status != unanswered {
			m.result.addRecipient(m.recipient, protocol.Status(status))
		}
	case protocol.CommandHeader:
		m.result.Headers = append(m.result.Headers, protocol.Header{Name: text[:first], Value: text[first+1 : len(text)-1]})
	}
}

// answered files the last recipient by the answer it got.
func (m *record) answered(status protocol.Status) {
	switch {
	case !m.recipientDue:
	case m.result != nil:
		m.result.addRecipient(m.recipient, status)
	default:
		m.came[m.recipientAt+1] = byte(status)
	}
	m.recipientDue = false
}

// How a header was changed.
const (
	headerAdded   = 'h'
	headerChanged = 'm' // or, with the empty value, deleted
)

// changed records a change to a header.
func (m *record) changed(how byte, index int, name, value string) {
	if m.result != nil {
		m.result.changed(how, index, name, value)
		return
	}
	var number [4]byte
	binary.BigEndian.PutUint32(number[:], uint32(index))
	m.changes = appendEntry(m.changes, how, 0, number[:], []byte(name), []byte{0}, []byte(value))
}

// forgetChanges drops the changes that were recorded.
func (m *record) forgetChanges() {
	m.changes = m.changes[:0]
	if m.result != nil {
		m.result.AddedHeaders, m.result.RemovedHeaders = nil, nil
	}
}

// message returns the result so far.
func (m *record) message() *MessageResult {
	if m.result == nil {
		m.result = &MessageResult{Start: m.start}
		entries(m.came, func(letter, status byte, text string) { m.add(protocol.Command(letter), status, text) })
		entries(m.changes, func(how, _ byte, text string) {
			name, value := cutNUL(text[4:])
			m.result.changed(how, int(binary.BigEndian.Uint32([]byte(text))), name, value)
		})
		block.Put(m.came)
		block.Put(m.changes)
		m.came, m.changes = nil, nil
	}
	m.result.BodySize, m.result.Incomplete = m.bodySize, m.cut
	return m.result
}

func cutNUL(text string) (before, after string) {
	for i := range len(text) {
		if text[i] == 0 {
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}
