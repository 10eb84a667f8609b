//go:build race

package block_test

// raceEnabled says that the race detector is on, under which a sync.Pool drops at
// random what it gets.
const raceEnabled = true
