package main

import (
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/cmd/internal/cmdtest"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// What milters do wrong, each in a message of its own.
func TestFaults(t *testing.T) {
	addHeader := packets(reply.AddHeader{Name: "X", Value: "y"})
	quarantine := packets(reply.Quarantine{Reason: "why"})
	again := tooMuch
	const all = option.AllActions
	tests := []struct {
		name string
		fake *fake
		args []string
		want string // behind "session 1, connection 1, "
	}{
		{"closes at once", &fake{Answers: answers{'O': cmdtest.Close}}, nil,
			`negotiate: expected a reply, got "": the milter closed the connection`},
		{"no negotiation", &fake{Answers: answers{'O': bare('c')}}, nil,
			`negotiate: expected 'O', got "\x00\x00\x00\x01c"`},
		{"short negotiation", &fake{Answers: answers{'O': "\x00\x00\x00\x02O\x00"}}, nil,
			`negotiate: expected 'O', got "\x00\x00\x00\x02O\x00": malformed negotiate reply: need 12 bytes for version, actions and steps`},
		{"step not offered", &fake{Steps: option.StepSkip}, []string{"--offer=no-body"},
			`negotiate: expected what was offered, got "\x00\x00\x00\rO\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x04\x00": steps were not offered: skip`},
		{"action not offered", &fake{Actions: option.ActionQuarantine}, []string{"--actions=add-headers"},
			`negotiate: expected what was offered, got "\x00\x00\x00\rO\x00\x00\x00\x06\x00\x00\x00 \x00\x00\x00\x00": actions were not offered: quarantine`},
		{"version not offered", &fake{Answers: answers{'O': packets(reply.Negotiate{Option: option.Option{Version: 7}})}}, nil,
			`negotiate: expected what was offered, got "\x00\x00\x00\rO\x00\x00\x00\a\x00\x00\x00\x00\x00\x00\x00\x00": version 7 is not from 2 to 6`},
		{"something behind the negotiation", &fake{Answers: answers{'O': packets(reply.Negotiate{Option: option.Option{Version: 6}}) + "x"}}, nil,
			`negotiate: expected nothing more, got "x": ` + again},

		{"discard at connect", &fake{Answers: answers{'C': bare('d')}}, nil,
			`connect: expected 'c', 'a', 'r', 't' or 'y', got "\x00\x00\x00\x01d": there is no message yet that could be discarded`},
		{"skip at header", &fake{Steps: option.StepSkip, Answers: answers{'L': bare('s')}}, nil,
			`message 1, header 1: expected 'c', 'a', 'r', 't', 'y' or 'd', got "\x00\x00\x00\x01s": only a body chunk may be skipped`},
		{"skip not negotiated", &fake{Answers: answers{'B': bare('s')}}, nil,
			`message 1, body 1: expected 'c', 'a', 'r', 't', 'y' or 'd', got "\x00\x00\x00\x01s": the step skip was not negotiated`},
		{"no letter of a reply", &fake{Answers: answers{'T': bare('Z')}}, nil,
			`message 1, data: expected 'c', 'a', 'r', 't', 'y' or 'd', got "\x00\x00\x00\x01Z"`},
		{"reply with a payload", &fake{Answers: answers{'N': "\x00\x00\x00\x02c\x00"}}, nil,
			`message 1, end-of-header: expected "\x00\x00\x00\x01c", got "\x00\x00\x00\x02c\x00": the reply has no payload`},
		{"malformed text", &fake{Answers: answers{'R': "\x00\x00\x00\x04y250"}}, nil,
			`message 1, envelope-recipient 1: expected a well-formed packet, got "\x00\x00\x00\x04y250": malformed reply-code reply: does not end with NUL`},
		{"packet without length", &fake{Answers: answers{'M': "\x00\x00\x00\x00c"}}, nil,
			`message 1, envelope-from: expected a reply, got "\x00\x00\x00\x00c": a packet has a length from 1 to 16777216`},
		{"two replies", &fake{Answers: answers{'R': bare('c', 'c')}}, nil,
			`message 1, envelope-recipient 1: expected nothing more, got "\x00\x00\x00\x01c": ` + again},
		{"progress too early", &fake{Answers: answers{'B': bare('p', 'c')}}, nil,
			`message 1, body 1: expected 'c', 'a', 'r', 't', 'y' or 'd', got "\x00\x00\x00\x01p": progress may only come at end of message`},
		{"change too early", &fake{Actions: all, Answers: answers{'N': addHeader + bare('c')}}, nil,
			`message 1, end-of-header: expected 'c', 'a', 'r', 't', 'y' or 'd', got "\x00\x00\x00\x05hX\x00y\x00": add-header may only come at end of message`},

		{"change not negotiated", &fake{Actions: option.ActionQuarantine, Answers: answers{'E': addHeader + bare('c')}}, nil,
			`message 1, end-of-message: expected 'c', 'a', 'r', 't', 'y' or 'd' or a change that was negotiated, got "\x00\x00\x00\x05hX\x00y\x00": the action add-headers was not negotiated`},
		{"malformed change", &fake{Actions: all, Answers: answers{'E': "\x00\x00\x00\x03hX\x00" + bare('c')}}, nil,
			`message 1, end-of-message: expected a well-formed packet, got "\x00\x00\x00\x03hX\x00": malformed add-header reply: has 1 strings`},
		{"progress with a payload", &fake{Answers: answers{'E': "\x00\x00\x00\x02p\x00"}}, nil,
			`message 1, end-of-message: expected "\x00\x00\x00\x01p", got "\x00\x00\x00\x02p\x00": the reply has no payload`},
		{"too few changes", &fake{Actions: all, Answers: answers{'E': addHeader + bare('c')}}, []string{"--changes=2"},
			`message 1, end-of-message: expected 2 changes, got "\x00\x00\x00\x01c": the reply came behind 1`},
		{"too many changes", &fake{Actions: all, Answers: answers{'E': addHeader + addHeader + bare('c')}}, []string{"--changes=1"},
			`message 1, end-of-message: expected a reply behind 1 change, got "\x00\x00\x00\x05hX\x00y\x00"`},
		{"skip at the end", &fake{Steps: option.StepSkip, Answers: answers{'E': bare('s')}}, nil,
			`message 1, end-of-message: expected 'c', 'a', 'r', 't', 'y' or 'd', got "\x00\x00\x00\x01s": only a body chunk may be skipped`},
		{"reject", &fake{Answers: answers{'E': bare('r')}}, nil,
			`message 1, end-of-message: expected 'a' or 'c', got "\x00\x00\x00\x01r"`},
		{"accept", &fake{Answers: answers{'E': bare('a')}}, []string{"--expect=continue"},
			`message 1, end-of-message: expected 'c', got "\x00\x00\x00\x01a"`},
		{"reply of 5xx", &fake{Answers: answers{'E': packets(reply.ReplyCode{SMTP: reply.SMTP{Code: 550, Text: "no"}})}}, []string{"--expect=tempfail"},
			`message 1, end-of-message: expected 't', or 'y' with 4xx, got "\x00\x00\x00\by550 no\x00"`},
		{"a byte behind the final reply", &fake{Answers: answers{'E': bare('a') + "\x00"}}, nil,
			`message 1, end-of-message: expected nothing more, got "\x00": ` + again},

		{"answers a step without reply", &fake{Steps: option.StepNoReplyHeader, Answers: answers{'L': bare('c')}}, []string{"--headers=1"},
			""},
		{"answers macros", &fake{Answers: answers{'D': bare('c')}}, nil, ""},
		{"answers abort", &fake{Answers: answers{'M': bare('r'), 'A': bare('c')}}, nil, ""},
		{"answers quit", &fake{Answers: answers{'Q': bare('c')}}, nil,
			`message 1, quit: expected the end of the connection, got "\x00\x00\x00\x01c": ` + again},
		{"does not close", &fake{Answers: answers{'Q': ""}}, []string{"--timeout=300ms"},
			`message 1, quit: expected the end of the connection, got "": nothing more came within 300ms`},
		{"does not answer", &fake{Answer: func(c protocol.Command, _ int) (string, bool) { return "", c == 'E' }}, []string{"--timeout=300ms"},
			`message 1, end-of-message: expected a reply, got "": nothing more came within 300ms`},
		{"closes in the middle", &fake{Answers: answers{'B': cmdtest.Close}}, nil,
			`message 1, body 1: expected a reply, got "": the milter closed the connection`},
		{"closes within a reply", &fake{Answer: func(c protocol.Command, n int) (string, bool) {
			return map[int]string{1: "\x00\x00\x00", 2: cmdtest.Close}[n], c == 'B'
		}, Steps: option.StepNoReplyEndOfHeader}, []string{"--timeout=300ms"},
			`message 1, body 1: expected a reply, got "\x00\x00\x00": nothing more came within 300ms`},
		{"changes of another step", &fake{Actions: option.ActionAddHeaders, Answers: answers{'E': quarantine + bare('c')}}, nil,
			`message 1, end-of-message: expected 'c', 'a', 'r', 't', 'y' or 'd' or a change that was negotiated, got "\x00\x00\x00\x05qwhy\x00": the action quarantine was not negotiated`},
	}
	for _, tt := range tests {
		for _, network := range []string{"tcp4", "unix"} {
			t.Run(tt.name+"/"+network, func(t *testing.T) {
				spec := tt.fake.Listen(t, network)
				status, stdout, stderr := play(append([]string{"-s", spec, "-n1"}, tt.args...)...)
				want := "milter-performance-check: session 1, connection 1, " + tt.want + "\n"
				if tt.want == "" { // the step that it is noticed at depends on when it comes
					want = stderr
					if !strings.HasSuffix(stderr, `got "\x00\x00\x00\x01c": `+again+"\n") {
						t.Errorf("not noticed, stderr %q", stderr)
					}
				}
				if diff := cmp.Diff(want, stderr); status != 1 || diff != "" {
					t.Errorf("exit status %d, want 1; stderr (-want +got):\n%s", status, diff)
				}
				if !strings.HasPrefix(stdout, "messages ") {
					t.Errorf("no figures: %q", stdout)
				}
			})
		}
	}
}

// What is wrong with a later message only.
func TestLaterFaults(t *testing.T) {
	header := func(value string) string { return packets(reply.AddHeader{Name: "X", Value: value}) }
	// at returns the answers to the first two ends of a message.
	at := func(first, second string) func(protocol.Command, int) (string, bool) {
		return func(c protocol.Command, n int) (string, bool) {
			if c != 'E' {
				return "", false
			}
			return map[int]string{1: first, 2: second}[n], true
		}
	}
	const other = "the first message was changed in another way"
	tests := []struct {
		name   string
		answer func(c protocol.Command, n int) (string, bool)
		want   string
	}{
		{"another change", at(header("a")+bare('c'), header("b")+bare('c')),
			`message 2, end-of-message: expected "\x00\x00\x00\x05hX\x00a\x00", got "\x00\x00\x00\x05hX\x00b\x00": ` + other},
		{"another order", at(header("a")+header("b")+bare('c'), header("b")+header("a")+bare('c')),
			`message 2, end-of-message: expected "\x00\x00\x00\x05hX\x00a\x00", got "\x00\x00\x00\x05hX\x00b\x00": ` + other},
		{"one change more", at(header("a")+bare('c'), header("a")+header("b")+bare('c')),
			`message 2, end-of-message: expected no change, got "\x00\x00\x00\x05hX\x00b\x00": ` + other},
		{"one change less", at(header("a")+header("b")+bare('c'), header("a")+bare('c')),
			`message 2, end-of-message: expected "\x00\x00\x00\x05hX\x00b\x00", got "\x00\x00\x00\x01c": ` + other},
		{"another verdict", at(bare('c'), bare('r')), `message 2, end-of-message: expected 'a' or 'c', got "\x00\x00\x00\x01r"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{Actions: option.AllActions, Answer: tt.answer}
			status, _, stderr := play("-s", f.Listen(t, "unix"), "-n2")
			want := "milter-performance-check: session 1, connection 1, " + tt.want + "\n"
			if diff := cmp.Diff(want, stderr); status != 1 || diff != "" {
				t.Errorf("exit status %d, want 1; stderr (-want +got):\n%s", status, diff)
			}
			status, _, stderr = play("-s", f.Listen(t, "unix"), "-n2", "--varying-changes", "--expect=any")
			if status != 0 {
				t.Errorf("exit status %d with all allowed, stderr %q", status, stderr)
			}
		})
	}
}

// What comes some time after the final reply is noticed, too: before the next
// message, or before quit.
func TestStrayBytesBetweenMessages(t *testing.T) {
	for _, n := range []string{"-n1", "-n2"} {
		t.Run(n, func(t *testing.T) {
			wantStray := `message 1, end-of-message: expected nothing more, got "x": `
			s := newTestSession(t, n)
			milter := connect(t, s, func(c protocol.Command) string { return "" })
			_, ok, err := s.greet(milter.near)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			if _, err := s.send(); err != nil {
				t.Fatal(err)
			}
			if _, err := milter.far.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if n == "-n2" {
				_, err = s.send()
			} else {
				err = s.quit()
			}
			if err == nil || !strings.Contains(err.Error(), wantStray) {
				t.Errorf("error %v, want %q", err, wantStray)
			}
		})
	}
}

// A fault of one session ends the others, also those that wait.
func TestFaultEndsRun(t *testing.T) {
	var failed atomic.Bool
	f := &fake{}
	f.Answer = func(c protocol.Command, n int) (string, bool) {
		if c == 'E' && f.Connections() == 3 && failed.CompareAndSwap(false, true) { // the others hang
			return bare('r'), true
		}
		return "", c == 'E'
	}
	start := time.Now()
	status, _, stderr := play("-s", f.Listen(t, "unix"), "-c3", "--duration=1h")
	if want := `: expected 'a' or 'c', got "\x00\x00\x00\x01r"` + "\n"; status != 1 || !strings.HasSuffix(stderr, want) || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit status %d, want 1; stderr %q", status, stderr)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the run ended after %v", took)
	}
}

func TestCannotConnect(t *testing.T) {
	for _, tt := range cmdtest.Nowheres(t) {
		t.Run(tt.Name, func(t *testing.T) {
			for _, mode := range []string{"--duration=1h", "--new-connection", "--idle=1"} {
				status, _, stderr := play("-s", tt.Spec, mode)
				if diff := cmp.Diff("milter-performance-check: session 1: "+tt.Want+"\n", stderr); status != 1 || diff != "" {
					t.Errorf("%s: exit status %d, stderr (-want +got):\n%s", mode, status, diff)
				}
			}
		})
	}
}

func TestBadOptions(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"nothing", nil, "no connection spec: say where the milter listens, as in -s inet:10025@127.0.0.1"},
		{"spec", []string{"-sfoo"}, `spec doesn't have colon: "foo"; write "inet:PORT@HOST", "inet6:PORT@HOST" or "unix:PATH"`},
		{"operand", []string{"-sinet:1", "x"}, `extra operand "x"`},
		{"steps", []string{"--offer=fly"}, `invalid value "fly" for '--offer': unknown step "fly"`},
		{"actions", []string{"--actions=fly"}, `invalid value "fly" for '--actions': unknown action "fly"`},
		{"sessions", []string{"-c0"}, `invalid value "0" for '-c': must be from 1 to 2000000000`},
		{"messages", []string{"-n-1"}, `invalid value "-1" for '-n': must be at least 0`},
		{"duration", []string{"--duration=x"}, `invalid value "x" for '--duration': not a duration, such as "10" (seconds), "100ms" or "5m"`},
		{"warm-up", []string{"--warm-up=-1s"}, `invalid value "-1s" for '--warm-up': must not be negative`},
		{"body size", []string{"--body-size=1g"}, `invalid value "1g" for '--body-size': not a number of bytes, such as "4096", "64k" or "1m"`},
		{"body too large", []string{"--body-size=1025m"}, `invalid value "1025m" for '--body-size': must be at most 1073741824`},
		{"body much too large", []string{"--body-size=99999999999999999999"}, `invalid value "99999999999999999999" for '--body-size': must be at most 1073741824`},
		{"body chunk", []string{"--body-chunk=65536"}, `invalid value "65536" for '--body-chunk': must be from 1 to 65535`},
		{"macros", []string{"--macros=exim"}, `invalid value "exim" for '--macros': should be postfix or none`},
		{"expect", []string{"--expect=maybe"}, `invalid value "maybe" for '--expect': should be accept, continue, reject, tempfail, discard or any`},
		{"changes", []string{"--changes=-1"}, `invalid value "-1" for '--changes': not a whole number from 0 on`},
		{"format", []string{"--format=xml"}, `invalid value "xml" for '--format': should be table, json or csv`},
		{"pid", []string{"--pid=0"}, `invalid value "0" for '--pid': must be from 1 to 134217727`},
		{"new connection and more", []string{"-sinet:1", "--new-connection", "--messages-per-session=5"},
			"--new-connection and --messages-per-session=5 exclude each other"},
		{"idle and messages", []string{"-sinet:1", "--idle=5", "-n3"}, "--idle=5 and options for messages exclude each other: say --idle-messages"},
		{"idle messages alone", []string{"-sinet:1", "--idle-messages=5"}, "--idle-messages and --idle-body-size need --idle"},
		{"nothing to do", []string{"-sinet:1", "--duration=0"}, "--duration=0 needs --messages: there is nothing to measure"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, stdout, stderr := play(tt.args...)
			want := "milter-performance-check: " + tt.want + "\nTry 'milter-performance-check --help' for more information.\n"
			if diff := cmp.Diff(want, stderr); status != 2 || stdout != "" || diff != "" {
				t.Errorf("exit status %d, want 2, stdout %q, stderr (-want +got):\n%s", status, stdout, diff)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	status, stdout, stderr := play("--help")
	if status != 0 || stderr != "" {
		t.Errorf("exit status %d, stderr %q", status, stderr)
	}
	golden(t, "help.txt", stdout)
}

func TestTooManySessions(t *testing.T) {
	status, _, stderr := play("-sunix:/nowhere", "-c2000000000")
	if status != 1 || !strings.Contains(stderr, ": 2000000032 files must be open at once, the limit is ") {
		t.Errorf("exit status %d, stderr %q", status, stderr)
	}
}

func TestNoSuchProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/io"); err != nil {
		t.Skip("no /proc: --pid is for Linux")
	}
	status, _, stderr := play("-sunix:/nowhere", "--pid=134217727")
	if want := "milter-performance-check: process 134217727: there is no such process\n"; status != 1 || stderr != want {
		t.Errorf("exit status %d, stderr %q, want %q", status, stderr, want)
	}
}
