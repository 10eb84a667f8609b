//go:build race

package context_test

// raceEnabled says that the race detector is on, under which exhaustive tests
// take a step less.
const raceEnabled = true
