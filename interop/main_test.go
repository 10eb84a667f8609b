//go:build interop

package interop_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seed   = flag.Uint64("seed", 1, "seed of the hostile strings; 0 takes a new one")
	update = flag.Bool("update", false, "write what was seen into testdata instead of comparing")
	keep   = flag.Bool("keep", false, "keep the folders of the MTAs, with their logs")
	mails  = flag.Int("mails", 20, "number of mails in a session whose cost for the milter is measured")
	rounds = flag.Int("rounds", 1, "number of times that this is done")
)

// deadline is how long anything may take that should happen at once: the machine
// may be busy.
const deadline = 20 * time.Second

// A judge is another program that says whether the library is right.
type judge struct {
	name    string
	version string
	skip    string // why there is none
	cases   atomic.Int64
	failed  atomic.Int64
	begin   time.Time
	took    time.Duration
}

// judges are all of them, for the table at the end.
var judges struct {
	sync.Mutex
	list []*judge
}

// newJudge enters a judge into the table at the end. skip says why it cannot
// judge; the test is skipped then.
func newJudge(t *testing.T, name, version, skip string) *judge {
	t.Helper()
	j := &judge{name: name, version: version, skip: skip, begin: time.Now()}
	judges.Lock()
	judges.list = append(judges.list, j)
	judges.Unlock()
	if skip != "" {
		t.Skip(skip)
	}
	t.Cleanup(func() { j.took = time.Since(j.begin) })
	return j
}

// run is t.Run for one case.
func (j *judge) run(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		j.cases.Add(1)
		t.Cleanup(func() { // the last one to run
			if t.Failed() {
				j.failed.Add(1)
			}
		})
		f(t)
	})
}

func TestMain(m *testing.M) {
	if name := os.Getenv(costMilter); name != "" {
		os.Exit(serveCostMilter(name))
	}
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	begin := time.Now()
	code := m.Run()
	if *update {
		for _, tb := range []*table{replies, failures} {
			if err := tb.save(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
	}
	os.Exit(summary(code, time.Since(begin)))
}

// summary prints the table of judges. A judge that is not there is a failure
// under CI.
func summary(code int, took time.Duration) int {
	slices.SortFunc(judges.list, func(a, b *judge) int { return a.begin.Compare(b.begin) })
	fmt.Printf("\n%-28s %6s %7s %8s\n", "judge", "cases", "failed", "time")
	var cases, failed int64
	for _, j := range judges.list {
		if j.skip != "" {
			continue
		}
		fmt.Printf("%-28s %6d %7d %6.1f s\n", j.name+" "+j.version, j.cases.Load(), j.failed.Load(), j.took.Seconds())
		cases += j.cases.Load()
		failed += j.failed.Load()
	}
	fmt.Printf("%-28s %6d %7d %6.1f s\n", "all", cases, failed, took.Seconds())
	for _, j := range judges.list {
		if j.skip == "" {
			continue
		}
		fmt.Printf("SKIP %s: %s\n", j.name, j.skip)
		if os.Getenv("CI") == "true" && code == 0 {
			fmt.Println("a judge that is missing is a failure with CI=true")
			code = 1
		}
	}
	return code
}

// eventually waits for a condition that nobody tells us of.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", deadline, what)
		}
	}
}
