package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/cmd/internal/cmdtest"
	"github.com/milter-go/milter/cmd/internal/mta"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

func TestHelp(t *testing.T) {
	status, stdout, stderr := play(t, "", "--help")
	if status != 0 || stderr != "" {
		t.Errorf("exit status %d, stderr %q", status, stderr)
	}
	golden(t, "help.txt", stdout)
}

func TestBadOptions(t *testing.T) {
	tests := []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"nothing", nil, 2, "no connection spec: say where the milter listens, as in -s inet:10025@127.0.0.1"},
		{"spec", []string{"-sfoo"}, 2, `spec doesn't have colon: "foo"; write "inet:PORT@HOST", "inet6:PORT@HOST" or "unix:PATH"`},
		{"operand", []string{"-sinet:1", "mail.eml"}, 2, `extra operand "mail.eml"`},
		{"version", []string{"--negotiate-version=x"}, 2, `invalid value "x" for '--negotiate-version': not a whole number`},
		{"actions", []string{"--offer-actions=fly"}, 2, `invalid value "fly" for '--offer-actions': unknown action "fly"`},
		{"steps", []string{"--offer-steps=fly"}, 2, `invalid value "fly" for '--offer-steps': unknown step "fly"`},
		{"address", []string{"--connect-address=foo"}, 2,
			`invalid value "foo" for '--connect-address': spec doesn't have colon: "foo"; write "inet:PORT@HOST", "inet6:PORT@HOST" or "unix:PATH"`},
		{"name as address", []string{"--connect-address=inet:25@localhost"}, 2,
			`invalid value "inet:25@localhost" for '--connect-address': the host must be an IP address`},
		{"macro", []string{"--connect-macro=j"}, 2, `invalid value "j" for '--connect-macro': should be NAME:VALUE`},
		{"macro with NUL", []string{"--data-macro=i:\x00"}, 2, `invalid value "i:\x00" for '--data-macro': must not contain a NUL`},
		{"authenticated name", []string{"--authenticated-name=a\x00"}, 2, `invalid value "a\x00" for '--authenticated-name': must not contain a NUL`},
		{"header", []string{"-hfoo"}, 2, `invalid value "foo" for '-h': should be 'NAME: VALUE'`},
		{"header with NUL", []string{"-hX:\x00"}, 2, `invalid value "X:\x00" for '-h': must not contain a NUL`},
		{"timeout", []string{"--all-timeouts=x"}, 2, `invalid value "x" for '--all-timeouts': not a duration, such as "10" (seconds), "100ms" or "5m"`},
		{"threads", []string{"-t0"}, 2, `invalid value "0" for '-t': must be at least 1`},
		{"sessions", []string{"--sessions=-1"}, 2, `invalid value "-1" for '--sessions': must be at least 1`},
		{"color", []string{"--color=red"}, 2, `invalid value "red" for '--color': should be yes, no or auto`},
		{"mail file", []string{"-sinet:1", "-m/does/not/exist"}, 1, "open /does/not/exist: no such file or directory"},
		{"no mail", []string{"-sinet:1", "-m-"}, 1, `-: line 1 of the mail is no header field: "no mail"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, stdout, stderr := play(t, "no mail\n", tt.args...)
			want := "milter-test-server: " + tt.want + "\n"
			if tt.status == 2 {
				want += "Try 'milter-test-server --help' for more information.\n"
			}
			if diff := cmp.Diff(want, stderr); status != tt.status || stdout != "" || diff != "" {
				t.Errorf("exit status %d, want %d, stdout %q, stderr (-want +got):\n%s", status, tt.status, stdout, diff)
			}
		})
	}
}

func TestCannotConnect(t *testing.T) {
	for _, tt := range cmdtest.Nowheres(t) {
		t.Run(tt.Name, func(t *testing.T) {
			start := time.Now()
			status, stdout, stderr := play(t, "", "-s", tt.Spec)
			if diff := cmp.Diff("milter-test-server: "+tt.Want+"\n", stderr); status != 1 || stdout != "" || diff != "" {
				t.Errorf("exit status %d, stdout %q, stderr (-want +got):\n%s", status, stdout, diff)
			}
			if d := time.Since(start); d > time.Minute {
				t.Errorf("it took %v to find out", d)
			}
			_, stdout, stderr = play(t, "", "-s", tt.Spec, "-t2")
			if want := "milter-test-server: 2 sessions failed: " + tt.Want + "\n"; stderr != want || !strings.HasPrefix(stdout, "sessions: 2\nfailed: 2\nmessages: 0\n") {
				t.Errorf("with two sessions: stdout %q, stderr %q, want %q", stdout, stderr, want)
			}
		})
	}
}

// What milters do wrong.
func TestFaults(t *testing.T) {
	type answers = cmdtest.Answers
	tests := []struct {
		name    string
		answers answers
		args    []string
		want    string
	}{
		{"closes at once", answers{protocol.CommandNegotiate: cmdtest.Close}, nil, "waiting for the answer to negotiate: the milter closed the connection"},
		{"closes in the mail", answers{protocol.CommandBody: cmdtest.Close}, nil, "waiting for the answer to body: the milter closed the connection"},
		{"wants too much", answers{protocol.CommandNegotiate: packets(reply.Negotiate{Option: option.Option{Version: 6, Actions: option.ActionQuarantine}})},
			[]string{"--offer-actions=add-headers"}, "negotiate was answered with negotiate: actions were not offered: quarantine"},
		{"wrong answer", answers{protocol.CommandHelo: bare(protocol.ReplyDiscard)}, nil,
			"helo was answered with discard: there is no message yet that could be discarded"},
		{"change too early", answers{protocol.CommandHeader: packets(reply.AddHeader{Name: "X", Value: "y"})}, nil,
			"header was answered with add-header: it may only come at end of message"},
		{"no packet", answers{protocol.CommandData: "\x00\x00\x00\x00"}, nil, "waiting for the answer to data: protocol: bad packet length: 0"},
		{"two answers", answers{protocol.CommandEndOfMessage: bare(protocol.ReplyAccept) + bare(protocol.ReplyAccept), protocol.CommandQuit: ""}, nil,
			"end-of-message was answered with accept: it has been answered already"},
		{"no answer", answers{protocol.CommandEnvelopeFrom: ""}, []string{"--reading-timeout=300ms"},
			"waiting for the answer to envelope-from: nothing came within 300ms: i/o timeout"},
		{"no final answer", answers{protocol.CommandEndOfMessage: bare(protocol.ReplyProgress)}, []string{"--end-of-message-timeout=20ms"},
			"waiting for the answer to end-of-message: nothing came within "},
		{"no end", answers{protocol.CommandQuit: ""}, []string{"--all-timeouts=300ms"},
			"waiting for the milter to close the connection after quit: nothing came within 300ms: i/o timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := (&cmdtest.Milter{Actions: option.AllActions, Answers: tt.answers}).Listen(t, "tcp4")
			status, _, stderr := play(t, "", append([]string{"-s", spec, "--verdict-as-status"}, tt.args...)...)
			if want := "milter-test-server: " + tt.want; status != 1 || !strings.HasPrefix(stderr, want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit status %d, want 1; stderr %q, want %q", status, stderr, want)
			}
			status, stdout, stderr := play(t, "", append([]string{"-s", spec, "-t3"}, tt.args...)...)
			if want := "milter-test-server: 3 sessions failed: " + tt.want; !strings.Contains(tt.name, "final") && !strings.HasPrefix(stderr, want) {
				t.Errorf("stderr of three sessions %q, want %q", stderr, want)
			}
			if status != 1 || !strings.HasPrefix(stdout, "sessions: 3\nfailed: 3\n") {
				t.Errorf("exit status %d of three sessions, want 1; stdout %q", status, stdout)
			}
		})
	}
}

// A milter that closes the connection after its last answer is noted, no more.
func TestClosedEarly(t *testing.T) {
	spec := serve(t, "inet:0@127.0.0.1", func(ctx *context.ClientContext) {
		ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
			ctx.Shutdown() // after this mail
			return protocol.StatusContinue
		})
	})
	// The note is missing when quit was quicker than the milter.
	status, stdout, stderr := play(t, "", "-s", spec)
	const note = "milter-test-server: note: the milter closed the connection before it was told to quit\n"
	if status != 0 || stderr != note && stderr != "" || !strings.HasPrefix(stdout, "status: pass\n") {
		t.Errorf("exit status %d, want 0; stdout %q, stderr %q, want %q", status, stdout, stderr, note)
	}
	// The second mail is too much.
	status, stdout, stderr = play(t, "", "-s", spec, "--messages=2")
	if status != 1 || strings.Count(stdout, "status: pass\n") != 1 || !strings.HasSuffix(stderr, "\n") {
		t.Errorf("with two mails: exit status %d, want 1; stdout %q, stderr %q", status, stdout, stderr)
	}

	var r tally
	r.early = 3
	var b strings.Builder
	(&output{options: &options{sessions: 5}, w: &b}).summary(&r)
	if want := "sessions: 5\nfailed: 0\nclosed before quit: 3\n"; !strings.HasPrefix(b.String(), want) {
		t.Errorf("summary %q, want %q", b.String(), want)
	}
}

// A milter may take longer for its final answer than for the others.
func TestEndOfMessageTimeout(t *testing.T) {
	tests := []struct {
		name  string
		takes time.Duration
		want  string // of the error
	}{
		{"in time", 4 * time.Minute, ""},
		{"too late", 6 * time.Minute, "miltertest: waiting for the answer to end-of-message: nothing came within 5m0s: i/o timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := client.New()
				c.OnConnectionEstablished(func(ctx *context.ClientContext) {
					ctx.OnEndOfMessage(func(*context.ClientContext, []byte) protocol.Status {
						time.Sleep(tt.takes)
						return protocol.StatusContinue
					})
				})
				mta, milter := net.Pipe()
				served := make(chan struct{})
				go func() {
					_ = c.ServeConn(milter) // what matters here is the MTA's end
					close(served)
				}()
				results, err := sampleOptions(t).play(mta, 1)
				got := ""
				if err != nil {
					got = err.Error()
				}
				if got != tt.want {
					t.Errorf("error %q, want %q", got, tt.want)
				}
				if err == nil && (len(results) != 1 || results[0].Elapsed != tt.takes) {
					t.Errorf("results %v, want one that took %v", results, tt.takes)
				}
				<-served
			})
		})
	}
}

func sampleOptions(t *testing.T, args ...string) *options {
	t.Helper()
	o := newOptions()
	must(t, o.parse(append([]string{"-sinet:1"}, args...)))
	must(t, o.readMail(nil))
	return o
}

// A milter that does not read.
func TestWritingTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mta, milter := net.Pipe()
		defer milter.Close()
		start := time.Now()
		o := sampleOptions(t, "--writing-timeout=20", "--reading-timeout=3600")
		_, err := o.play(limitedConn{mta, o.writingTimeout}, 1)
		if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "sending negotiate") {
			t.Errorf("error %v, want a timeout in sending negotiate", err)
		}
		if got := time.Since(start); got != 20*time.Second {
			t.Errorf("it took %v, want 20s", got)
		}
	})
}

func TestManySessions(t *testing.T) {
	var numbers sync.Map
	setup := func(ctx *context.ClientContext) {
		ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
			numbers.Store(ctx.Macro("i"), true)
			if ctx.ID()%4 == 0 {
				return protocol.StatusReject
			}
			return protocol.StatusContinue
		})
	}
	const want = "sessions: 200\nfailed: 0\nmessages: 400\nstatus: pass: 300\nstatus: reject: 100\nelapsed-time: 0.000000 seconds\nrate: 0.0 messages/second\n"
	for _, args := range [][]string{{"-t200"}, {"-t7", "--sessions=200"}, {"-t300", "--sessions=200"}} {
		for _, spec := range []string{"unix:" + t.TempDir() + "/m", "inet:0@127.0.0.1"} {
			t.Run(strings.Join(args, " ")+" "+spec[:4], func(t *testing.T) {
				numbers.Clear()
				args := append([]string{"-s", serve(t, spec, setup), "--messages=2", "--verdict-as-status"}, args...)
				status, stdout, stderr := play(t, "", args...)
				if diff := cmp.Diff(want, stdout); status != 10 || stderr != "" || diff != "" {
					t.Errorf("exit status %d, want 10; stderr %q, stdout (-want +got):\n%s", status, stderr, diff)
				}
				different := 0
				numbers.Range(func(any, any) bool { different++; return true })
				if different != 400 {
					t.Errorf("%d queue ids, want 400", different)
				}
			})
		}
	}
}

// Some sessions fail, the others go on.
func TestSomeSessionsFail(t *testing.T) {
	spec := serve(t, "inet:0@127.0.0.1", func(ctx *context.ClientContext) {
		ctx.OnHelo(func(ctx *context.ClientContext, _ string) protocol.Status {
			if ctx.ID()%5 == 0 {
				ctx.Close()
			}
			return protocol.StatusContinue
		})
	})
	status, stdout, stderr := play(t, "", "-s", spec, "-t4", "--sessions=20", "--verdict-as-status")
	if want := "sessions: 20\nfailed: 4\nmessages: 16\nstatus: pass: 16\n"; status != 1 || !strings.HasPrefix(stdout, want) {
		t.Errorf("exit status %d, want 1; stdout %q, want %q", status, stdout, want)
	}
	want := "milter-test-server: 4 sessions failed: waiting for the answer to helo: the milter closed the connection\n"
	if stderr != want {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
}

func TestTallyErrors(t *testing.T) {
	tl := &tally{faults: map[string]int{"often": 3}}
	for _, reason := range "abcdefghijk" {
		tl.faults[string(reason)] = 1
	}
	got := strings.Split(tl.err().Error(), "\n")
	if len(got) != 11 || got[0] != "3 sessions failed: often" || got[1] != "1 session failed: a" || got[10] != "and 2 other reasons" {
		t.Errorf("errors %q", got)
	}
}

// A burst of connections to a unix socket with a small backlog: what does not fit
// is tried again.
func TestFullBacklog(t *testing.T) {
	c := client.New()
	c.ListenBacklog = 1
	path := filepath.Join(t.TempDir(), "m")
	must(t, c.SetConnectionSpec("unix:"+path))
	must(t, c.Listen())
	defer c.Close()
	d := &mta.Dialer{Target: mta.Target{Text: "unix:" + path, Spec: client.Spec{Network: "unix", Address: path}}, Timeout: 300 * time.Millisecond}
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	for {
		conn, err := d.Dial(t.Context())
		if err != nil {
			// On BSD it is ECONNREFUSED; both mean that there is no room. The last of
			// the attempts may also be the one that the timeout ends.
			var timeout net.Error
			if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.ECONNREFUSED) && !(errors.As(err, &timeout) && timeout.Timeout()) {
				t.Fatalf("error %v, want one of a full backlog", err)
			}
			break
		}
		if conns = append(conns, conn); len(conns) > 1000 {
			t.Skip("this system does not keep to a backlog of 1")
		}
	}
	played := make(chan int)
	go func() {
		status, _, stderr := play(t, "", "-s", path, "-t20")
		if stderr != "" {
			t.Errorf("stderr %q", stderr)
		}
		played <- status
	}()
	ended := make(chan error)
	go func() { ended <- c.Run() }()
	if status := <-played; status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	c.Close()
	must(t, <-ended)
}
