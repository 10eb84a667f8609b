// Milter is what torture attacks: a small milter on the library, as a process of
// its own. What it does to a mail is said by the mail's sender, see plan. It says
// where it listens, and answers the line "stats" on its standard input, by lines
// that begin with @ on standard error, where its log goes as well. It ends when its
// standard input does, so that it never outlives the program that started it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/client/cli"
)

func main() {
	m := &milter{client: client.New()}
	if err := m.parse(os.Args[1:]); err != nil {
		os.Exit(m.command.Exit(err, os.Stdout, os.Stderr))
	}
	if m.ignoreSIGPIPE {
		signal.Ignore(syscall.SIGPIPE)
	}
	c := m.client
	c.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c.OnConnectionEstablished(m.register)
	c.OnListenStarted(func(addr net.Addr) { say("listen", client.SpecOf(addr)) })
	go m.control()
	os.Exit(m.command.Exit(c.Run(), os.Stdout, os.Stderr))
}

// A milter serves all sessions.
type milter struct {
	command       cli.Command
	client        *client.Client
	ignoreSIGPIPE bool
	late          time.Duration // after which everything is answered
	leak          int           // bytes a mail
	leaked        leaks
	counts        counts
}

func (m *milter) parse(args []string) error {
	var specs []string
	m.command = cli.Command{
		Name:    "milter",
		Summary: "The milter that torture attacks.",
		Groups: []cli.Group{{Title: "Options", Options: []cli.Option{
			{Long: "connection-spec", Short: 's', Arg: "SPEC", Value: cli.Strings(&specs), Help: "listen at SPEC; may be repeated"},
			{Long: "packet-timeout", Arg: "TIME", Value: cli.Duration(&m.client.PacketTimeout), Help: "how long a packet may take"},
			{Long: "write-timeout", Arg: "TIME", Value: cli.Duration(&m.client.WriteTimeout), Help: "how long the MTA may take to read"},
			{Long: "late", Arg: "TIME", Value: cli.Duration(&m.late), Help: "answer every event after TIME"},
			{Long: "leak", Arg: "BYTES", Value: cli.Int(&m.leak, 0, 1<<20), Help: "keep BYTES of each mail for ever, so that one sees that it is found"},
			{Long: "ignore-sigpipe", Value: cli.Bool(&m.ignoreSIGPIPE), Help: "live on when nobody reads standard output and error"},
		}}},
	}
	if _, err := m.command.Parse(args); err != nil {
		return err
	}
	for _, spec := range specs {
		if err := m.client.AddConnectionSpec(spec); err != nil {
			return err
		}
	}
	return nil
}

// counts are what happened, and how often.
type counts struct {
	Sessions, Finished, Begun, Processed, Aborted atomic.Int64
	Faults                                        atomic.Int64 // events that came twice or in the wrong place
}

// A stats is the answer to "stats". Its twin is in the package above.
type stats struct {
	HeapAlloc, HeapInuse uint64 // after garbage collection, bytes
	Goroutines           int
	Sessions             int64
	Finished             int64
	Begun                int64
	Processed            int64
	Aborted              int64
	Faults               int64
	Panics, BadPeers     uint64 // as the library counts
}

// control answers what stands on standard input, and ends the process with it.
func (m *milter) control() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch lines.Text() {
		case "mark":
			say("mark", "")
		case "stats":
			runtime.GC()
			runtime.GC() // what the first one finalized
			var memory runtime.MemStats
			runtime.ReadMemStats(&memory)
			counted := m.client.Statistics()
			text, err := json.Marshal(stats{
				memory.HeapAlloc, memory.HeapInuse, runtime.NumGoroutine(),
				m.counts.Sessions.Load(), m.counts.Finished.Load(), m.counts.Begun.Load(),
				m.counts.Processed.Load(), m.counts.Aborted.Load(), m.counts.Faults.Load(),
				counted.Panics, counted.BadPeers,
			})
			if err != nil {
				panic(err)
			}
			say("stats", string(text))
		}
	}
	os.Exit(0)
}

// say writes one line in one write.
func say(what, text string) { fmt.Fprintf(os.Stderr, "@%s %s\n", what, text) }
