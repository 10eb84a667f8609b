package main

import (
	"math/bits"
	"time"
)

const (
	subBits = 6 // each power of two has 64 buckets: a bucket's middle is off by at most 1/128
	subs    = 1 << subBits
	octaves = 40 // up to some 9 hours, in nanoseconds
)

// A histogram counts durations in buckets whose width grows with the value: the
// error is below 1 %, whatever the range. The zero value is ready.
type histogram struct {
	counts [octaves * subs]uint32
	n      uint64
	max    time.Duration
}

// add counts d.
func (h *histogram) add(d time.Duration) {
	h.counts[bucket(d)]++
	h.n++
	h.max = max(h.max, d)
}

// merge adds what other has counted.
func (h *histogram) merge(other *histogram) {
	for i, c := range other.counts {
		h.counts[i] += c
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// quantile returns the duration that the share q (0 to 1) of all is not above.
func (h *histogram) quantile(q float64) time.Duration {
	rank := max(1, uint64(q*float64(h.n)+0.999999))
	seen := uint64(0)
	for i, c := range h.counts {
		if seen += uint64(c); seen >= rank {
			return min(middle(i), h.max)
		}
	}
	return h.max
}

// bucket returns the number of the bucket for d: below 64 ns there is one for each
// nanosecond, above 64 for each power of two.
func bucket(d time.Duration) int {
	if d < subs {
		return int(max(d, 0))
	}
	shift := bits.Len64(uint64(d)) - subBits - 1
	return min(shift*subs+int(uint64(d)>>shift), octaves*subs-1)
}

// middle returns the middle of bucket i.
func middle(i int) time.Duration {
	if i < 2*subs {
		return time.Duration(i)
	}
	shift := i/subs - 1
	return time.Duration((uint64(i%subs+subs)<<shift + uint64(1)<<shift/2))
}
