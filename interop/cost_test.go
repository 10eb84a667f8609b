//go:build interop

package interop_test

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/milter-go/milter/client"
)

// costMilter is the environment variable that makes a milter of this program: name
// and spec of one of flowMilters.
const costMilter = "INTEROP_COST_MILTER"

// A cost is what a process has used so far.
type cost struct {
	cpu                        time.Duration
	reads, read, writes, wrote int // system calls and bytes
}

// spent returns the cost of this process. Its own reading is part of the next one.
func spent() (c cost) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err == nil {
		c.cpu = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	text, _ := os.ReadFile("/proc/self/io")
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, _ := strconv.Atoi(value)
		switch name {
		case "syscr":
			c.reads = n
		case "rchar":
			c.read = n
		case "syscw":
			c.writes = n
		case "wchar":
			c.wrote = n
		}
	}
	return c
}

// serveCostMilter serves a milter until the process is killed, and prints what each
// session has cost.
func serveCostMilter(arguments string) int {
	name, spec, _ := strings.Cut(arguments, " ")
	c := client.New()
	c.Logger = slog.New(slog.DiscardHandler)
	c.UnixSocketMode = 0o666
	c.OnConnectionEstablished(func(ctx *flowContext) {
		before := spent()
		flowMilters[name](ctx)
		ctx.OnFinished(func(*flowContext) {
			now := spent()
			fmt.Println("session", int64(now.cpu-before.cpu), now.reads-before.reads, now.read-before.read, now.writes-before.writes, now.wrote-before.wrote)
		})
	})
	err := c.SetConnectionSpec(spec)
	if err == nil {
		err = c.Listen()
	}
	if err == nil {
		fmt.Println("ready")
		err = c.Run()
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// testCost measures what a mail costs the process of a milter that is asked at each
// event, and of one that watches. It only tells: the figures are of this machine,
// and of use as ratios. See -mails and -rounds.
func testCost(t *testing.T, p *port) {
	names := []string{"plain", "watch"} // of flowMilters: the same but for that
	p.milter.idle(t)
	p.milter.kill()
	t.Cleanup(func() { p.milter.start(t) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for size, mail := range map[string]string{"4 KiB": costMail, "97 KiB": tripsMail} {
		costs := make(map[string][]cost)
		for range *rounds {
			for _, name := range names {
				costs[name] = append(costs[name], costOf(t, p, self, name, mail))
			}
		}
		var text strings.Builder
		var cpus []float64
		for _, name := range names {
			slices.SortFunc(costs[name], func(a, b cost) int { return cmp.Compare(a.cpu, b.cpu) })
			c := costs[name][len(costs[name])/2]
			n := float64(*mails)
			cpus = append(cpus, float64(c.cpu))
			fmt.Fprintf(&text, "\n%s: %.0f µs of CPU, %.2f reads of %.0f bytes, %.2f writes of %.0f bytes",
				name, float64(c.cpu.Microseconds())/n, float64(c.reads)/n, float64(c.read)/n, float64(c.writes)/n, float64(c.wrote)/n)
		}
		t.Logf("%s, a mail of %s (%d in a session, median of %d); CPU of watch to plain: %.2f%s",
			p.mta.name(), size, *mails, *rounds, cpus[1]/cpus[0], &text)
	}
}

// costMail has as many fields as tripsMail.
var costMail = tripsMail[:4<<10]

// costOf returns what a session of mails costs one of flowMilters.
func costOf(t *testing.T, p *port, self, name, mail string) cost {
	t.Helper()
	milter := launch(t, "/usr/bin/env", costMilter+"="+name+" "+p.milter.spec, self)
	defer func() { // it leaves the place before the next one comes
		_ = milter.cmd.Process.Kill()
		<-milter.ended
		_ = milter.cmd.Wait()
	}()
	milter.until("ready")
	session := func(n int) (out cost) {
		c := p.dial(t)
		c.hello()
		for range n {
			c.send("<from@client.test>", mail, "<a@test.local>", "<b@test.local>")
		}
		c.quit()
		select {
		case line := <-milter.lines:
			if _, err := fmt.Sscanf(line, "session %d %d %d %d %d", &out.cpu, &out.reads, &out.read, &out.writes, &out.wrote); err != nil {
				t.Fatalf("the milter says %q: %v", line, err)
			}
		case <-time.After(deadline):
			t.Fatalf("the milter's session does not end")
		}
		return out
	}
	session(2) // to warm up
	return session(*mails)
}
