package main

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A recorder is a milter that writes down what it is told.
type recorder struct {
	mu  sync.Mutex
	log strings.Builder
}

func (r *recorder) add(ctx *context.ClientContext, format string, args ...any) protocol.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.log, format, args...)
	for _, m := range ctx.Macros() {
		if ctx.State() != context.StateAbort {
			fmt.Fprintf(&r.log, " %s=%s", m.Name, m.Value)
		}
	}
	r.log.WriteByte('\n')
	return protocol.StatusContinue
}

func (r *recorder) register(ctx *context.ClientContext) {
	type cc = *context.ClientContext
	ctx.OnNegotiate(func(ctx cc, offer *option.Option, _ *option.MacroRequests) protocol.Status {
		r.add(ctx, "negotiate %#x %#x %#x", offer.Version, uint32(offer.Actions), uint32(offer.Steps))
		return protocol.StatusDefault
	})
	ctx.OnConnect(func(ctx cc, host string, addr net.Addr) protocol.Status {
		return r.add(ctx, "connect %s %s", host, client.SpecOf(addr))
	})
	ctx.OnHelo(func(ctx cc, name string) protocol.Status { return r.add(ctx, "helo %s", name) })
	ctx.OnEnvelopeFrom(func(ctx cc, from string, p protocol.Parameters) protocol.Status {
		return r.add(ctx, "from %s %v", from, p)
	})
	ctx.OnEnvelopeRecipient(func(ctx cc, to string, p protocol.Parameters) protocol.Status {
		return r.add(ctx, "to %s %v", to, p)
	})
	ctx.OnData(func(ctx cc) protocol.Status { return r.add(ctx, "data") })
	ctx.OnUnknown(func(ctx cc, line string) protocol.Status { return r.add(ctx, "unknown %s", line) })
	ctx.OnHeader(func(ctx cc, name, value string) protocol.Status { return r.add(ctx, "header %s: %q", name, value) })
	ctx.OnEndOfHeader(func(ctx cc) protocol.Status { return r.add(ctx, "end-of-header") })
	ctx.OnBody(func(ctx cc, chunk []byte) protocol.Status {
		if len(chunk) > 100 {
			return r.add(ctx, "body of %d bytes", len(chunk))
		}
		return r.add(ctx, "body %q", chunk)
	})
	ctx.OnEndOfMessage(func(ctx cc, _ []byte) protocol.Status { return r.add(ctx, "end-of-message") })
	ctx.OnAbort(func(ctx cc, state context.State) protocol.Status { return r.add(ctx, "abort at %v", state) })
	ctx.OnFinished(func(ctx cc) { r.add(ctx, "finished") })
}

// What a milter is told, by default and with every option that changes it.
func TestEvents(t *testing.T) {
	tests := []struct {
		name  string
		args  []string
		stdin string
		want  string
	}{
		{"default", nil, "", "default.events"},
		{"all options", []string{"--name=mta", "--connect-host=h", "--connect-address=inet6:25@2001:db8::1", "--connect-macro=j:localhost",
			"--connect-macro={v}:1:2", "--helo-fqdn=me", "--helo-macro=tls_version:TLSv1.3", "-f", "a@example.com SIZE=10 BODY=7BIT",
			"--envelope-from-macro=x:y", "-r", "<b@example.com> NOTIFY=NEVER", "-rc@example.net", "--envelope-recipient-macro=rcpt_host:z",
			"--data-macro=i:1", "--end-of-header-macro=i:2", "--end-of-message-macro=i:3", "--authenticated-name=joe",
			"--authenticated-type=PLAIN", "--authenticated-author=jim", "-h", "S: x", "--header=T:y", "-b", "one\n", "-btwo", "--unknown=XYZZY 1",
			"--messages=2"}, "", "all.events"},
		{"old version", []string{"--negotiate-version=2", "--unknown=X", "--connect-address=unknown"}, "", "version2.events"},
		{"less offered", []string{"--offer-actions=add-headers", "--offer-steps=no-body", "--connect-address=unix:/run/x", "--from=<>", "--recipient=r"}, "", "offer.events"},
		{"mail file", []string{"-m", "../../testdata/multipart.eml"}, "", "multipart.events"},
		{"mail from standard input", []string{"-m-", "-rx@example.com", "-h", "X: y"}, "From: \"A, B\" <a@example.com>,c@example.com\nTo: d\n\nbody\n", "stdin.events"},
		{"mail without header", []string{"-m", "../../testdata/no-header.eml"}, "", "no-header.events"},
		{"empty body", []string{"-m", "../../testdata/empty-body.eml"}, "", "empty-body.events"},
		{"large body", []string{"-m-"}, "\n" + strings.Repeat("0123456789abc\n", 5000), "large.events"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r recorder
			spec := serve(t, "unix:"+t.TempDir()+"/m", r.register)
			status, stdout, stderr := play(t, tt.stdin, append([]string{"-s", strings.TrimPrefix(spec, "unix:")}, tt.args...)...)
			if status != 0 || stderr != "" || !strings.HasPrefix(stdout, "status: pass\n") {
				t.Errorf("exit status %d, stdout %q, stderr %q", status, stdout, stderr)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			golden(t, tt.want, r.log.String())
		})
	}
}

// A milter that answers and changes, and what is printed then.
func TestOutput(t *testing.T) {
	type cc = *context.ClientContext
	refuse := func(ctx cc, to string, _ protocol.Parameters) protocol.Status {
		switch protocol.Address(to) {
		case "nobody@example.com":
			return ctx.Reject(550, "5.1.1", "no\nbody")
		case "later@example.com":
			return protocol.StatusTemporaryFailure
		case "drop@example.com":
			return protocol.StatusDiscard
		case "yes@example.com":
			return protocol.StatusAccept
		}
		return protocol.StatusContinue
	}
	atEnd := func(change func(ctx cc) protocol.Status) func(cc) {
		return func(ctx cc) {
			ctx.OnEnvelopeRecipient(refuse)
			ctx.OnEndOfMessage(func(ctx cc, _ []byte) protocol.Status { return change(ctx) })
		}
	}
	pass := atEnd(func(cc) protocol.Status { return protocol.StatusContinue })
	tests := []struct {
		name    string
		setup   func(ctx cc)
		args    []string
		want    string
		verdict int
	}{
		{"pass", pass, nil, "status: pass\nelapsed-time: 0.000000 seconds\n", 0},
		{"accept", pass, []string{"-ryes@example.com"}, "status: accept\nelapsed-time: 0.000000 seconds\n", 0},
		{"accept after a refusal", pass, []string{"-rnobody@example.com", "-ryes@example.com", "-rx@example.com", "--output-message", "-bx"},
			"status: accept\nelapsed-time: 0.000000 seconds\nrefused: <nobody@example.com>: reject [550]<5.1.1>(no\\nbody)\n\n" +
				"Envelope:------------------------------\n  MAIL FROM:<sender@example.com>\n- RCPT TO:<nobody@example.com>\n" +
				"  RCPT TO:<yes@example.com>\n  RCPT TO:<x@example.com>\n" +
				"Header:--------------------------------\n  From: <sender@example.com>\n  To: <nobody@example.com>, <yes@example.com>, <x@example.com>\n" +
				"Body:----------------------------------\n  x\n", 0},
		{"discard", pass, []string{"-rx@example.com", "-rdrop@example.com", "--output-message"}, "status: discard\nelapsed-time: 0.000000 seconds\n", 12},
		{"all refused", pass, []string{"-rnobody@example.com", "-rlater@example.com"}, "status: temporary-failure\nelapsed-time: 0.000000 seconds\n" +
			"refused: <nobody@example.com>: reject [550]<5.1.1>(no\\nbody)\nrefused: <later@example.com>: temporary-failure\n", 11},
		{"reply", atEnd(func(ctx cc) protocol.Status { return ctx.TemporaryFailure(450, "4.2.0", "grey") }), []string{"--output-message"},
			"status: temporary-failure [450]<4.2.0>(grey)\nelapsed-time: 0.000000 seconds\n", 11},
		{"reject", atEnd(func(ctx cc) protocol.Status { return protocol.StatusReject }), nil, "status: reject\nelapsed-time: 0.000000 seconds\n", 10},
		{"quarantine and changes", atEnd(func(ctx cc) protocol.Status {
			must(t, ctx.Quarantine("why"))
			must(t, ctx.AddHeader("X-1", "a"))
			must(t, ctx.AddHeader("X-2", "b\n\tc\x1b"))
			return protocol.StatusContinue
		}), []string{"--output-message", "-b", "body\n"}, "status: quarantine\nelapsed-time: 0.000000 seconds\nQuarantine reason: <why>\n\n" +
			"Envelope:------------------------------\n  MAIL FROM:<sender@example.com>\n  RCPT TO:<receiver@example.org>\n" +
			"Header:--------------------------------\n  From: <sender@example.com>\n  To: <receiver@example.org>\n+ X-1: a\n+ X-2: b\n+ \tc\uFFFD\n" +
			"Body:----------------------------------\n  body\n", 13},
		{"color", atEnd(func(ctx cc) protocol.Status {
			must(t, ctx.ChangeFrom("<x@example.com>", ""))
			must(t, ctx.ReplaceBody([]byte("new\r\n")))
			return protocol.StatusAccept
		}), []string{"--output-message", "--color", "-b", "old"}, "status: accept\nelapsed-time: 0.000000 seconds\n\n" +
			"Envelope:------------------------------\n\x1b[31m- MAIL FROM:<sender@example.com>\x1b[0m\n\x1b[32m+ MAIL FROM:<x@example.com>\x1b[0m\n  RCPT TO:<receiver@example.org>\n" +
			"Header:--------------------------------\n  From: <sender@example.com>\n  To: <receiver@example.org>\n" +
			"Body:----------------------------------\n\x1b[31m- old\x1b[0m\n\x1b[32m+ new\x1b[0m\n", 0},
		{"several mails", pass, []string{"--messages=2", "--color=auto"}, strings.Repeat("status: pass\nelapsed-time: 0.000000 seconds\n", 2), 0},
		{"at connect", func(ctx cc) {
			ctx.OnConnect(func(ctx cc, _ string, _ net.Addr) protocol.Status { return ctx.Reject(554, "", "go") })
		}, []string{"--messages=2"}, strings.Repeat("status: reject [554](go)\nelapsed-time: 0.000000 seconds\n", 2), 10},
		{"at the negotiation", func(ctx cc) {
			ctx.OnNegotiate(func(cc, *option.Option, *option.MacroRequests) protocol.Status { return protocol.StatusReject })
		}, nil, "status: reject\nelapsed-time: 0.000000 seconds\n", 10},
		{"at helo", func(ctx cc) {
			ctx.OnHelo(func(cc, string) protocol.Status { return protocol.StatusAccept })
		}, []string{"--output-message", "--color=no", "-bx"}, "status: accept\nelapsed-time: 0.000000 seconds\n\n" +
			"Envelope:------------------------------\n  MAIL FROM:<sender@example.com>\n  RCPT TO:<receiver@example.org>\n" +
			"Header:--------------------------------\n  From: <sender@example.com>\n  To: <receiver@example.org>\nBody:----------------------------------\n  x\n", 0},
		{"at the sender", func(ctx cc) {
			ctx.OnEnvelopeFrom(func(cc, string, protocol.Parameters) protocol.Status { return protocol.StatusTemporaryFailure })
		}, nil, "status: temporary-failure\nelapsed-time: 0.000000 seconds\n", 11},
		{"at data", func(ctx cc) { ctx.OnData(func(cc) protocol.Status { return protocol.StatusReject }) }, nil,
			"status: reject\nelapsed-time: 0.000000 seconds\n", 10},
		{"accepted at data", func(ctx cc) { ctx.OnData(func(cc) protocol.Status { return protocol.StatusAccept }) }, nil,
			"status: accept\nelapsed-time: 0.000000 seconds\n", 0},
		{"at a header", func(ctx cc) {
			ctx.OnHeader(func(_ cc, name, _ string) protocol.Status {
				if name == "X" {
					return protocol.StatusDiscard
				}
				return protocol.StatusContinue
			})
		}, []string{"-hX: y", "--messages=2"}, strings.Repeat("status: discard\nelapsed-time: 0.000000 seconds\n", 2), 12},
		{"at the end of the header", func(ctx cc) { ctx.OnEndOfHeader(func(cc) protocol.Status { return protocol.StatusReject }) }, nil,
			"status: reject\nelapsed-time: 0.000000 seconds\n", 10},
		{"at the body", func(ctx cc) {
			ctx.OnBody(func(_ cc, chunk []byte) protocol.Status {
				if string(chunk) == "two" {
					return protocol.StatusReject
				}
				return protocol.StatusContinue
			})
		}, []string{"-bone", "-btwo"}, "status: reject\nelapsed-time: 0.000000 seconds\n", 10},
		{"the rest of the body is skipped", func(ctx cc) {
			chunks := 0
			ctx.OnBody(func(cc, []byte) protocol.Status {
				if chunks++; chunks > 1 {
					return protocol.StatusReject
				}
				return protocol.StatusSkip
			})
		}, []string{"-bone", "-btwo"}, "status: pass\nelapsed-time: 0.000000 seconds\n", 0},
		{"an unknown command decides nothing", func(ctx cc) {
			ctx.OnUnknown(func(cc, string) protocol.Status { return protocol.StatusReject })
		}, []string{"--unknown=X"}, "status: pass\nelapsed-time: 0.000000 seconds\n", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := serve(t, "unix:"+t.TempDir()+"/m", tt.setup)
			status, stdout, stderr := play(t, "", append([]string{"-s", spec}, tt.args...)...)
			if status != 0 || stderr != "" {
				t.Errorf("exit status %d, stderr %q", status, stderr)
			}
			if diff := cmp.Diff(tt.want, stdout); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			status, _, _ = play(t, "", append([]string{"-s", spec, "--verdict-as-status"}, tt.args...)...)
			if status != tt.verdict {
				t.Errorf("exit status %d with --verdict-as-status, want %d", status, tt.verdict)
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	tests := []struct {
		statuses []protocol.Status
		want     int
	}{
		{nil, 0},
		{[]protocol.Status{protocol.StatusQuarantine, protocol.StatusContinue, protocol.StatusTemporaryFailure}, 11},
		{[]protocol.Status{protocol.StatusReject, protocol.StatusDiscard, protocol.StatusAccept}, 10},
	}
	for _, tt := range tests {
		if got := verdict(tt.statuses); got != tt.want {
			t.Errorf("verdict(%v) = %d, want %d", tt.statuses, got, tt.want)
		}
	}
}

func TestVerbose(t *testing.T) {
	spec := serve(t, "inet:0@127.0.0.1", func(ctx *context.ClientContext) {
		ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
			must(t, ctx.AddHeader("X", strings.Repeat("y", 300)))
			return protocol.StatusAccept
		})
	})
	status, stdout, stderr := play(t, "", "-s", spec, "-v")
	if status != 0 || stderr != "" {
		t.Errorf("exit status %d, stderr %q", status, stderr)
	}
	golden(t, "verbose.txt", stdout)
}
