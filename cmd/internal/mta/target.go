// Package mta is what the tools that stand in for an MTA share: the option that
// says where the milter is, and the way to it.
package mta

import (
	"strings"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/client/cli"
	"github.com/milter-go/milter/cmd/internal/console"
)

// A Target is the milter that a command line names.
type Target struct {
	Text string // the spec as errors show it: as it was given
	Spec client.Spec
}

// SpecOption returns the option --connection-spec, which puts its argument into
// *p for [ParseTarget].
func SpecOption(p *string) cli.Option {
	return cli.Option{Long: "connection-spec", Short: 's', Arg: "SPEC", Value: cli.String(p),
		Help: "where the milter listens: inet:PORT[@HOST], inet6:PORT[@HOST], unix:PATH or /PATH"}
}

// ParseTarget reads a spec, or the path of a unix socket that begins with a
// slash. The error is a *cli.UsageError, also for the empty string: the option
// may not be left out.
func ParseTarget(text string) (Target, error) {
	if text == "" {
		return Target{}, cli.Usagef("no connection spec: say where the milter listens, as in -s inet:10025@127.0.0.1")
	}
	if strings.HasPrefix(text, "/") {
		text = "unix:" + text
	}
	spec, err := client.ParseSpec(text)
	if err != nil {
		return Target{}, cli.Usagef("%v", console.Plain(err))
	}
	return Target{Text: text, Spec: spec}, nil
}
