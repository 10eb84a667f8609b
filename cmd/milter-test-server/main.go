// Milter-test-server plays SMTP sessions against a milter, as an MTA does, and
// prints what the milter decided and changed. The mail comes from options or from
// a file.
//
//	$ milter-test-server -s inet:10025@127.0.0.1 --output-message -b 'some text'
//	status: quarantine
//	elapsed-time: 0.000757 seconds
//	Quarantine reason: <why>
//
//	Envelope:------------------------------
//	  MAIL FROM:<sender@example.com>
//	  RCPT TO:<receiver@example.org>
//	Header:--------------------------------
//	  From: <sender@example.com>
//	  To: <receiver@example.org>
//	+ X-1: a
//	Body:----------------------------------
//	  some text
//
// See milter-test-server --help.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/milter-go/milter/client/cli"
	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/cmd/internal/mta"
	"github.com/milter-go/milter/protocol"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program. It returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o := newOptions()
	err := o.parse(args)
	if err == nil {
		err = o.readMail(stdin)
	}
	if err != nil {
		return o.command.Exit(err, stdout, stderr)
	}
	out := &output{options: o, w: stdout, color: o.useColor(stdout)}
	d := &mta.Dialer{Target: o.target, Timeout: o.connectionTimeout, WaitForFiles: true}
	var statuses []protocol.Status
	if o.sessions == 1 {
		var results []miltertest.Result
		results, err = playSession(o, d, out, 1)
		for _, r := range results {
			out.result(r)
			statuses = append(statuses, r.Status)
		}
		if errors.Is(err, errClosedEarly) {
			fmt.Fprintf(stderr, "%s: note: %v\n", name, err)
			err = nil
		}
		err = explain(err)
	} else {
		t := playSessions(o, d, out)
		out.summary(t)
		statuses = t.statuses()
		err = t.err()
	}
	if err != nil || !o.verdictAsStatus {
		return o.command.Exit(err, stdout, stderr)
	}
	return verdict(statuses)
}

// verdict returns the exit status for what the milter decided: the lowest of all
// mails that is not 0.
func verdict(statuses []protocol.Status) int {
	lowest := cli.StatusOK
	for _, s := range statuses {
		exit := cli.StatusOK
		switch s {
		case protocol.StatusReject:
			exit = 10
		case protocol.StatusTemporaryFailure:
			exit = 11
		case protocol.StatusDiscard:
			exit = 12
		case protocol.StatusQuarantine:
			exit = 13
		}
		if exit != 0 && (lowest == 0 || exit < lowest) {
			lowest = exit
		}
	}
	return lowest
}

// explain returns err in words that make sense without knowing this program, and
// that are the same for every session that failed in the same way.
func explain(err error) error {
	if err == nil {
		return nil
	}
	text := strings.TrimPrefix(err.Error(), "miltertest: ")
	var op *net.OpError
	switch {
	case errors.Is(err, io.EOF):
		text = strings.TrimSuffix(text, "EOF") + "the milter closed the connection"
	case errors.As(err, &op):
		// Without the addresses, which differ.
		text = strings.Replace(text, op.Error(), op.Err.Error(), 1)
	}
	return errors.New(text)
}
