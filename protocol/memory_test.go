package protocol_test

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/protocol"
)

// A length is only a claim: memory follows the bytes that have come.
func TestBufferAnnouncedLengthAllocatesNothing(t *testing.T) {
	const sessions = 1000
	header := binary.BigEndian.AppendUint32(nil, protocol.DefaultMaxPayload)
	buffers := make([]protocol.Buffer, sessions)
	allocated := allocatedBy(func() {
		for i := range buffers {
			buffers[i].Write(header)
			if _, ok, err := buffers[i].Next(); ok || err != nil {
				t.Fatalf("a length alone: ok %t, %v", ok, err)
			}
		}
	})
	if per := allocated / sessions; per > 5000 {
		t.Errorf("a length of %d made a session allocate %d bytes, want one array of 4096", protocol.DefaultMaxPayload, per)
	}
	b := protocol.Buffer{}
	b.Write(header)
	if allocs := testing.AllocsPerRun(100, func() {
		if _, ok, err := b.Next(); ok || err != nil {
			t.Fatalf("a length alone: ok %t, %v", ok, err)
		}
	}); allocs != 0 {
		t.Errorf("looking at a length allocates %v times, want 0", allocs)
	}
}

// A packet that comes in pieces takes a small multiple of its size, and a
// session of packets of a full chunk allocates once for all.
func TestBufferGrowth(t *testing.T) {
	for _, size := range []int{100, 4091, 4092, protocol.MaxChunk, 100 << 10, 1 << 20} {
		stream := packet('B', strings.Repeat("x", size))
		var b protocol.Buffer
		allocated := allocatedBy(func() {
			for piece := stream; len(piece) > 0; piece = piece[min(1000, len(piece)):] {
				b.Write(piece[:min(1000, len(piece))])
			}
		})
		if limit := uint64(4*len(stream) + 16<<10); allocated > limit {
			t.Errorf("%d bytes made the buffer allocate %d, want at most %d", len(stream), allocated, limit)
		}
		if p, ok, err := b.Next(); !ok || err != nil || len(p.Payload) != size {
			t.Errorf("packet of %d bytes: ok %t, %v, %d bytes", size, ok, err, len(p.Payload))
		}
	}

	stream := packet('B', strings.Repeat("x", protocol.MaxChunk))
	var b protocol.Buffer
	r := bytes.NewReader(nil)
	if allocs := testing.AllocsPerRun(10, func() { // runs once before it counts
		r.Reset(stream)
		if _, err := b.ReadPacket(r); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("a further body chunk allocates %v times, want 0", allocs)
	}
}

// The room of packets that have been handed out is used again.
func TestBufferReusesRoom(t *testing.T) {
	var want []string
	var stream []byte
	for i := range 100 {
		payload := strings.Repeat(string(rune('a'+i%26)), 1000)
		want = append(want, "B"+payload)
		stream = append(stream, packet('B', payload)...)
	}
	var b protocol.Buffer
	var got []string
	if allocated := allocatedBy(func() {
		for piece := stream; len(piece) > 0; piece = piece[min(1500, len(piece)):] {
			b.Write(piece[:min(1500, len(piece))])
			packets, err := drain(&b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, packets...)
		}
	}); allocated > uint64(3*len(stream)) { // the strings of drain are counted, too
		t.Errorf("%d bytes made the buffer allocate %d", len(stream), allocated)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
}

// A stream of many packets in a buffer that is not drained grows by doubling.
func TestBufferGrowthOfManyPackets(t *testing.T) {
	small := packet('H', "a\x00")
	const n = 20_000
	var b protocol.Buffer
	if allocs := testing.AllocsPerRun(1, func() {
		b = protocol.Buffer{}
		for range n {
			b.Write(small)
		}
	}); allocs > 20 {
		t.Errorf("%d small writes allocate %v times, want about ten doublings", n, allocs)
	}
	if got, err := drain(&b); err != nil || len(got) != n {
		t.Errorf("%d packets, %v; want %d", len(got), err, n)
	}
}

// What a large packet took is given back once it has been handed out and the
// next bytes come.
func TestBufferGivesBack(t *testing.T) {
	buffers := make([]protocol.Buffer, 20)
	large := packet('L', strings.Repeat("x", 1<<20))
	small := packet('H', "a\x00")
	before := heapInUse()
	for i := range buffers {
		for _, p := range [][]byte{large, small} {
			buffers[i].Write(p)
			if got, err := drain(&buffers[i]); err != nil || len(got) != 1 {
				t.Fatalf("%d packets, %v; want 1", len(got), err)
			}
		}
	}
	if held := heapInUse() - before; held > 1<<20 {
		t.Errorf("%d idle buffers hold %d bytes after packets of 1 MiB, want 4096 each", len(buffers), held)
	}
	runtime.KeepAlive(buffers)
}

func allocatedBy(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
