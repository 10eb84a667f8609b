// Package work says what every filter of the comparison does, so that all of them
// do the same.
//
// Each event is answered with continue, or not at all where no-reply steps were
// negotiated. At end of message a filter adds one header field ([Field], [Value])
// and accepts. When it is told to change the mail, it adds nine fields, changes
// [Subject], replaces the body by [Body] and accepts.
//
// libmilter/filter.c says the same in C. Package run compares what the filters send
// before it measures them.
package work

import "strconv"

// The header field that is added at end of message.
const (
	Field = "X-Checked"
	Value = "by the filter, and found good"
)

// The field that is changed, and its new value.
const (
	Subject      = "Subject"
	SubjectValue = "[checked] a subject that somebody has changed"
)

// Added is how many fields are added when the mail is changed. With the changed
// one that makes ten changes of the header.
const Added = 9

// AddedField returns the name of the i-th of them, from 0.
func AddedField(i int) string { return Field + "-" + strconv.Itoa(i) }

// BodySize is the size of the new body in bytes: one full chunk of the protocol,
// which every library sends in one packet.
const BodySize = 65535

// Body returns the new body. Its lines end in LF: one of the libraries makes that of
// CRLF, and would send fewer bytes than the others.
func Body() []byte {
	const line = "The quick brown fox jumps over the lazy dog, and does it again and again.\n"
	body := make([]byte, BodySize)
	for i := range body {
		body[i] = line[i%len(line)]
	}
	return body
}
