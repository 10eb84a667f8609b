package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/cmd/internal/cmdtest"
	"github.com/milter-go/milter/context"
)

// Short names for what the tests say often.
var must, golden, packets, bare = cmdtest.Must, cmdtest.Golden, cmdtest.Packets, cmdtest.Bare

// serve runs a milter until the test ends and returns where it listens.
func serve(t *testing.T, spec string, setup func(ctx *context.ClientContext)) string {
	t.Helper()
	c := client.New()
	c.OnConnectionEstablished(setup)
	must(t, c.SetConnectionSpec(spec))
	must(t, c.Listen())
	ended := make(chan error, 1)
	go func() { ended <- c.Run() }()
	t.Cleanup(func() {
		c.Close()
		if err := <-ended; err != nil {
			t.Errorf("the milter ended: %v", err)
		}
	})
	return client.SpecOf(c.Addrs()[0])
}

var (
	elapsedTime = regexp.MustCompile(`elapsed-time: \d+\.\d{6} seconds`)
	rate        = regexp.MustCompile(`rate: \d+\.\d messages/second`)
)

// play runs the program. The times in its output become zero.
func play(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = run(args, strings.NewReader(stdin), &out, &err)
	text := elapsedTime.ReplaceAllString(out.String(), "elapsed-time: 0.000000 seconds")
	return status, rate.ReplaceAllString(text, "rate: 0.0 messages/second"), err.String()
}
