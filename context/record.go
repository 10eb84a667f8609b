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
	run     []byte // more of them, still in the buffer, see goOn
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

// An entry is a packet: what came is recorded as it came. Of the length three bytes
// are enough; the first one is for the status of a recipient.
const (
	entrySize  = 4 + 1
	unanswered = 0xff // the status of a recipient whose reply is due
)

// appendEntry appends an entry with room for n bytes of text, and returns it, too.
func appendEntry(dst []byte, letter byte, n int) (list, entry []byte) {
	at := len(dst)
	list = block.Grow(dst, entrySize+n)[:at+entrySize+n]
	entry = list[at:]
	binary.BigEndian.PutUint32(entry, uint32(1+n))
	entry[entrySize-1] = letter
	return list, entry
}

// entries calls f with each entry.
func entries(list []byte, f func(letter, status byte, text string)) {
	for len(list) > 0 {
		n := entrySize - 1 + int(binary.BigEndian.Uint32(list)&0xffffff)
		f(list[entrySize-1], list[0], string(list[entrySize:n]))
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
	if m.result != nil {
		m.add(c, unanswered, string(text))
		return
	}
	m.recipientAt = len(m.came)
	var entry []byte
	m.came, entry = appendEntry(m.came, byte(c), len(text))
	copy(entry[entrySize:], text)
	if m.recipientDue {
		entry[0] = unanswered
	}
}

// goOn records one more of the header fields that are in the buffer in a row, the
// packet that unread begins with: with all of them, when the run ends. It reports
// whether that is so.
func (m *record) goOn(unread []byte, p protocol.Packet) bool {
	n := entrySize + len(p.Payload)
	if m.size+n > maxRecord || m.result != nil {
		return false
	}
	m.size += n
	if len(m.run) == 0 {
		m.run = unread[:0]
	}
	m.run = m.run[:len(m.run)+n]
	return true
}

// endRun is called before the buffer changes.
func (m *record) endRun() {
	if len(m.run) > 0 {
		m.came = block.Append(m.came, m.run)
	}
	m.run = nil
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
		m.came[m.recipientAt] = byte(status)
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
	var entry []byte
	m.changes, entry = appendEntry(m.changes, how, 4+len(name)+1+len(value))
	binary.BigEndian.PutUint32(entry[entrySize:], uint32(index))
	text := entry[entrySize+4:]
	n := copy(text, name)
	text[n] = 0
	copy(text[n+1:], value)
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
		m.endRun()
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
