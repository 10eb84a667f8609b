// Milter-test-client is a milter that prints every event with its arguments and
// macros. It lets all mail through, or answers and changes what its options tell
// it to, so that it can stand in for any milter when an MTA is tested.
//
//	$ milter-test-client -s inet:10025@127.0.0.1
//	listen: <inet:10025@[127.0.0.1]>
//	negotiate: version=<6>, action=<add-headers|...>, step=<no-connect|...>
//	connect: host=<mx.example.net>, address=<inet:50443@[192.168.123.123]>
//	macros:
//	  daemon_name=milter-test-server
//	...
//
// See milter-test-client --help.
package main

import (
	stdcontext "context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/cmd/internal/console"
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// So that it does not end the program when nobody reads its output any more.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(run(os.Args[1:], system{os.Stdout, os.Stderr, os.Getenv, signals}))
}

// A system is what the program needs of the one it runs on.
type system struct {
	stdout, stderr io.Writer
	getenv         func(name string) string
	signals        <-chan os.Signal
}

// run is the program. It returns the exit status.
func run(args []string, sys system) int {
	o := newOptions(sys.getenv)
	if err := o.parse(args); err != nil {
		return o.command.Exit(err, sys.stdout, sys.stderr)
	}
	out := &printer{w: sys.stdout, errors: sys.stderr, numbers: o.number}
	c, err := o.client(out)
	if err != nil {
		return o.command.Exit(err, sys.stdout, sys.stderr)
	}
	m := &milter{options: o, out: out}
	c.OnConnectionEstablished(m.register)
	c.OnError(func(err error) { out.fault("", err) })
	if !o.quiet {
		c.OnListenStarted(func(addr net.Addr) { out.print("", fmt.Sprintf("listen: <%s>\n", client.SpecOf(addr))) })
	}
	return o.command.Exit(serve(c, o, sys), sys.stdout, sys.stderr)
}

// serve runs c until it fails or a signal ends it.
func serve(c *client.Client, o *options, sys system) error {
	if err := c.Listen(); err != nil {
		return console.Plain(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run() }()
	select {
	case err := <-ended:
		return err
	case sig := <-sys.signals:
		fmt.Fprintf(sys.stderr, "%s: %v: waiting up to %v for mails in progress; a second signal ends at once\n", name, sig, o.grace)
	}

	// Whatever the sessions do, it ends within the grace period.
	ctx, cancel := stdcontext.WithTimeout(stdcontext.Background(), o.grace)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- c.Shutdown(ctx) }()
	var err error
	select {
	case err = <-stopped:
		if err != nil {
			err = fmt.Errorf("sessions were cut off: they took longer than %v", o.grace)
		}
	case sig := <-sys.signals:
		err = fmt.Errorf("%v: sessions were cut off", sig)
		c.Close()
	}
	return errors.Join(<-ended, err)
}
