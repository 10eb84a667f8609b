package block_test

import (
	"bytes"
	"testing"

	"github.com/milter-go/milter/internal/block"
)

func TestGet(t *testing.T) {
	for _, tt := range []struct {
		n, want int
	}{
		{0, block.Small}, {1, block.Small}, {block.Small, block.Small},
		{block.Small + 1, block.Medium}, {block.Medium, block.Medium},
		{block.Medium + 1, block.Large}, {block.Large, block.Large},
		{block.Large + 1, block.Huge}, {block.Huge, block.Huge},
		{block.Huge + 1, block.Huge + 1},
	} {
		if b := block.Get(tt.n); len(b) != tt.want || cap(b) != tt.want {
			t.Errorf("Get(%d) has length %d and capacity %d, want %d", tt.n, len(b), cap(b), tt.want)
		}
	}
}

// TestPut: what was put is lent again, and other arrays are not.
func TestPut(t *testing.T) {
	for _, n := range []int{block.Small, block.Medium, block.Large, block.Huge} {
		if allocs := testing.AllocsPerRun(100, func() { block.Put(block.Get(n)[:7]) }); allocs != 0 && !raceEnabled {
			t.Errorf("Get(%d) and Put allocate %v times, want 0", n, allocs)
		}
	}
	for _, b := range [][]byte{nil, {}, make([]byte, 100), block.Get(block.Small)[100:]} {
		block.Put(b) // must not be lent as something it is not
	}
	for range 10 {
		if b := block.Get(block.Small); len(b) != block.Small {
			t.Fatalf("Get lends %d bytes, want %d", len(b), block.Small)
		}
	}
}

// TestAppend: nothing is lost while an array grows through all sizes.
func TestAppend(t *testing.T) {
	var got, want []byte
	piece := bytes.Repeat([]byte("0123456789abcde\n"), 100)
	for range 400 {
		got = block.Append(got, piece)
		want = append(want, piece...)
	}
	got = block.Append(got, "end")
	want = append(want, "end"...)
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes that differ from the %d appended", len(got), len(want))
	}
}
