// Package interop holds the judgement of other programs on the library: tests
// that start real MTAs, and other implementations of the protocol, and look at
// what they make of our milters. They need the build tag interop, root, and the
// packages that interop/run installs:
//
//	make interop
//
// The sessions that were recorded with the MTAs (testdata/flows) need none of that:
// every go test replays them.
//
// The library itself is in the other folders; nothing here is meant for import.
package interop
