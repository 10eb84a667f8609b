package context_test

import (
	"bytes"
	stdcontext "context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// boomHere is the function that the stack in the log must name.
func boomHere(v any) { panic(v) }

// A panicPlace is somewhere a program's function can panic in a session.
type panicPlace struct {
	name  string
	reply string // what has the debt when it panics, "" for nothing
	setup func(ctx *context.ClientContext, boom func())
	feed  []protocol.Message
}

// panicPlaces are the handlers of all events, functions of Later, and the rest.
func panicPlaces() []panicPlace {
	type cc = *context.ClientContext
	var list []panicPlace
	for _, e := range events() {
		feed := append(e.lead[:len(e.lead):len(e.lead)], e.message)
		at := func(ctx cc, f func(cc) protocol.Status) {
			record(ctx, &journal{}, nil)
			switch e.command {
			case 'C':
				ctx.OnConnect(func(c cc, _ string, _ netAddr) protocol.Status { return f(c) })
			case 'H':
				ctx.OnHelo(func(c cc, _ string) protocol.Status { return f(c) })
			case 'M':
				ctx.OnEnvelopeFrom(func(c cc, _ string, _ protocol.Parameters) protocol.Status { return f(c) })
			case 'R':
				ctx.OnEnvelopeRecipient(func(c cc, _ string, _ protocol.Parameters) protocol.Status { return f(c) })
			case 'T':
				ctx.OnData(func(c cc) protocol.Status { return f(c) })
			case 'U':
				ctx.OnUnknown(func(c cc, _ string) protocol.Status { return f(c) })
			case 'L':
				ctx.OnHeader(func(c cc, _, _ string) protocol.Status { return f(c) })
			case 'N':
				ctx.OnEndOfHeader(func(c cc) protocol.Status { return f(c) })
			case 'B':
				ctx.OnBody(func(c cc, _ []byte) protocol.Status { return f(c) })
			case 'E':
				ctx.OnEndOfMessage(func(c cc, _ []byte) protocol.Status { return f(c) })
			}
		}
		list = append(list, panicPlace{e.name, string(e.command), func(ctx cc, boom func()) {
			at(ctx, func(cc) protocol.Status { boom(); return 0 })
		}, feed}, panicPlace{"later at " + e.name, string(e.command), func(ctx cc, boom func()) {
			at(ctx, func(c cc) protocol.Status {
				return c.Later(func(stdcontext.Context) protocol.Status { boom(); return 0 })
			})
		}, feed})
	}
	return append(list, []panicPlace{
		{"define-macro", "", func(ctx cc, boom func()) {
			ctx.OnDefineMacro(func(_ cc, c protocol.Command, _ []protocol.Macro) {
				if c == 'M' {
					boom()
				}
			})
		}, []protocol.Message{macros('M', "a", "b")}},
		{"abort", "", func(ctx cc, boom func()) {
			ctx.OnAbort(func(cc, context.State) protocol.Status { boom(); return 0 })
		}, []protocol.Message{mailMsg, abortMsg}},
		{"abort at the end", "", func(ctx cc, boom func()) {
			ctx.OnAbort(func(cc, context.State) protocol.Status { boom(); return 0 })
		}, []protocol.Message{mailMsg, quitMsg}},
		{"message-processed", "", func(ctx cc, boom func()) {
			ctx.OnMessageProcessed(func(cc, *context.MessageResult) { boom() })
		}, []protocol.Message{mailMsg, rcptMsg, eomMsg}},
		{"error", "", func(ctx cc, boom func()) { ctx.OnError(func(cc, error) { boom() }) }, []protocol.Message{packet('X', "")}},
		{"finished", "", func(ctx cc, boom func()) { ctx.OnFinished(func(cc) { boom() }) }, []protocol.Message{quitMsg}},
		{"destroy", "", func(ctx cc, boom func()) { ctx.SetPrivateData(1, boom) }, []protocol.Message{quitMsg}},
	}...)
}

// run plays the place in a session of its own and returns it when it has ended.
// Other goroutines of the session are awaited.
func (p panicPlace) run(t *testing.T, config context.Config, log *lockedBuffer, boom func()) (ctx *context.ClientContext, out *lockedBuffer, finished func() int) {
	t.Helper()
	out = new(lockedBuffer)
	config.ID = 7
	config.Logger = slog.New(slog.NewJSONHandler(log, nil))
	ctx = context.New(out, config)
	p.setup(ctx, boom)
	var mu sync.Mutex
	n := 0
	done := make(chan struct{})
	ctx.OnFinished(func(*context.ClientContext) {
		mu.Lock()
		defer mu.Unlock()
		if n++; n == 1 {
			close(done)
		}
	})
	b := macros('C', "i", "Q1").Append(negotiateMsg.Append(nil))
	for _, m := range p.feed {
		b = m.Append(b)
	}
	_ = ctx.Feed(b)
	within(t, "the session ends", func() { <-done })
	// What follows OnFinished, in the goroutine of Later.
	within(t, "the last event", func() {
		for !errors.Is(ctx.Feed(nil), context.ErrFinished) || ctx.State() != context.StateFinished {
			runtime.Gosched()
		}
	})
	return ctx, out, func() int { mu.Lock(); defer mu.Unlock(); return n }
}

// within fails the test when f takes longer than a lock ever should.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		stacks := make([]byte, 1<<20)
		t.Fatalf("%s: it hangs\n%s", what, stacks[:runtime.Stack(stacks, true)])
	}
}

// A lockedBuffer may be written and read by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.b.Bytes())
}

// callEverything calls every method of ctx and of its Late, with zero arguments and
// functions that do nothing.
func callEverything(ctx *context.ClientContext) {
	call := func(v reflect.Value, skip ...string) {
	methods:
		for i := range v.NumMethod() {
			name := v.Type().Method(i).Name
			for _, s := range append(skip, "Serve", "Feed", "SetState", "Value") {
				if name == s {
					continue methods
				}
			}
			m := v.Method(i)
			var args []reflect.Value
			for j := range m.Type().NumIn() {
				in := m.Type().In(j)
				if m.Type().IsVariadic() {
					break // the only argument, of Check
				}
				if in.Kind() == reflect.Func {
					args = append(args, reflect.MakeFunc(in, func([]reflect.Value) (out []reflect.Value) {
						for k := range in.NumOut() {
							out = append(out, reflect.Zero(in.Out(k)))
						}
						return out
					}))
					continue
				}
				args = append(args, reflect.Zero(in))
			}
			m.Call(args)
		}
	}
	late := ctx.Late()
	call(reflect.ValueOf(ctx), "Close", "Shutdown")
	call(reflect.ValueOf(late))
	_ = context.PerMessage[int](ctx)
	ctx.Shutdown()
	_ = ctx.Close()
}

// panicLines returns the log lines about panics. Each must have the stack, the
// session and the mail.
func panicLines(t *testing.T, log []byte) (lines int) {
	t.Helper()
	for _, line := range bytes.Split(bytes.TrimSpace(log), []byte("\n")) {
		var l struct {
			Msg     string `json:"msg"`
			Session uint64 `json:"session"`
			QueueID string `json:"queue_id"`
			Error   string `json:"error"`
			Stack   string `json:"stack"`
		}
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if l.Msg != "milter: handler panicked" {
			continue
		}
		lines++
		if l.Session != 7 || l.QueueID != "Q1" || !strings.Contains(l.Error, "oops") || !strings.Contains(l.Stack, "boomHere") {
			t.Errorf("log line %+v, want the session, the queue id, what was panicked with, and where", l)
		}
	}
	return lines
}

// TestPanicEverywhere: wherever a function of the program panics, the MTA gets the
// answer that it waits for, it is logged once, OnFinished runs once, no lock stays
// held, and another session in the same process does not notice.
func TestPanicEverywhere(t *testing.T) {
	for _, p := range panicPlaces() {
		for _, status := range []protocol.Status{protocol.StatusDefault, protocol.StatusAccept, protocol.StatusAbort} {
			t.Run(fmt.Sprintf("%s %v", p.name, status), func(t *testing.T) {
				other := negotiated(t, 0, 0, nil)
				var log lockedBuffer
				config := forever()
				config.PanicStatus = status
				ctx, out, finished := p.run(t, config, &log, func() { boomHere("oops") })
				if n := panicLines(t, log.bytes()); n != 1 {
					t.Errorf("the panic was logged %d times, want once:\n%s", n, log.bytes())
				}
				if n := finished(); n != 1 {
					t.Errorf("OnFinished ran %d times", n)
				}
				replies := showAll(t, out.bytes())
				want := map[protocol.Status]string{protocol.StatusDefault: "t", protocol.StatusAccept: "a"}[status]
				if p.reply == "U" && status == protocol.StatusAccept {
					want = "c" // Postfix would not survive an accept there
				}
				if p.reply != "" {
					n := 1 + len(p.feed)
					if want == "" {
						n--
					}
					if last := replies[len(replies)-1]; len(replies) != n || want != "" && last != want {
						t.Errorf("replies %q, want %d and %q last", replies, n, want)
					}
					if !errors.Is(causeOf(ctx), context.ErrPanic) {
						t.Errorf("cause %v, want ErrPanic", causeOf(ctx))
					}
				}
				within(t, "every method after the panic", func() { callEverything(ctx) })
				if n := finished(); n != 1 {
					t.Errorf("OnFinished ran %d times after all", n)
				}
				if err := other.feed(eomMsgs()...); err != nil {
					t.Errorf("another session: %v", err)
				}
				other.expect("another session is served", "c", "c", "c", "c", "c", "c", "c", "c", "c")
			})
		}
	}
	bubble(t, "timeout", func(t *testing.T) { // it needs a connection
		var log lockedBuffer
		config := defaults()
		config.ID = 7
		config.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		s := start(t, config, func(ctx *context.ClientContext, j *journal) {
			ctx.OnTimeout(func(*context.ClientContext) { boomHere("oops") })
			recordEnds(ctx, j)
		})
		s.play(macros('C', "i", "Q1"), connectMsg, mailMsg)
		time.Sleep(defaults().Timeout)
		synctest.Wait()
		s.happened("the other handler, and the end", "timeout", "abort envelope-from-replied", "processed abort at envelope-from-replied", "finished ErrTimeout")
		if n := panicLines(t, log.bytes()); n != 1 {
			t.Errorf("the panic was logged %d times, want once", n)
		}
		callEverything(s.ctx)
	})
}

// TestPanicWithOwnError: a handler that panics with an error of this package, as
// in panic(ctx.AddHeader(…)), has panicked all the same.
func TestPanicWithOwnError(t *testing.T) {
	for _, own := range []error{context.ErrFinished, context.ErrClosed, context.ErrTimeout, context.ErrNoReplyDue, context.ErrPanic} {
		t.Run(own.Error(), func(t *testing.T) {
			f := negotiated(t, 0, 0, func(event string) protocol.Status {
				if event == "envelope-recipient" {
					panic(fmt.Errorf("must: %w", own))
				}
				return protocol.StatusContinue
			})
			if err := f.feed(mailMsg, rcptMsg); !errors.Is(err, context.ErrPanic) {
				t.Errorf("Feed returned %v, want ErrPanic", err)
			}
			f.happened("no timeout, and OnError is told once", "envelope-from <from@example.com>", "envelope-recipient <to@example.com>",
				"error ErrPanic", "abort envelope-recipient-replied", "processed abort at envelope-recipient-replied", "finished ErrPanic")
		})
	}
}

// TestPanicCrash: with PanicCrash the panic goes on, after the log line and the
// answer, and takes the stack of the handler along.
func TestPanicCrash(t *testing.T) {
	for _, p := range panicPlaces() {
		if strings.HasPrefix(p.name, "later") {
			continue // ends the process, see TestPanicCrashOfLater
		}
		t.Run(p.name, func(t *testing.T) {
			var log, out lockedBuffer
			config := forever()
			config.PanicCrash = true
			config.ID = 7
			config.Logger = slog.New(slog.NewJSONHandler(&log, nil))
			ctx := context.New(&out, config)
			p.setup(ctx, func() { boomHere("oops") })
			b := macros('C', "i", "Q1").Append(negotiateMsg.Append(nil))
			for _, m := range p.feed {
				b = m.Append(b)
			}
			v := func() (v any) {
				defer func() { v = recover() }()
				_ = ctx.Feed(b)
				return nil
			}()
			if text := fmt.Sprint(v); !strings.HasPrefix(text, "context: handler panicked: oops\n") || !strings.Contains(text, "boomHere") {
				t.Errorf("panic %q, want the handler's with its stack", text)
			}
			if n := panicLines(t, log.bytes()); n != 1 {
				t.Errorf("logged %d times, want once", n)
			}
			if replies := showAll(t, out.bytes()); p.reply != "" && replies[len(replies)-1] != "t" {
				t.Errorf("replies %q, want a temporary failure at last", replies)
			}
			within(t, "no lock is held, for deferred functions", func() { _ = ctx.State() })
		})
	}
	t.Run("but not for an exit", func(t *testing.T) {
		config := forever()
		config.PanicCrash = true
		f := feed(t, config)
		left := make(chan struct{})
		f.ctx.OnHelo(func(ctx *context.ClientContext, _ string) protocol.Status {
			return ctx.Later(func(stdcontext.Context) protocol.Status { runtime.Goexit(); return 0 })
		})
		f.ctx.OnFinished(func(*context.ClientContext) { close(left) })
		_ = f.feed(negotiateMsg, heloMsg)
		<-left
	})
}

const crashVariable = "MILTER_TEST_CRASH"

// TestPanicCrashOfLater: a function of Later has a goroutine of its own, so that
// nobody can keep the process from ending.
func TestPanicCrashOfLater(t *testing.T) {
	if os.Getenv(crashVariable) != "" {
		config := forever()
		config.PanicCrash = true
		ctx := context.New(new(lockedBuffer), config)
		ctx.OnHelo(func(ctx *context.ClientContext, _ string) protocol.Status {
			return ctx.Later(func(stdcontext.Context) protocol.Status { boomHere("oops"); return 0 })
		})
		_ = ctx.Feed(heloMsg.Append(protocol.Negotiate{Option: option.All()}.Append(nil)))
		select {} // the process must end by the panic
	}
	limit, cancel := stdcontext.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(limit, os.Args[0], "-test.run=^TestPanicCrashOfLater$")
	cmd.Env = append(os.Environ(), crashVariable+"=1")
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Fatalf("the process ended with %v, want exit status 2\n%s", err, output)
	}
	for _, want := range []string{"panic: context: handler panicked: oops\n", "boomHere", "milter: handler panicked"} {
		if !bytes.Contains(output, []byte(want)) {
			t.Errorf("output lacks %q:\n%s", want, output)
		}
	}
}

// TestPanicOfLateThatIsOver: the panic of a goroutine that has outlived its event
// ends the session, and answers no other event.
func TestPanicOfLateThatIsOver(t *testing.T) {
	f := feed(t, forever())
	release, finished := make(chan struct{}), make(chan struct{})
	helos := 0
	f.ctx.OnHelo(func(ctx *context.ClientContext, _ string) protocol.Status {
		if helos++; helos == 1 {
			return ctx.Later(func(stdcontext.Context) protocol.Status { <-release; boomHere("oops"); return 0 })
		}
		return protocol.StatusProgress
	})
	f.ctx.OnFinished(func(*context.ClientContext) { close(finished) })
	_ = f.feed(negotiateMsg, heloMsg)
	mustBe(t, "the first helo", f.ctx.HeloResponse(protocol.StatusContinue), "none")
	_ = f.feed(heloMsg)
	f.replies()
	close(release)
	within(t, "the session ends", func() { <-finished })
	f.expect("the second helo is not answered by the panic of the first")
	if cause := causeOf(f.ctx); !errors.Is(cause, context.ErrPanic) {
		t.Errorf("cause %v, want ErrPanic", cause)
	}
}
