package reply_test

import (
	"testing"

	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// BenchmarkAppend writes each reply into an array that has room for it.
func BenchmarkAppend(b *testing.B) {
	for _, tt := range replies {
		b.Run(tt.name, func(b *testing.B) {
			dst := make([]byte, 0, 4096)
			b.ReportAllocs()
			b.SetBytes(int64(len(tt.packet)))
			for b.Loop() {
				dst = tt.message.Append(dst[:0])
			}
		})
	}
}

// BenchmarkEndOfMessage writes what a milter answers at end of message: some
// changes, a new body and the verdict.
func BenchmarkEndOfMessage(b *testing.B) {
	body := make([]byte, protocol.MaxChunk)
	dst := make([]byte, 0, 128<<10)
	b.ReportAllocs()
	for b.Loop() {
		dst = reply.AddHeader{Name: "X-Scanned", Value: "yes"}.Append(dst[:0])
		dst = reply.ChangeHeader{Index: 1, Name: "Subject", Value: "[spam] hello"}.Append(dst)
		dst = reply.DeleteRecipient{Path: "<user@example.com>"}.Append(dst)
		dst = reply.ReplaceBody{Chunk: body}.Append(dst)
		dst = reply.Bare(protocol.ReplyContinue).Append(dst)
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkDecode(b *testing.B) {
	for _, tt := range replies {
		p := unframe(b, []byte(tt.packet))
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := reply.Decode(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
