package cli_test

import (
	"fmt"
	"os"
	"time"

	"github.com/milter-go/milter/client/cli"
)

func Example() {
	var spec string
	timeout := 10 * time.Second
	command := cli.Command{
		Name:    "my-milter",
		Summary: "Refuses what I do not like.",
		Groups: []cli.Group{{Title: "Options", Options: []cli.Option{
			{Long: "connection-spec", Short: 's', Arg: "SPEC", Value: cli.String(&spec), Help: "listen at SPEC"},
			{Long: "timeout", Arg: "TIME", Value: cli.Duration(&timeout), Help: "give up after TIME"},
		}}},
	}
	for _, line := range [][]string{
		{"-s", "inet:10025@127.0.0.1", "--timeout=2.5"},
		{"--timeout", "soon"},
		{"--help"},
	} {
		_, err := command.Parse(line)
		if err == nil {
			fmt.Println(spec, timeout)
			continue
		}
		fmt.Println("exit status", command.Exit(err, os.Stdout, os.Stdout))
	}
	// Output:
	// inet:10025@127.0.0.1 2.5s
	// my-milter: invalid value "soon" for '--timeout': not a duration, such as "10" (seconds), "100ms" or "5m"
	// Try 'my-milter --help' for more information.
	// exit status 2
	// Usage: my-milter [OPTION]...
	// Refuses what I do not like.
	//
	// Options:
	//   -s, --connection-spec=SPEC  listen at SPEC
	//       --timeout=TIME          give up after TIME (default: 10s)
	//
	// Help:
	//   -h, --help                  print this help and exit
	//   -V, --version               print the version and exit
	// exit status 0
}
