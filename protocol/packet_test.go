package protocol_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/protocol"
)

// packet returns a packet with payload.
func packet(letter byte, payload string) []byte {
	return protocol.AppendPacket(nil, letter, []byte(payload))
}

// text returns the letter and the payload of p.
func text(p protocol.Packet) string { return string(append([]byte{p.Letter}, p.Payload...)) }

// drain returns all complete packets in b, each as its letter and payload.
func drain(b *protocol.Buffer) (packets []string, err error) {
	for {
		p, ok, err := b.Next()
		if !ok || err != nil {
			return packets, err
		}
		packets = append(packets, text(p))
	}
}

func TestAppendPacket(t *testing.T) {
	want := "before\x00\x00\x00\x04Habc"
	if got := string(protocol.AppendPacket([]byte("before"), 'H', []byte("abc"))); got != want {
		t.Errorf("AppendPacket: %q, want %q", got, want)
	}
	dst := []byte("before")
	start := len(dst)
	dst = protocol.BeginPacket(dst, 'H')
	dst = protocol.AppendString(dst, "ab")
	if got, want := string(protocol.EndPacket(dst, start)), "before\x00\x00\x00\x04Hab\x00"; got != want {
		t.Errorf("BeginPacket to EndPacket: %q, want %q", got, want)
	}
}

// countingReader counts the calls of Read.
type countingReader struct {
	io.Reader
	calls int
}

func (r *countingReader) Read(p []byte) (int, error) {
	r.calls++
	return r.Reader.Read(p)
}

func TestBufferManyPacketsInOneRead(t *testing.T) {
	var stream []byte
	var want []string
	for _, p := range readSession(t, "postfix") {
		stream = append(stream, p...)
		want = append(want, string(p[4:]))
	}
	if len(stream) > 4096 {
		t.Fatalf("the session has %d bytes; it should fit into one read", len(stream))
	}
	r := &countingReader{Reader: bytes.NewReader(stream)}
	var b protocol.Buffer
	var got []string
	for range want {
		p, err := b.ReadPacket(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, text(p))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	if r.calls != 1 {
		t.Errorf("%d packets took %d reads, want 1", len(want), r.calls)
	}
	if _, err := b.ReadPacket(r); err != io.EOF {
		t.Errorf("at the end: error %v, want io.EOF", err)
	}
}

func TestBufferSplitAnywhere(t *testing.T) {
	stream := bytes.Join([][]byte{packet('H', "client\x00"), packet('T', ""), packet('B', "\x00\x00\x00\x01T")}, nil)
	want := []string{"Hclient\x00", "T", "B\x00\x00\x00\x01T"}
	for i := range len(stream) + 1 {
		var b protocol.Buffer
		b.Write(stream[:i])
		got, err := drain(&b)
		if err != nil {
			t.Fatalf("split at %d: %v", i, err)
		}
		b.Write(stream[i:])
		rest, err := drain(&b)
		if err != nil {
			t.Fatalf("split at %d: %v", i, err)
		}
		if diff := cmp.Diff(want, append(got, rest...)); diff != "" {
			t.Errorf("split at %d (-want +got):\n%s", i, diff)
		}
	}
	// And one byte at a time.
	var b protocol.Buffer
	r := iotest.OneByteReader(bytes.NewReader(stream))
	for _, w := range want {
		p, err := b.ReadPacket(r)
		if got := text(p); err != nil || got != w {
			t.Fatalf("byte by byte: %q, %v; want %q", got, err, w)
		}
	}
}

func TestBufferPeek(t *testing.T) {
	var b protocol.Buffer
	stream := append(packet('H', "a\x00"), packet('T', "")...)
	b.Write(stream)
	for range 2 {
		p, ok, err := b.Peek()
		if !ok || err != nil || p.Letter != 'H' || string(p.Payload) != "a\x00" {
			t.Errorf("Peek = %q, %t, %v; want H a", p, ok, err)
		}
	}
	if b.Len() != len(stream) || !bytes.Equal(b.Bytes(), stream) {
		t.Errorf("after Peek: %d bytes %q, want all %d", b.Len(), b.Bytes(), len(stream))
	}
	if p, ok, err := b.Next(); !ok || err != nil || p.Letter != 'H' {
		t.Errorf("Next = %q, %t, %v; want H", p, ok, err)
	}
	if got, want := string(b.Bytes()), "\x00\x00\x00\x01T"; got != want || b.Len() != 5 {
		t.Errorf("after Next: %d bytes %q, want %q", b.Len(), got, want)
	}
}

func TestBufferLength(t *testing.T) {
	for _, tt := range []struct {
		name   string
		max    int
		length uint32
		want   string // of the error; empty if the length is allowed
	}{
		{"no payload", 0, 1, ""},
		{"zero", 0, 0, "protocol: bad packet length: 0 bytes (1 to 1048577 are allowed)"},
		{"default limit", 0, 1<<20 + 1, ""},
		{"above the default limit", 0, 1<<20 + 2, "protocol: bad packet length: 1048578 bytes (1 to 1048577 are allowed)"},
		{"limit", 10, 11, ""},
		{"above the limit", 10, 12, "protocol: bad packet length: 12 bytes (1 to 11 are allowed)"},
		{"negative as int32", 0, 1 << 31, "protocol: bad packet length: 2147483648 bytes (1 to 1048577 are allowed)"},
		{"all ones", 0, math.MaxUint32, "protocol: bad packet length: 4294967295 bytes (1 to 1048577 are allowed)"},
		{"no limit", math.MaxInt, math.MaxInt32, ""},
		{"zero without limit", math.MaxInt, 0, "protocol: bad packet length: 0 bytes (1 to 9223372036854775808 are allowed)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.max == math.MaxInt && math.MaxInt == math.MaxInt32 {
				tt.want = strings.Replace(tt.want, "9223372036854775808", "2147483648", 1)
			}
			b := protocol.Buffer{MaxPayload: tt.max}
			b.Write(binary.BigEndian.AppendUint32(nil, tt.length))
			_, ok, err := b.Next()
			if ok {
				t.Error("a packet was handed out from its length alone")
			}
			if tt.want == "" {
				if err != nil {
					t.Errorf("error %v, want none yet", err)
				}
				return
			}
			if !errors.Is(err, protocol.ErrPacketLength) {
				t.Errorf("error %v is no ErrPacketLength", err)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if _, err := b.ReadPacket(strings.NewReader("more")); !errors.Is(err, protocol.ErrPacketLength) {
				t.Errorf("ReadPacket: error %v, want ErrPacketLength", err)
			}
		})
	}
}

func TestBufferFullPackets(t *testing.T) {
	payload := strings.Repeat("x", protocol.MaxChunk)
	for _, limit := range []int{protocol.MaxChunk, 0} {
		b := protocol.Buffer{MaxPayload: limit}
		b.Write(packet('B', payload))
		if p, ok, err := b.Next(); !ok || err != nil || string(p.Payload) != payload {
			t.Errorf("limit %d: packet of %d bytes: ok %t, %v, %d bytes", limit, len(payload), ok, err, len(p.Payload))
		}
	}
}

func TestBufferGuess(t *testing.T) {
	for _, tt := range []struct{ stream, want string }{
		{"GET / HTTP/1.1", "HTTP"},
		{"POST / HTTP/1.1", "HTTP"},
		{"HEAD / HTTP/1.1", "HTTP"},
		{"PUT /x HTTP/1.1", "HTTP"},
		{"OPTIONS * HTTP/1.1", "HTTP"},
		{"CONNECT x:25 HTTP/1.1", "HTTP"},
		{"DELETE / HTTP/1.1", "HTTP"},
		{"PATCH / HTTP/1.1", "HTTP"},
		{"TRACE / HTTP/1.1", "HTTP"},
		{"PRI * HTTP/2.0", "HTTP"},
		{"\x16\x03\x01\x02\x00\x01", "TLS"},
		{"SSH-2.0-x", "SSH"},
		{"EHLO x", "SMTP"},
		{"HELO x", "SMTP"},
		{"QUIT\r\n", "SMTP"},
		{"\x03\x00\x00\x2f\x2a", "RDP"},
		{"post", ""},
	} {
		var b protocol.Buffer
		b.Write([]byte(tt.stream))
		_, _, err := b.Next()
		if !errors.Is(err, protocol.ErrPacketLength) {
			t.Errorf("%q: error %v, want ErrPacketLength", tt.stream, err)
			continue
		}
		_, got, _ := strings.Cut(err.Error(), "; this looks like ")
		if got != tt.want {
			t.Errorf("%q looks like %q, want %q: %v", tt.stream, got, tt.want, err)
		}
	}
}

var errBroken = errors.New("broken")

func TestReadPacketErrors(t *testing.T) {
	whole := packet('H', "a\x00")
	for _, tt := range []struct {
		name string
		r    io.Reader
		want error
	}{
		{"end at once", strings.NewReader(""), io.EOF},
		{"end within the length", bytes.NewReader(whole[:3]), io.ErrUnexpectedEOF},
		{"end behind the length", bytes.NewReader(whole[:4]), io.ErrUnexpectedEOF},
		{"end within the payload", bytes.NewReader(whole[:6]), io.ErrUnexpectedEOF},
		{"bytes together with the end", iotest.DataErrReader(bytes.NewReader(whole[:6])), io.ErrUnexpectedEOF},
		{"fault at once", iotest.ErrReader(errBroken), errBroken},
		{"fault within a packet", io.MultiReader(bytes.NewReader(whole[:6]), iotest.ErrReader(errBroken)), errBroken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b protocol.Buffer
			if p, err := b.ReadPacket(tt.r); err != tt.want {
				t.Errorf("ReadPacket = %q, %v; want error %v", p, err, tt.want)
			}
		})
	}
	t.Run("a packet together with the end", func(t *testing.T) {
		var b protocol.Buffer
		r := iotest.DataErrReader(bytes.NewReader(whole))
		if p, err := b.ReadPacket(r); err != nil || p.Letter != 'H' {
			t.Errorf("ReadPacket = %q, %v; want the packet", p, err)
		}
		if p, err := b.ReadPacket(r); err != io.EOF {
			t.Errorf("ReadPacket = %q, %v; want io.EOF", p, err)
		}
	})
}

func TestReadFrom1(t *testing.T) {
	var b protocol.Buffer
	r := &countingReader{Reader: iotest.DataErrReader(strings.NewReader("abc"))}
	if n, err := b.ReadFrom1(r); n != 3 || err != io.EOF || r.calls != 1 {
		t.Errorf("ReadFrom1 = %d, %v after %d reads; want 3, EOF after 1", n, err, r.calls)
	}
	if got := string(b.Bytes()); got != "abc" {
		t.Errorf("the buffer has %q, want what came with the error", got)
	}
}
