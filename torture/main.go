//go:build linux

// Torture attacks milters of this library from outside: it starts them as
// processes, sends them what no MTA would send, cuts connections, takes resources
// away, and measures. Every attack is a row of a table; it exits 1 when a row is not
// as required.
//
//	$ go run ./torture              # or make torture: all attacks, about a minute
//	$ go run ./torture --only emfile
//	$ go run ./torture --soak       # or make soak: 10^6 messages
//
// It runs on loopback and in a temporary folder only, and ends what it has
// started, also when it is interrupted. Everything is bounded in time.
package main

import (
	stdcontext "context"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"github.com/milter-go/milter/client/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(stdcontext.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are what the command line says.
type options struct {
	soak     bool
	messages int
	leak     int
	seed     int
	only     string
	write    bool
	play     string
}

func (o *options) command() *cli.Command {
	*o = options{messages: 1_000_000, seed: 1}
	return &cli.Command{
		Name:    "torture",
		Summary: "Attacks milters of this library as processes, and prints what came of it.",
		Groups: []cli.Group{{Title: "Options", Options: []cli.Option{
			{Long: "only", Arg: "REGEXP", Value: cli.String(&o.only), Help: "run only the attacks whose name fits"},
			{Long: "soak", Value: cli.Bool(&o.soak), Help: "instead, play many messages and see that nothing grows"},
			{Long: "messages", Arg: "N", Value: cli.Int(&o.messages, 100, math.MaxInt32), Help: "how many messages the soak plays"},
			{Long: "leak", Arg: "BYTES", Value: cli.Int(&o.leak, 0, 1<<20), Help: "let the milter of the soak leak, to see that it is found"},
			{Long: "seed", Arg: "N", Value: cli.Int(&o.seed, 0, math.MaxInt32), Help: "what all random choices are made of"},
			{Long: "write", Value: cli.Bool(&o.write), Help: "put the result into docs/reliability.md"},
			{Long: "play", Arg: "SPEC", Value: cli.String(&o.play), Hidden: true, Help: "be the MTA that is killed"},
		}}},
		Notes: []cli.Note{{Title: "Exit status", Text: "0 when all is as required, 1 when not, 2 when the command line is wrong."}},
	}
}

// run is the program. It returns the exit status.
func run(ctx stdcontext.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	command := o.command()
	_, err := command.Parse(args)
	switch {
	case err != nil:
	case o.play != "":
		err = play(ctx, o.play, stdout)
	default:
		err = measure(ctx, o, stdout, stderr)
	}
	return command.Exit(err, stdout, stderr)
}

// longest is how long a whole run may take.
const longest = 12 * time.Minute

func measure(ctx stdcontext.Context, o options, stdout, stderr io.Writer) error {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return cli.Usagef("--only: %v", err)
	}
	if o.only != "" && (o.write || o.soak) {
		return cli.Usagef("--only cannot be used with --write, which needs all attacks, nor with --soak")
	}
	ctx, cancel := stdcontext.WithTimeout(ctx, longest)
	defer cancel()
	l, err := newLab(ctx, o, stderr)
	if err != nil {
		return err
	}
	defer l.close()
	part := "torture"
	var rows []row
	var text string
	if o.soak {
		part = "soak"
		rows, text, err = runSoak(l, o)
	} else {
		rows, text = runAttacks(l, only)
	}
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, text)
	if o.write && ctx.Err() == nil {
		text = fmt.Sprintf("%s, %s/%s, %d CPUs.\n\n%s", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), text)
		if err := writeParts(l.root+"/docs/reliability.md", map[string]string{part: text}); err != nil {
			return err
		}
	}
	if n := failed(rows); n > 0 {
		return fmt.Errorf("%d of %d rows are not as required", n, len(rows))
	}
	return stdcontext.Cause(ctx)
}

// An attack makes one row or several.
type attack struct {
	name string
	run  func(l *lab) []row
}

func attacks() []attack {
	return []attack{
		{"malformed", malformedAttack},
		{"scanners", scannerAttack},
		{"announced", announcedAttack},
		{"big", bigAttack},
		{"endless", endlessAttack},
		{"slow", slowAttack},
		{"unread", unreadAttack},
		{"emfile", emfileAttack},
		{"cut", cutAttack},
		{"rst", resetAttack},
		{"kill", killAttack},
		{"pipes", pipesAttack},
		{"panic", panicAttack},
		{"inject", injectAttack},
		{"log", logAttack},
	}
}

// runAttacks runs the attacks that only fits, all if it is empty.
func runAttacks(l *lab, only *regexp.Regexp) ([]row, string) {
	var rows []row
	for _, a := range attacks() {
		if !only.MatchString(a.name) || l.ctx.Err() != nil {
			continue
		}
		start := time.Now()
		made := a.run(l)
		l.tell("%-10s %d rows, %d not as required, %v", a.name, len(made), failed(made), time.Since(start).Round(10*time.Millisecond))
		rows = append(rows, made...)
		l.endAll()
	}
	text := markdown(rows)
	if only.String() == "" {
		text += "\nWhat the same attacks do to other libraries:\n\n" + markdownComparison(rows)
	}
	return rows, text
}
