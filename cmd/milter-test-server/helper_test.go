package main

import (
	"bytes"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

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

// script serves connections by sending the bytes that answer each command, as they
// are; continue where there is none. The empty string sends nothing, "close" ends
// the connection.
func script(t *testing.T, answers map[protocol.Command]string) (spec string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveScript(conn, answers)
		}
	}()
	return client.SpecOf(l.Addr())
}

func serveScript(conn net.Conn, answers map[protocol.Command]string) {
	defer conn.Close()
	var buffer protocol.Buffer
	for {
		p, err := buffer.ReadPacket(conn)
		if err != nil {
			return
		}
		c := protocol.Command(p.Letter)
		answer, ok := answers[c]
		switch {
		case answer == "close":
			return
		case ok:
		case c == protocol.CommandNegotiate:
			answer = packets(reply.Negotiate{Option: option.Option{Version: 6, Actions: option.AllActions}})
		case c == protocol.CommandQuit:
			return
		case c == protocol.CommandDefineMacro, c == protocol.CommandAbort:
		default:
			answer = packets(reply.Bare(protocol.ReplyContinue))
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

func packets(messages ...reply.Message) string {
	var b []byte
	for _, m := range messages {
		b = m.Append(b)
	}
	return string(b)
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
