//go:build !knownfault

package context_test

// knownFaults lets the tests look for faults that are known, see knownfault_test.go.
const knownFaults = false
