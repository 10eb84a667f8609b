package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// playEvents plays every event there is, two mails and an aborted one.
func playEvents(t *testing.T, s *miltertest.Session) {
	t.Helper()
	s.Macros = map[protocol.Command][]protocol.Macro{
		protocol.CommandConnect:      {{Name: "j", Value: "mail.example.com"}, {Name: "{daemon_name}", Value: "mta"}},
		protocol.CommandHelo:         {{Name: "{tls_version}", Value: ""}},
		protocol.CommandEnvelopeFrom: {{Name: "i", Value: "4711"}},
		protocol.CommandEndOfMessage: {{Name: "i", Value: "4711"}, {Name: "{msg_id}", Value: "<1@example.com>"}},
	}
	_, err := s.Negotiate()
	must(t, err)
	_, err = s.Connect("mx.example.net", &net.TCPAddr{IP: net.IPv4(192, 168, 123, 123), Port: 50443})
	must(t, err)
	_, err = s.Helo("delian\x1b[31m")
	must(t, err)
	_, err = s.Send(sampleMail())
	must(t, err)
	_, err = s.Unknown("XYZZY now")
	must(t, err)
	_, err = s.EnvelopeFrom("<>")
	must(t, err)
	must(t, s.Abort())
	_, err = s.EnvelopeFrom("<a@example.com>")
	must(t, err)
	_, err = s.EnvelopeRecipient("<b@example.com>")
	must(t, err)
	_, err = s.EndOfMessage([]byte("the rest")...)
	must(t, err)
	must(t, s.Quit())
}

func TestEvents(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"plain", nil, "events.txt"},
		{"verbose", []string{"-vn", "--leading-space", "--no-reply=header", "--reply=envelope-recipient:nobody@*=550 5.1.1 no\\nbody"}, "verbose.txt"},
		{"some events", []string{"--no-event=connect", "--no-event=header", "--no-event=unknown", "--macro=end-of-message=i", "--negotiate-version=5"}, "some.txt"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, tt.args...)
			playEvents(t, p.dial(t))
			p.stdout.await(t, `finished\n`)
			stdout, stderr := p.stop(t)
			golden(t, tt.want, stdout)
			if stderr != "" {
				t.Errorf("stderr:\n%s", stderr)
			}
		})
	}
}

// Other kinds of addresses, and a session without macros.
func TestConnectAddresses(t *testing.T) {
	p := start(t)
	for _, tt := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 25}, "connect: host=<h>, address=<inet6:25@[2001:db8::1]>\n"},
		{&net.UnixAddr{Name: "/run/smtp", Net: "unix"}, "connect: host=<h>, address=<unix:/run/smtp>\n"},
		{nil, "connect: host=<h>, address=<unknown>\n"},
	} {
		s := p.dial(t)
		_, err := s.Negotiate()
		must(t, err)
		_, err = s.Connect("h", tt.addr)
		must(t, err)
		must(t, s.Quit())
		if !strings.Contains(p.stdout.String(), tt.want) {
			t.Errorf("no %q in the output:\n%s", tt.want, p.stdout)
		}
	}
	p.stop(t)
}

func TestQuiet(t *testing.T) {
	for _, arg := range []string{"--no-report-request", "-q"} {
		t.Run(arg, func(t *testing.T) {
			var stdout transcript
			stderr, signals, status := new(transcript), make(chan os.Signal, 2), make(chan int)
			spec := "unix:" + t.TempDir() + "/m"
			go func() {
				status <- run([]string{arg, "-v", "-s", spec}, system{&stdout, stderr, func(string) string { return "" }, signals})
			}()
			p := &program{spec: spec}
			if arg == "-q" {
				awaitSocket(t, strings.TrimPrefix(spec, "unix:"))
			} else {
				stdout.await(t, "listen")
			}
			_, err := p.dial(t).Deliver(sampleMail())
			must(t, err)
			signals <- os.Interrupt
			if got := <-status; got != 0 {
				t.Errorf("exit status %d, want 0", got)
			}
			want := "listen: <" + spec + ">\n"
			if arg == "-q" {
				want = ""
			}
			if got := stdout.String(); got != want {
				t.Errorf("output %q, want %q", got, want)
			}
		})
	}
}

// awaitSocket waits for a milter that does not say where it listens.
func awaitSocket(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("nobody listens at %s", path)
}

func TestEnvironment(t *testing.T) {
	spec := "unix:" + t.TempDir() + "/from-environment"
	getenv := func(name string) string {
		if name == "MILTER_DEFAULT_CONNECTION_SPEC" {
			return spec
		}
		return ""
	}
	p := &program{stdout: new(transcript), stderr: new(transcript), signals: make(chan os.Signal, 2), status: make(chan int, 1)}
	go func() { p.status <- run(nil, system{p.stdout, p.stderr, getenv, p.signals}) }()
	if got := p.stdout.await(t, `listen: <(.*)>`)[1]; got != spec {
		t.Errorf("listens at %q, want %q", got, spec)
	}
	p.stop(t)
}

// Without any option it is 127.0.0.1, port 10025; that may be in use, so only the
// help is looked at.
func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := run([]string{"--help"}, system{&stdout, &stderr, func(string) string { return "" }, nil})
	if status != 0 || stderr.Len() > 0 {
		t.Errorf("exit status %d, stderr %q", status, stderr.String())
	}
	golden(t, "help.txt", stdout.String())
	for line := range strings.Lines(stdout.String()) {
		if len(line) > 80 {
			t.Errorf("a line of %d bytes: %q", len(line), line)
		}
	}
}

func TestSeveralSockets(t *testing.T) {
	path := t.TempDir() + "/m"
	p := start(t, "-s", "unix:"+path, "--unix-socket-mode=600", "--max-connections=1")
	p.stdout.await(t, `listen: <unix:`)
	info, err := os.Stat(path)
	must(t, err)
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
	for _, spec := range []string{p.spec, "unix:" + path} {
		_, err := (&program{spec: spec}).dial(t).Deliver(sampleMail())
		must(t, err)
	}
	p.stop(t)
}

// One connection above the limit is told of a temporary failure, and the one that
// is served goes on.
func TestConnectionAboveLimit(t *testing.T) {
	p := start(t, "--max-connections=1", "--refuse-at-limit")
	first, second := p.dial(t), p.dial(t)
	_, err := first.Negotiate()
	must(t, err)
	_, err = second.Negotiate()
	must(t, err)
	a, err := second.Connect("mx.example.net", nil)
	must(t, err)
	if a.Status != protocol.StatusTemporaryFailure {
		t.Errorf("answer %v above the limit, want a temporary failure", a)
	}
	_, err = first.Send(sampleMail())
	must(t, err)
	must(t, first.Quit())
	stdout, stderr := p.stop(t)
	if n := strings.Count(stdout, "negotiate: "); n != 1 {
		t.Errorf("%d sessions were told of, want 1:\n%s", n, stdout)
	}
	if want := `msg="at the limit of connections; new ones are refused" limit=1`; strings.Count(stderr, want) != 1 {
		t.Errorf("stderr %q, want once %s", stderr, want)
	}
}

func TestCannotListen(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	var stdout, stderr bytes.Buffer
	spec := "inet:" + port + "@127.0.0.1"
	status := run([]string{"-s", spec}, system{&stdout, &stderr, func(string) string { return "" }, nil})
	want := "milter-test-client: cannot listen on \"" + spec + "\": "
	if status != 1 || !strings.HasPrefix(stderr.String(), want) || stdout.Len() > 0 {
		t.Errorf("exit status %d, stdout %q, stderr %q; want status 1 and %q", status, stdout.String(), stderr.String(), want)
	}
}

func TestSignals(t *testing.T) {
	begin := func(t *testing.T, args ...string) (*program, *miltertest.Session) {
		p := start(t, args...)
		s := p.dial(t)
		_, err := s.Negotiate()
		must(t, err)
		_, err = s.EnvelopeFrom("<a@example.com>")
		must(t, err)
		return p, s
	}
	t.Run("the mail in progress comes first", func(t *testing.T) {
		p, s := begin(t)
		p.signals <- os.Interrupt
		p.stderr.await(t, "interrupt: waiting up to 30s")
		_, err := s.EnvelopeRecipient("<b@example.com>")
		must(t, err)
		a, err := s.EndOfMessage()
		must(t, err)
		if a.Status != protocol.StatusContinue {
			t.Errorf("answer %v, want continue", a)
		}
		if status := p.wait(t); status != 0 {
			t.Errorf("exit status %d, want 0; stderr:\n%s", status, p.stderr)
		}
	})
	t.Run("a second signal ends at once", func(t *testing.T) {
		p, s := begin(t)
		p.signals <- os.Interrupt
		p.stderr.await(t, "interrupt: waiting up to 30s")
		p.signals <- os.Interrupt
		if status := p.wait(t); status != 1 {
			t.Errorf("exit status %d, want 1", status)
		}
		p.stderr.await(t, "milter-test-client: interrupt: sessions were cut off\n$")
		if _, err := s.EnvelopeRecipient("<b@example.com>"); err == nil {
			t.Error("the milter still answers")
		}
	})
	t.Run("the time is over", func(t *testing.T) {
		p, _ := begin(t, "--grace=10ms")
		p.signals <- os.Interrupt
		if status := p.wait(t); status != 1 {
			t.Errorf("exit status %d, want 1", status)
		}
		p.stderr.await(t, "milter-test-client: sessions were cut off: they took longer than 10ms\n$")
	})
}

// A fault of the MTA is reported, and the milter goes on.
func TestFault(t *testing.T) {
	p := start(t, "--timeout=1h")
	s := p.dial(t)
	must(t, s.SendRaw([]byte{0, 0, 0, 0}))
	if _, err := s.ReadPacket(); !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want EOF", err)
	}
	_, err := p.dial(t).Deliver(sampleMail())
	must(t, err)
	stdout, stderr := p.stop(t)
	if !strings.HasPrefix(stderr, "milter-test-client: session 1: ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("stderr:\n%s", stderr)
	}
	if !strings.HasPrefix(stdout, "finished\n") {
		t.Errorf("the broken session has no end:\n%s", stdout)
	}
}

func TestTimeout(t *testing.T) {
	p := start(t, "--timeout=10ms")
	if _, err := p.dial(t).ReadPacket(); !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want EOF", err)
	}
	p.stdout.await(t, `(?m)^timeout\nfinished$`)
	p.stop(t)
}

func TestNegotiation(t *testing.T) {
	tests := []struct {
		name  string
		args  []string
		offer option.Option
		want  string
	}{
		{"nothing", nil, option.All(), "version=6 actions=" + option.AllActions.String() + " steps=skip"},
		{"no events", []string{"--no-event=connect", "--no-event=helo", "--no-event=envelope-from", "--no-event=envelope-recipient",
			"--no-event=data", "--no-event=unknown", "--no-event=header", "--no-event=end-of-header", "--no-event=body"}, option.All(),
			"version=6 actions=" + option.AllActions.String() + " steps=" + (option.NoEventSteps | option.StepSkip).String()},
		{"no replies", []string{"--no-reply=connect", "--no-reply=helo", "--no-reply=envelope-from", "--no-reply=envelope-recipient",
			"--no-reply=data", "--no-reply=unknown", "--no-reply=header", "--no-reply=end-of-header", "--no-reply=body"}, option.All(),
			"version=6 actions=" + option.AllActions.String() + " steps=" + (option.NoReplySteps | option.StepSkip).String()},
		{"leading space, rejected recipients", []string{"--leading-space", "--rejected-recipients"}, option.All(),
			"version=6 actions=" + option.AllActions.String() + " steps=skip|envelope-recipient-rejected|header-value-with-leading-space"},
		{"not offered", []string{"--leading-space", "--rejected-recipients", "--no-reply=header"},
			option.Option{Version: 6, Actions: option.ActionAddHeaders, Steps: option.StepNoBody}, "version=6 actions=add-headers steps=none"},
		{"older version", []string{"--negotiate-version=2"}, option.All(), "version=2 actions=" + option.AllActions.String() + " steps=skip"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, tt.args...)
			s := p.dial(t)
			s.Offer = tt.offer
			_, err := s.Negotiate()
			must(t, err)
			if diff := cmp.Diff(tt.want, s.Option().String()); diff != "" {
				t.Errorf("agreed (-want +got):\n%s", diff)
			}
			must(t, s.Quit())
			p.stop(t)
		})
	}
}

func TestMacroRequests(t *testing.T) {
	p := start(t, "--macro=helo={tls_version} {cipher}", "--macro=end-of-header=i,j", "--macro=connect=")
	s := p.dial(t)
	_, err := s.Negotiate()
	must(t, err)
	want := `connect="" helo="{tls_version} {cipher}" end-of-header="i j"`
	if got := s.MacroRequests().String(); got != want {
		t.Errorf("requests %s, want %s", got, want)
	}
	must(t, s.Quit())
	p.stop(t)
}
