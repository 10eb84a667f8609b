package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/milter-go/milter/internal/block"
)

const (
	// MaxChunk is the largest payload that libmilter, Sendmail and Postfix take
	// or send without an agreement on more, in bytes: the size of a full body
	// chunk. This library never writes a larger one.
	MaxChunk = 65535

	// DefaultMaxPayload is the largest payload a [Buffer] takes by default, in
	// bytes. It is above MaxChunk because Postfix sends headers of up to
	// header_size_limit (102400) in one packet.
	DefaultMaxPayload = 1 << 20

	headerSize = 4 // the length in front of every packet
	letterSize = 1
)

// ErrPacketLength is the error for a packet whose length is zero or above the
// limit. The stream cannot be read any further.
var ErrPacketLength = errors.New("protocol: bad packet length")

// BeginPacket appends the start of a packet with the given letter to dst: room
// for the length, and the letter. The caller appends the payload and then calls
// [EndPacket] with the length that dst had before.
func BeginPacket(dst []byte, letter byte) []byte {
	return append(dst, 0, 0, 0, 0, letter)
}

// EndPacket completes the packet that begins at dst[start:] by writing its
// length in front of it.
func EndPacket(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-headerSize))
	return dst
}

// AppendPacket appends a packet with the given letter and payload to dst.
func AppendPacket(dst []byte, letter byte, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(letterSize+len(payload)))
	dst = append(dst, letter)
	return append(dst, payload...)
}

// AppendString appends s and a NUL to dst.
func AppendString(dst []byte, s string) []byte {
	return append(append(dst, s...), 0)
}

// A Packet is one packet as it came. Its payload points into the buffer that it
// was read from and is valid until the next call on that buffer.
type Packet struct {
	Letter  byte
	Payload []byte
}

// A Buffer takes bytes as they arrive and hands them out as packets. One read
// may bring many packets, or a part of one. It grows with the bytes that have
// arrived, never by the length that a packet announces.
//
// The zero value is ready, with a limit of [DefaultMaxPayload].
type Buffer struct {
	// MaxPayload is the largest payload that is taken, in bytes; zero stands for
	// DefaultMaxPayload.
	MaxPayload int

	buf        []byte
	start, end int  // the unread bytes are buf[start:end]
	large      bool // packets were large before the last Release
}

const (
	// One read takes a mail of a few kilobytes whose steps need no reply.
	readSize = block.Medium
	// After a large packet another one is expected: a body comes in full chunks.
	largeReadSize = headerSize + letterSize + MaxChunk
	// A beginning of a packet up to this size does not keep an array of its own
	// while the rest is awaited.
	restSize = 256
)

// Write adds p to the buffer. It always succeeds.
func (b *Buffer) Write(p []byte) (int, error) {
	b.makeRoom(len(p))
	b.end += copy(b.buf[b.end:], p)
	return len(p), nil
}

// Room returns where the next bytes may be read to, at least one; [Buffer.Added]
// says how many did come.
func (b *Buffer) Room() []byte {
	n := 1
	if b.Len() <= restSize {
		n = readSize - restSize
		if b.large {
			n = largeReadSize
		}
	}
	b.makeRoom(n)
	return b.buf[b.end:]
}

// Added says that n bytes were read into what [Buffer.Room] has returned.
func (b *Buffer) Added(n int) { b.end += n }

// Release gives memory back that is not needed until more bytes come. Payloads
// that were handed out are void then.
func (b *Buffer) Release() {
	if b.buf != nil {
		b.large = b.end > readSize
	}
	switch n := b.Len(); {
	case n == 0:
		block.Put(b.buf)
		b.buf, b.start, b.end = nil, 0, 0
	case n <= restSize && len(b.buf) > restSize:
		rest := append(make([]byte, 0, restSize), b.Bytes()...)
		block.Put(b.buf)
		b.buf, b.start, b.end = rest[:restSize], 0, n
	}
}

// ReadFrom1 reads from r once and adds what came.
func (b *Buffer) ReadFrom1(r io.Reader) (int, error) {
	n, err := r.Read(b.Room())
	b.Added(n)
	return n, err
}

// Len returns how many bytes have not been handed out.
func (b *Buffer) Len() int { return b.end - b.start }

// Bytes returns what has not been handed out, valid until the next call.
func (b *Buffer) Bytes() []byte { return b.buf[b.start:b.end] }

// Next hands out the next packet. ok is false when it is not there completely;
// then the buffer is unchanged. The error wraps [ErrPacketLength].
func (b *Buffer) Next() (p Packet, ok bool, err error) {
	p, ok, err = b.Peek()
	if ok {
		b.Discard(p)
	}
	return p, ok, err
}

// Discard counts the packet that Peek has returned as handed out.
func (b *Buffer) Discard(p Packet) { b.start += headerSize + letterSize + len(p.Payload) }

// Peek is like [Buffer.Next] and leaves the packet in the buffer.
func (b *Buffer) Peek() (p Packet, ok bool, err error) {
	unread := b.buf[b.start:b.end]
	if len(unread) > headerSize {
		// Of a length of zero, less one, comes one that is too large.
		n := uint64(binary.BigEndian.Uint32(unread) - letterSize)
		if n <= uint64(b.maxPayload()) && n <= uint64(len(unread)-headerSize-letterSize) {
			return Packet{unread[headerSize], unread[headerSize+letterSize:][:n]}, true, nil
		}
	}
	return Packet{}, false, b.fault(unread)
}

// fault says what is wrong with the packet that begins with unread, which is not
// complete or too large.
func (b *Buffer) fault(unread []byte) error {
	if len(unread) < headerSize {
		return nil
	}
	// The length is compared as a 64-bit number: with 32-bit ints it could be
	// negative.
	n := uint64(binary.BigEndian.Uint32(unread))
	if limit := letterSize + uint64(b.maxPayload()); n < letterSize || n > limit {
		return fmt.Errorf("%w: %d bytes (1 to %d are allowed)%s", ErrPacketLength, n, limit, guess(unread))
	}
	return nil
}

// ReadPacket returns the next packet, reading from r as often as that takes. The
// error is io.EOF when r ends between two packets and io.ErrUnexpectedEOF when
// it ends within one.
func (b *Buffer) ReadPacket(r io.Reader) (Packet, error) {
	var readErr error
	for {
		p, ok, err := b.Next()
		if ok || err != nil {
			return p, err
		}
		// A read may bring a packet and an error at once: the packet comes first.
		if readErr != nil {
			if readErr == io.EOF && b.Len() > 0 {
				readErr = io.ErrUnexpectedEOF
			}
			return Packet{}, readErr
		}
		_, readErr = b.ReadFrom1(r)
	}
}

func (b *Buffer) maxPayload() int {
	if b.MaxPayload > 0 {
		return b.MaxPayload
	}
	return DefaultMaxPayload
}

// makeRoom makes sure that at least n bytes fit behind the unread ones.
func (b *Buffer) makeRoom(n int) {
	if b.buf == nil {
		b.buf, b.start, b.end = block.Get(n), 0, 0
		return
	}
	unread := b.Len()
	if unread == 0 {
		b.start, b.end = 0, 0
		if len(b.buf) > block.Large && n <= block.Small {
			b.buf = nil // made for one large packet
		}
	}
	if len(b.buf)-b.end >= n {
		return
	}
	if b.start > 0 && len(b.buf)-unread >= n {
		copy(b.buf, b.Bytes())
		b.start, b.end = 0, unread
		return
	}
	grown := block.Get(max(b.growth(), unread+n))
	copy(grown, b.Bytes())
	block.Put(b.buf)
	b.buf, b.start, b.end = grown, 0, unread
}

// growth returns the size of the next array: twice what has arrived, or the size
// of the packet that has begun when a quarter of it has arrived. So the array of
// a full body chunk has just its size and is kept for the next one.
func (b *Buffer) growth() int {
	unread := b.Bytes()
	if len(unread) >= headerSize {
		have, n := uint64(len(unread)), headerSize+uint64(binary.BigEndian.Uint32(unread))
		if have < n && n < 4*have {
			return int(n)
		}
	}
	return 2 * len(unread)
}

// guess says what a stream that is no milter stream looks like: scanners and
// misdirected clients do reach milter ports.
func guess(stream []byte) string {
	switch s := string(stream[:headerSize]); {
	case slices.Contains([]string{"GET ", "POST", "HEAD", "PUT ", "OPTI", "CONN", "DELE", "PATC", "TRAC", "PRI "}, s):
		return "; this looks like HTTP"
	case s[:2] == "\x16\x03":
		return "; this looks like TLS"
	case s == "SSH-":
		return "; this looks like SSH"
	case s == "EHLO" || s == "HELO" || s == "QUIT":
		return "; this looks like SMTP"
	case s[:3] == "\x03\x00\x00":
		return "; this looks like RDP"
	}
	return ""
}
