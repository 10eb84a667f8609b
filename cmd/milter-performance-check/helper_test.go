package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
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
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// A fake is a milter that sends bytes as it is told to.
type fake struct {
	steps    option.Step
	actions  option.Action
	requests option.MacroRequests
	// answers are the bytes that answer a command; continue where there is none and
	// the reply is awaited. "close" ends the connection, "" sends nothing.
	answers map[protocol.Command]string
	// answer is asked first, if it is set, with the number of the command among
	// those with its letter in the connection, from 1.
	answer func(c protocol.Command, n int) (bytes string, ok bool)

	keepOpen bool // do not close the connection at quit

	mu          sync.Mutex
	connections int
	packets     []protocol.Packet // that came, of all connections
}

// listen serves connections on the network until the test ends.
func (f *fake) listen(t *testing.T, network string) (spec string) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.connections++
			f.mu.Unlock()
			go f.serve(conn)
		}
	}()
	return client.SpecOf(l.Addr())
}

func (f *fake) serve(conn net.Conn) {
	defer conn.Close()
	var buffer protocol.Buffer
	seen := make(map[protocol.Command]int)
	for {
		p, err := buffer.ReadPacket(conn)
		if err != nil {
			return
		}
		c := protocol.Command(p.Letter)
		seen[c]++
		f.mu.Lock()
		f.packets = append(f.packets, protocol.Packet{Letter: p.Letter, Payload: bytes.Clone(p.Payload)})
		f.mu.Unlock()
		answer := f.bytes(c, seen[c])
		if answer == "close" {
			return
		}
		switch {
		case answer != "":
			if _, err := io.WriteString(conn, answer); err != nil {
				return
			}
		case c == protocol.CommandQuit && !f.keepOpen:
			return
		}
	}
}

// bytes returns what is sent to the n-th command c.
func (f *fake) bytes(c protocol.Command, n int) string {
	if f.answer != nil {
		if answer, ok := f.answer(c, n); ok {
			return answer
		}
	}
	if answer, ok := f.answers[c]; ok {
		return answer
	}
	_, noReply := stepsOf(c)
	switch {
	case c == protocol.CommandNegotiate:
		return packets(reply.Negotiate{Option: option.Option{Version: 6, Actions: f.actions, Steps: f.steps}, Macros: f.requests})
	case c == protocol.CommandQuit, c == protocol.CommandDefineMacro, c == protocol.CommandAbort,
		noReply != 0 && f.steps.Has(noReply):
		return ""
	}
	return bare('c')
}

// count returns how many packets with a letter came.
func (f *fake) count(letter protocol.Command) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.packets {
		if p.Letter == byte(letter) {
			n++
		}
	}
	return n
}

// text returns the packets that came, a line for each.
func (f *fake) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, p := range f.packets {
		fmt.Fprintf(&b, "%v", protocol.Command(p.Letter))
		if len(p.Payload) > 0 {
			fmt.Fprintf(&b, " %q", p.Payload)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func packets(messages ...reply.Message) string {
	var b []byte
	for _, m := range messages {
		b = m.Append(b)
	}
	return string(b)
}

func bare(letters ...protocol.Reply) string {
	var b []byte
	for _, letter := range letters {
		b = reply.Bare(letter).Append(b)
	}
	return string(b)
}

// play runs the program.
func play(args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = start(args, system{&out, &err, make(chan os.Signal)})
	return status, out.String(), err.String()
}

// playJSON runs the program, which must succeed, and returns its report.
func playJSON(t *testing.T, args ...string) (r report) {
	t.Helper()
	status, stdout, stderr := play(append(args, "--format=json")...)
	if status != 0 || stderr != "" {
		t.Fatalf("exit status %d, stderr %q", status, stderr)
	}
	must(t, json.Unmarshal([]byte(stdout), &r))
	return r
}

// newTestSession returns a session with the options of a command line, and no
// milter.
func newTestSession(t *testing.T, args ...string) *session {
	t.Helper()
	o := newOptions()
	must(t, o.parse(append([]string{"-sinet:1"}, args...)))
	return newSession(newRun(o), 1)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
