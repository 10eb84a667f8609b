package main

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/milter-go/milter/protocol"
)

const (
	clientHost    = "mx.example.net"
	clientAddress = "192.0.2.25" // RFC 5737
	clientPort    = 50443
	mtaHost       = "mail.example.com"
	queueID       = "4XkT1r0Zq9z3B"
	sender        = "sender@example.com"
)

// A mail is what every message of a run consists of.
type mail struct {
	headers []protocol.Header // without the space behind the colon
	body    []byte
}

// newMail makes up a mail. The same seed gives the same mail.
func newMail(headers, body int, seed uint64) mail {
	text := textMaker{rand.New(rand.NewPCG(seed, 0))}
	var m mail
	for i := range headers {
		m.headers = append(m.headers, text.header(i))
	}
	for len(m.body) < body {
		m.body = append(append(m.body, text.words(72)...), "\r\n"...)
	}
	m.body = m.body[:body:body]
	return m
}

func recipient(i int) string { return fmt.Sprintf("receiver%d@example.org", i+1) }

type textMaker struct{ random *rand.Rand }

// words returns a line of at most width bytes.
func (t textMaker) words(width int) string {
	const letters = "etaoinshrdlucmfwypvbgk"
	var b strings.Builder
	for {
		length := 2 + t.random.IntN(8)
		if b.Len()+1+length > width {
			return b.String()
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		for range length {
			b.WriteByte(letters[t.random.IntN(len(letters))])
		}
	}
}

// header returns the i-th header field: those that every mail has, and then others
// of which every fourth is folded.
func (t textMaker) header(i int) protocol.Header {
	usual := []protocol.Header{
		{Name: "From", Value: "A Sender <" + sender + ">"},
		{Name: "To", Value: "A Receiver <" + recipient(0) + ">"},
		{Name: "Subject", Value: t.words(40)},
		{Name: "Date", Value: "Mon, 1 Jan 2024 00:00:00 +0000"},
		{Name: "Message-Id", Value: fmt.Sprintf("<%016x@example.com>", t.random.Uint64())},
		{Name: "MIME-Version", Value: "1.0"},
		{Name: "Content-Type", Value: "text/plain; charset=us-ascii"},
	}
	if i < len(usual) {
		return usual[i]
	}
	value := t.words(56)
	if i%4 == 0 {
		value += "\n\t" + t.words(56)
	}
	return protocol.Header{Name: fmt.Sprintf("X-Field-%d", i+1), Value: value}
}
