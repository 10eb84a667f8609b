// Milter-performance-check is the MTA's side of a load: it plays many messages to a
// milter, as fast as the milter takes them, and prints what they cost. It works with
// any milter, and checks every byte that the milter sends.
//
//	$ milter-performance-check -s inet:10025@127.0.0.1 -c 16 --pid 4711
//	messages             61243 in 10.000 s, 6124.3/s, 16 sessions
//	                     continue at end-of-message: 61243
//	round trips          26.0 per message
//	...
//
// See milter-performance-check --help.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(start(os.Args[1:], system{os.Stdout, os.Stderr, signals}))
}

// A system is what the program needs of the one it runs on.
type system struct {
	stdout, stderr io.Writer
	signals        <-chan os.Signal
}

// start is the program. It returns the exit status.
func start(args []string, sys system) int {
	o := newOptions()
	err := o.parse(args)
	if err == nil {
		err = check(o, sys)
	}
	return o.command.Exit(err, sys.stdout, sys.stderr)
}

// check makes the run and prints its report.
func check(o *options, sys system) error {
	const others = 32 // files that are open anyway
	if err := needFiles(max(o.sessions, o.idle) + others); err != nil {
		return err
	}
	r := newRun(o)
	defer r.cancel(nil)
	if o.pid != 0 {
		var err error
		if r.process, err = openProcess(o.pid); err != nil {
			return err
		}
	}
	var p *progress
	if !o.noProgress {
		p = newProgress(sys.stderr)
	}
	play := runLoad
	if o.idle > 0 {
		play = runIdle
	}
	rep := play(r, sys.signals, p)
	if err := rep.print(sys.stdout, o.format); err != nil {
		return err
	}
	var errs []error
	for _, text := range rep.Errors {
		errs = append(errs, errors.New(text))
	}
	if rep.Interrupted {
		fmt.Fprintf(sys.stderr, "%s: interrupted\n", name)
	}
	return errors.Join(errs...)
}
