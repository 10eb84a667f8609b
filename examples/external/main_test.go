package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

// The test program is also the command: "command exit 1" and so on.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "command" {
		os.Exit(helper(os.Args[2:]))
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // else the command takes a second to exit
	os.Exit(m.Run())
}

func helper(args []string) int {
	switch args[0] {
	case "exit": // without reading the mail
		code, _ := strconv.Atoi(args[1])
		return code
	case "copy": // the mail to a file
		file, err := os.Create(args[1])
		if err == nil {
			_, err = io.Copy(file, os.Stdin)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		return 0
	case "arguments": // 0 if they are as they should be
		if cmp.Equal(args[1:], hostile) {
			return 0
		}
		return 1
	case "hang": // with a child that hangs too
		child := exec.Command(os.Args[0], "command", "wait", args[1])
		if err := child.Start(); err != nil {
			return 2
		}
		fallthrough
	case "wait": // until the test hangs up, which it does not
		conn, err := net.Dial("tcp", args[1])
		if err != nil {
			return 2
		}
		_, _ = conn.Read(make([]byte, 1))
		return 0
	}
	return 2
}

// hostile would do harm if a shell saw it.
var hostile = []string{"; exit 1", "$(exit 1)", "`exit 1`", "| exit 1", "*", ""}

func argv(t *testing.T, args ...string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{self, "command"}, args...)
}

func start(argv []string) (*client.Client, *miltertest.Session) {
	c := newClient(argv)
	c.Logger = slog.New(slog.DiscardHandler)
	return c, miltertest.Start(c)
}

func parse(t *testing.T, text string) miltertest.Mail {
	t.Helper()
	mail, err := miltertest.ParseMail(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	mail.From, mail.Recipients = "<alice@example.org>", []miltertest.Recipient{{Path: "<bob@example.com>"}}
	return mail
}

func TestExitStatus(t *testing.T) {
	const (
		refused  = "reject [554]<5.7.1>(The mail is not wanted here)"
		deferred = "temporary-failure [451]<4.3.0>(The mail cannot be checked now, try again later)"
	)
	small, large := "Hello\n", strings.Repeat("Hello\n", inMemory/6)
	tests := []struct {
		name string
		argv []string
		body string
		want string
	}{
		{"0", argv(t, "exit", "0"), small, "continue"},
		{"0 without reading a large mail", argv(t, "exit", "0"), large, "continue"},
		{"1", argv(t, "exit", "1"), small, refused},
		{"1 without reading a large mail", argv(t, "exit", "1"), large, refused},
		{"2", argv(t, "exit", "2"), small, deferred},
		{"75", argv(t, "exit", "75"), small, deferred},
		{"no such command", []string{filepath.Join(t.TempDir(), "missing")}, small, deferred},
		{"arguments are not for a shell", argv(t, append([]string{"arguments"}, hostile...)...), small, "continue"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, mta := start(tt.argv)
			defer mta.Close()
			mail := parse(t, "Subject: hello\n\n"+tt.body)
			result, err := mta.Deliver(mail)
			if err != nil {
				t.Fatal(err)
			}
			if result.String() != tt.want {
				t.Errorf("got %v, want %s", result, tt.want)
			}
			if result.IsDelivered() && miltertest.Diff(mail, result.Mail).Changed() {
				t.Error("the mail was changed")
			}
		})
	}
}

// The command gets the mail byte for byte, and no temporary file stays.
func TestMailOnStdin(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir) // of Windows
	tests := []struct{ name, text string }{
		{"small", "From: a@example.org\nSubject: one\n\ttwo\n three\nTo:  b@example.org\n\nHello\n\nand more\n"},
		{"no body", "Subject: hello\n\n"},
		{"no header", "\nHello\n"},
		{"large", "Subject: hello\n\n" + strings.Repeat("Hello\n", inMemory/4)},
	}
	got := filepath.Join(t.TempDir(), "mail")
	_, mta := start(argv(t, "copy", got))
	defer mta.Close()
	for _, tt := range tests { // all in one session
		t.Run(tt.name, func(t *testing.T) {
			result, err := mta.Send(parse(t, tt.text))
			if err != nil || result.Status != protocol.StatusContinue {
				t.Fatalf("%v, %v", result, err)
			}
			text, err := os.ReadFile(got)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.ReplaceAll(tt.text, "\n", "\r\n"); string(text) != want {
				t.Errorf("got %d bytes, want %d: %.200q", len(text), len(want), text)
			}
		})
	}
	// A large mail that is not completed.
	if _, err := mta.EnvelopeFrom("<alice@example.org>"); err != nil {
		t.Fatal(err)
	}
	for range inMemory/protocol.MaxChunk + 1 {
		if _, err := mta.Body(make([]byte, protocol.MaxChunk)); err != nil {
			t.Fatal(err)
		}
	}
	mta.Close()
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("temporary files that stay: %v, %v", files, err)
	}
}

// A command that is not waited for any more is killed, its child too.
func TestKill(t *testing.T) {
	tests := []struct {
		name string
		end  func(*client.Client, *miltertest.Session) error
	}{
		{"hang-up", func(_ *client.Client, s *miltertest.Session) error { return s.Cut() }},
		{"abort", func(_ *client.Client, s *miltertest.Session) error {
			return s.SendRaw(protocol.Bare(protocol.CommandAbort).Append(nil))
		}},
		{"close", func(c *client.Client, _ *miltertest.Session) error { return c.Close() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			processes := 2
			if runtime.GOOS == "windows" {
				processes = 1 // the command's child is not killed there
			}
			c, mta := start(argv(t, "hang", l.Addr().String()))
			defer mta.Close()
			if _, err := mta.Negotiate(); err != nil {
				t.Fatal(err)
			}
			if _, err := mta.EnvelopeFrom("<alice@example.org>"); err != nil {
				t.Fatal(err)
			}
			if err := mta.SendRaw(protocol.EndOfMessage{}.Append(nil)); err != nil {
				t.Fatal(err)
			}
			var running []net.Conn
			for range processes {
				conn, err := l.Accept() // now it runs
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				running = append(running, conn)
			}
			if err := tt.end(c, mta); err != nil {
				t.Fatal(err)
			}
			for _, conn := range running {
				_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, err := conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
					t.Errorf("a process of the command still runs: %v", err)
				}
			}
		})
	}
}

func TestReplyTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := newClient(argv(t, "wait", l.Addr().String()))
	c.Logger = slog.New(slog.DiscardHandler)
	c.ReplyTimeout = 500 * time.Millisecond
	mta := miltertest.Start(c)
	defer mta.Close()
	result, err := mta.Deliver(parse(t, "Subject: hello\n\nHello\n"))
	if err != nil || result.Status != protocol.StatusTemporaryFailure {
		t.Errorf("got %v, %v; want temporary-failure", result, err)
	}
}
