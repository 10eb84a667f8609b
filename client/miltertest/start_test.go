package miltertest_test

import (
	stdcontext "context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// A milter that uses most of what there is, over a pipe and over a socket.
func sample(ctx *context.ClientContext) {
	ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, to string, _ protocol.Parameters) protocol.Status {
		if strings.HasPrefix(to, "<nobody") {
			return ctx.Reject(550, "5.1.1", "100% unknown")
		}
		return protocol.StatusContinue
	})
	ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
		value, _ := ctx.LookupMacro("i")
		for _, err := range []error{
			ctx.AddHeader("X-Queue-Id", value),
			ctx.ChangeHeader("Subject", 1, "[seen] hello"),
			ctx.AddRecipient("<archive@example.com>", ""),
			ctx.Progress(),
		} {
			if err != nil {
				return ctx.TemporaryFailure(451, "4.3.0", err.Error())
			}
		}
		return protocol.StatusAccept
	})
}

func wantSample(t *testing.T, s *miltertest.Session) {
	t.Helper()
	s.Macros = map[protocol.Command][]protocol.Macro{protocol.CommandEndOfMessage: {macro("i", "4711")}}
	mail, err := miltertest.ParseMail(strings.NewReader("Subject: hello\n\nbody\n"))
	if err != nil {
		t.Fatal(err)
	}
	mail.From = "<a@example.com>"
	mail.Recipients = []miltertest.Recipient{{Path: "<nobody@example.com>"}, {Path: "<b@example.com>"}}
	for range 2 {
		result := must[miltertest.Result](t)(s.Send(mail))
		want := `Envelope:------------------------------
  MAIL FROM:<a@example.com>
- RCPT TO:<nobody@example.com>
  RCPT TO:<b@example.com>
+ RCPT TO:<archive@example.com>
Header:--------------------------------
- Subject: hello
+ Subject: [seen] hello
+ X-Queue-Id: 4711
Body:----------------------------------
  body
`
		if diff := cmp.Diff(want, miltertest.Diff(mail, result.Mail).String()); diff != "" {
			t.Errorf("%v: (-want +got):\n%s", result, diff)
		}
		if got, want := result.Recipients[0].String(), "reject [550]<5.1.1>(100% unknown)"; got != want {
			t.Errorf("the first recipient got %q, want %q", got, want)
		}
		if result.Status != protocol.StatusAccept || result.Progress != 1 {
			t.Errorf("%v with progress %d, want accept with 1", result, result.Progress)
		}
	}
	if err := s.Quit(); err != nil {
		t.Errorf("Quit = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

func TestServe(t *testing.T) {
	wantSample(t, miltertest.Serve(sample))
}

// Close waits for the milter, and Cut is seen by it as a hang-up.
func TestCloseWaits(t *testing.T) {
	for name, end := range map[string]func(*miltertest.Session) error{"Close": nil, "Cut": (*miltertest.Session).Cut} {
		var aborted, finished bool
		s := miltertest.Serve(func(ctx *context.ClientContext) {
			ctx.OnEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) protocol.Status {
				return protocol.StatusContinue
			})
			ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status {
				aborted = true
				return protocol.StatusContinue
			})
			ctx.OnFinished(func(*context.ClientContext) { finished = true })
		})
		must[miltertest.Answer](t)(s.Negotiate())
		must[miltertest.Answer](t)(s.EnvelopeFrom("<>"))
		if end != nil {
			if err := end(s); err != nil {
				t.Error(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v, want nil: a hang-up is no error", err)
		}
		if !aborted || !finished {
			t.Errorf("%s: aborted %v, finished %v; want both", name, aborted, finished)
		}
	}
}

// Close returns what the milter's end of the connection ended with.
func TestCloseReturnsTheMiltersError(t *testing.T) {
	c := client.New()
	c.Close()
	s := miltertest.Start(c)
	for range 2 {
		if err := s.Close(); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Close = %v, want client.ErrClosed", err)
		}
	}
}

func TestDial(t *testing.T) {
	path := filepath.Join(t.TempDir(), "milter.sock")
	c := client.New()
	c.OnConnectionEstablished(sample)
	c.SetListener(must[net.Listener](t)(net.Listen("unix", path)))
	ran := make(chan error, 1)
	go func() { ran <- c.Run() }()
	s := must[*miltertest.Session](t)(miltertest.Dial(t.Context(), "unix:"+path))
	wantSample(t, s)
	if err := c.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ran; err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestDialErrors(t *testing.T) {
	canceled, cancel := stdcontext.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		ctx  stdcontext.Context
		spec string
	}{
		{"malformed", t.Context(), "foo"},
		{"nobody listens", t.Context(), "unix:" + filepath.Join(t.TempDir(), "none")},
		{"canceled", canceled, "inet:10025@127.0.0.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if s, err := miltertest.Dial(tt.ctx, tt.spec); err == nil {
				s.Close()
				t.Error("there is no error")
			}
		})
	}
}

// One mail in an SMTP session that goes on, with a milter in the same process.
func BenchmarkSend(b *testing.B) {
	s := miltertest.Serve(sample)
	defer s.Close()
	mail := message()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Send(mail); err != nil {
			b.Fatal(err)
		}
	}
}
