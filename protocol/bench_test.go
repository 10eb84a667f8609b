package protocol_test

import (
	"bytes"
	"testing"

	"github.com/milter-go/milter/protocol"
)

// BenchmarkSession reads and decodes a whole recorded session.
func BenchmarkSession(b *testing.B) {
	for _, mta := range []string{"postfix", "sendmail"} {
		packets := readSession(b, mta)
		stream := bytes.Join(packets, nil)
		b.Run(mta, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(stream)))
			var buffer protocol.Buffer
			for b.Loop() {
				buffer.Write(stream)
				for range packets {
					p, ok, err := buffer.Next()
					if !ok || err != nil {
						b.Fatal(ok, err)
					}
					if _, err := protocol.Decode(p); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkBuffer reads packets without decoding them.
func BenchmarkBuffer(b *testing.B) {
	for _, bm := range []struct {
		name    string
		packets [][]byte
	}{
		{"session", readSession(b, "postfix")},
		{"body", [][]byte{packet('B', string(make([]byte, protocol.MaxChunk)))}},
	} {
		stream := bytes.Join(bm.packets, nil)
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(stream)))
			var buffer protocol.Buffer
			r := bytes.NewReader(nil)
			for b.Loop() {
				r.Reset(stream)
				for range bm.packets {
					if _, err := buffer.ReadPacket(r); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkMacroListGet(b *testing.B) {
	list := protocol.MacroList("j\x00mx.example.com\x00{daemon_name}\x00MTA\x00{daemon_addr}\x00192.0.2.1\x00_\x00a [192.0.2.2]\x00")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := list.Get("_"); !ok {
			b.Fatal("not found")
		}
	}
}

func BenchmarkParseMailFrom(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := protocol.ParseMailFrom("<user@example.com> SIZE=1000 BODY=8BITMIME"); err != nil {
			b.Fatal(err)
		}
	}
}
