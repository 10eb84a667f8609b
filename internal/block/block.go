// Package block lends byte arrays of a few sizes, so that what a session needs
// for a moment is neither kept while it is idle nor made anew each time.
package block

import "sync"

// The sizes: a command, one read, a read with a full body chunk, the changes to a
// mail.
const (
	Small  = 4 << 10
	Medium = 16 << 10
	Large  = 80 << 10
	Huge   = 320 << 10
)

var pools = [...]sync.Pool{
	{New: func() any { return new([Small]byte) }},
	{New: func() any { return new([Medium]byte) }},
	{New: func() any { return new([Large]byte) }},
	{New: func() any { return new([Huge]byte) }},
}

// Get returns an array of at least n bytes, with anything in it. One above Huge
// is made for the occasion.
func Get(n int) []byte {
	switch {
	case n <= Small:
		return pools[0].Get().(*[Small]byte)[:]
	case n <= Medium:
		return pools[1].Get().(*[Medium]byte)[:]
	case n <= Large:
		return pools[2].Get().(*[Large]byte)[:]
	case n <= Huge:
		return pools[3].Get().(*[Huge]byte)[:]
	}
	return make([]byte, n)
}

// Put takes an array back, which must not be used any more: b begins where what
// Get returned began. Other arrays than those of Get are left to the garbage
// collector.
func Put(b []byte) {
	switch cap(b) {
	case Small:
		pools[0].Put((*[Small]byte)(b[:Small]))
	case Medium:
		pools[1].Put((*[Medium]byte)(b[:Medium]))
	case Large:
		pools[2].Put((*[Large]byte)(b[:Large]))
	case Huge:
		pools[3].Put((*[Huge]byte)(b[:Huge]))
	}
}

// Append is append with arrays of Get: dst is given back when it is too small.
func Append[T string | []byte](dst []byte, p T) []byte {
	return append(Grow(dst, len(p)), p...)
}

// Grow returns dst with room for n more bytes; dst is given back when it is too
// small.
func Grow(dst []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	need := len(dst) + n
	if need > Huge {
		need = max(need, 2*cap(dst))
	}
	grown := append(Get(need)[:0], dst...)
	Put(dst)
	return grown
}
