package client_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/milter-go/milter/client"
)

// TestMain lets the test binary play a milter in a process of its own.
func TestMain(m *testing.M) {
	if spec := os.Getenv("CLIENT_TEST_MILTER"); spec != "" {
		os.Exit(playMilter(spec))
	}
	if os.Getenv("CLIENT_TEST_PIPE") != "" {
		os.Exit(playPipe())
	}
	os.Exit(m.Run())
}

// playPipe prints until nobody reads it, and says so by its status.
func playPipe() int {
	c := client.New()
	defer c.ShutdownOnSignal()()
	for {
		if _, err := os.Stdout.WriteString("a line\n"); err != nil {
			return 42
		}
	}
}

// TestClosedPipe: a milter whose log nobody reads any more lives on.
func TestClosedPipe(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CLIENT_TEST_PIPE=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Close()
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 42 {
		t.Errorf("exit status %d, want 42: %v", got, cmd.ProcessState)
	}
}

// playMilter serves at spec with 40 descriptors. For each line of its input it
// says how much processor time it has used, how many connections were refused, how
// many log lines there were, and the last one that was about connections.
func playMilter(spec string) int {
	limit := syscall.Rlimit{Cur: 40, Max: 40}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		fmt.Println(err)
		return 1
	}
	var lines atomic.Int64
	var last atomic.Value
	c := client.New()
	c.Logger = slog.New(slog.DiscardHandler)
	c.OnError(func(err error) {
		lines.Add(1)
		if strings.Contains(err.Error(), "waiting") || last.Load() == nil {
			last.Store(err.Error()) // not always does somebody wait
		}
	})
	c.OnListenStarted(func(addr net.Addr) { fmt.Println(addr) })
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			var used syscall.Rusage
			if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
				fmt.Println(err)
			}
			fmt.Println(used.Utime.Nano()+used.Stime.Nano(), c.Statistics().Refused, lines.Load(), last.Load())
		}
		c.Close()
	}()
	if err := c.ListenAndServe(spec); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// A milterProcess is a process that plays a milter.
type milterProcess struct {
	in   io.WriteCloser
	out  *bufio.Reader
	addr string
}

func startMilter(t *testing.T, spec string) *milterProcess {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CLIENT_TEST_MILTER="+spec)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &milterProcess{in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the process of the milter: %v", err)
		}
	})
	p.addr = p.line(t)
	return p
}

func (p *milterProcess) line(t *testing.T) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\n")
}

// A usage is what the process says of itself, see playMilter.
type usage struct {
	time    time.Duration // of the processor
	refused int
	lines   int
	last    string
}

func (p *milterProcess) usage(t *testing.T) usage {
	t.Helper()
	if _, err := p.in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	line := p.line(t)
	fields := strings.SplitN(line, " ", 4)
	var u usage
	if n, err := fmt.Sscan(line, &u.time, &u.refused, &u.lines); n != 3 || len(fields) != 4 {
		t.Fatalf("the milter says %q: %v", line, err)
	}
	u.last = fields[3]
	return u
}

// In a process that has no descriptor left the sessions that run go on, and
// nobody else is kept waiting: each is served or hung up on within the second that
// accept may rest. It costs next to nothing, and is over as soon as there are
// descriptors.
func TestOutOfFiles(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp4", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			spec := "inet:0@127.0.0.1"
			if network == "unix" {
				spec = "unix:" + filepath.Join(t.TempDir(), "s")
			}
			p := startMilter(t, spec)
			const connects = 80
			served, closed := outOfFiles(t, network, p.addr, connects)
			if len(served)+closed != connects || len(served) < 10 || closed < connects-40 {
				t.Errorf("%d served, %d closed of %d with 40 descriptors", len(served), closed, connects)
			}

			// Nothing comes for a while, then somebody every now and then.
			start := time.Now()
			before := p.usage(t)
			for range 4 {
				time.Sleep(300 * time.Millisecond) // real time: it is the processor time in it that counts
				if s, _ := outOfFiles(t, network, p.addr, 1); len(s) != 0 {
					t.Error("served without a descriptor")
				}
			}
			after := p.usage(t)
			span := time.Since(start)
			if used := after.time - before.time; used > span/20 {
				t.Errorf("used %v of %v, want less than 5 %%", used, span)
			}
			if lines := after.lines - before.lines; lines > int(span/time.Second)+1 || before.lines == 0 {
				t.Errorf("%d log lines, then %d in %v; want some, then one a second at most", before.lines, lines, span)
			}
			if !strings.Contains(after.last, "too many open files; waiting connections that were closed: ") {
				t.Errorf("a fault is %q; want the number of connections that were closed", after.last)
			}
			// They are counted when all that waited at that moment are closed.
			eventually(t, fmt.Sprintf("%d connections are refused", closed+4), func() bool { return p.usage(t).refused == closed+4 })

			for _, m := range served {
				m.Close()
			}
			start = time.Now()
			for len(served) > 0 {
				if served, _ = outOfFiles(t, network, p.addr, 1); len(served) == 1 {
					break
				}
				served = make([]*mta, 1)
				if time.Since(start) > patience {
					t.Fatal("nobody is served although there are descriptors")
				}
			}
			if d := time.Since(start); d > 1100*time.Millisecond {
				t.Errorf("served %v after there were descriptors, want 1.1s", d)
			}
		})
	}
}

// outOfFiles connects n times at once. It returns those that are served, and how
// many were hung up on, for which they have 1.1 s.
func outOfFiles(t *testing.T, network, addr string, n int) (served []*mta, closed int) {
	t.Helper()
	a := &net.UnixAddr{Name: addr, Net: network}
	var mtas []*mta
	for range n {
		mtas = append(mtas, dial(t, a))
	}
	start := time.Now()
	for _, m := range mtas {
		_, err := m.Write(offer)
		if err == nil {
			_, err = m.buffer.ReadPacket(m)
		}
		if err == nil {
			served = append(served, m)
			continue
		}
		closed++
		m.Close()
		if d := time.Since(start); d > 1100*time.Millisecond {
			t.Errorf("closed after %v with %v, want 1.1s at most", d, err)
		}
	}
	return served, closed
}
