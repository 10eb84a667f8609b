package context_test

import (
	"bytes"
	stdcontext "context"
	"errors"
	"io"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

func TestPrivateData(t *testing.T) {
	f := negotiated(t, 0, 0, nil)
	destroyed := ""
	if f.ctx.PrivateData() != nil {
		t.Error("data before it was set")
	}
	f.ctx.OnFinished(func(ctx *context.ClientContext) {
		if ctx.PrivateData() != "second" || destroyed != "first" {
			t.Errorf("at the end: %v, destroyed %q", ctx.PrivateData(), destroyed)
		}
	})
	f.ctx.SetPrivateData("first", func() { destroyed += "first" })
	f.ctx.SetPrivateData("second", func() { destroyed += " second" })
	if destroyed != "first" || f.ctx.PrivateData() != "second" {
		t.Errorf("data %v, destroyed %q", f.ctx.PrivateData(), destroyed)
	}
	_ = f.feed(quitMsg)
	if destroyed != "first second" {
		t.Errorf("destroyed %q after the end", destroyed)
	}
}

// TestForTesting: what only tests set.
func TestForTesting(t *testing.T) {
	f := feed(t, forever())
	if f.ctx.State() != context.StateStart || f.ctx.LastState() != context.StateStart || f.ctx.Status() != protocol.StatusNotChange {
		t.Errorf("a new session: %v, %v, %v", f.ctx.State(), f.ctx.LastState(), f.ctx.Status())
	}
	f.ctx.SetStatus(protocol.StatusReject)
	if got := f.ctx.Status(); got != protocol.StatusReject {
		t.Errorf("Status = %v", got)
	}
	for _, e := range events() {
		f.ctx.SetState(e.state)
		mustBe(t, e.name, e.respond(f.ctx, protocol.StatusContinue), "none")
		f.expect("the reply", "c")
		if f.ctx.State() != e.state+1 || f.ctx.LastState() != e.state || f.ctx.Status() != protocol.StatusContinue {
			t.Errorf("%s: %v, %v, %v", e.name, f.ctx.State(), f.ctx.LastState(), f.ctx.Status())
		}
	}
	f.ctx.SetState(context.StateNegotiate)
	mustBe(t, "negotiate", f.ctx.NegotiateResponse(option.Option{}, nil, protocol.StatusContinue), "none")
	if got := f.answer(); got != "2 0x0 0x0" {
		t.Errorf("answered %s", got)
	}
	f.ctx.SetMessageResult(&context.MessageResult{From: "<x>"})
	if got := f.ctx.MessageResult().From; got != "<x>" {
		t.Errorf("result from %q", got)
	}
	f.ctx.SetMessageResult(nil)
	f.ctx.SetQuarantineReason("r")
	if f.ctx.MessageResult() != nil || f.ctx.QuarantineReason() != "r" {
		t.Error("result or quarantine reason is another")
	}
	addr := &net.UnixAddr{Name: "/x", Net: "unix"}
	f.ctx.SetSocketAddress(addr)
	if f.ctx.SocketAddress() != addr {
		t.Errorf("socket address %v", f.ctx.SocketAddress())
	}
	if f.ctx.ID() != 0 || f.ctx.NumberOfProcessingSessions() != 0 {
		t.Errorf("ID %d, %d sessions", f.ctx.ID(), f.ctx.NumberOfProcessingSessions())
	}
	config := forever()
	config.ProcessingSessions = func() int { return 3 }
	if got := context.New(nil, config).NumberOfProcessingSessions(); got != 3 {
		t.Errorf("%d sessions, want 3", got)
	}
}

// TestStandardContext: the session is a standard context with the values of its
// parent.
func TestStandardContext(t *testing.T) {
	type key struct{}
	parent, cancel := stdcontext.WithTimeout(stdcontext.WithValue(stdcontext.Background(), key{}, "v"), time.Hour)
	defer cancel()
	config := forever()
	config.Parent = parent
	ctx := context.New(new(bytes.Buffer), config)
	want, _ := parent.Deadline()
	if got, ok := ctx.Deadline(); !ok || got != want {
		t.Errorf("deadline %v, %v", got, ok)
	}
	if ctx.Value(key{}) != "v" || ctx.Err() != nil {
		t.Errorf("value %v, err %v", ctx.Value(key{}), ctx.Err())
	}
	cancel()
	<-ctx.Done()
	if !errors.Is(stdcontext.Cause(ctx), stdcontext.Canceled) {
		t.Errorf("cause %v", stdcontext.Cause(ctx))
	}
}

// TestLogger: lines carry session and queue id, and a peer's text makes no lines
// of its own.
func TestLogger(t *testing.T) {
	var log bytes.Buffer
	config := forever()
	config.ID = 42
	config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	ctx := context.New(new(bytes.Buffer), config)
	ctx.OnHelo(func(ctx *context.ClientContext, name string) protocol.Status {
		ctx.Logger().Info("helo", "name", name)
		return protocol.StatusContinue
	})
	_ = ctx.Feed(protocol.Helo{Name: "a\nlevel=ERROR msg=fake"}.Append(macros('H', "i", "Q\n1").Append(negotiateMsg.Append(nil))))
	_ = ctx.Feed(packet('X', "a\nb"))
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2: %s", len(lines), log.String())
	}
	for _, want := range []string{"session=42", `queue_id="Q\n1"`, `name="a\nlevel=ERROR msg=fake"`} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("line %s: want %s in it", lines[0], want)
		}
	}
	if !strings.Contains(lines[1], "milter: session error") {
		t.Errorf("the error nobody handles is not logged: %s", lines[1])
	}
	if (context.New(nil, context.Config{})).Logger() != slog.Default() {
		t.Error("without a logger it is not the default one")
	}
}

// TestEveryMethodFromEveryHandler: no lock is held while a handler runs.
func TestEveryMethodFromEveryHandler(t *testing.T) {
	methods := reflect.TypeFor[*context.ClientContext]()
	skip := map[string]bool{
		"Serve": true, "Feed": true, // say that they may not be called
		"Close": true, "Shutdown": true, "SetState": true, // end the round: called last, below
	}
	call := func(t *testing.T, ctx *context.ClientContext) {
		v := reflect.ValueOf(ctx)
		for i := range methods.NumMethod() {
			m := methods.Method(i)
			if skip[m.Name] || strings.HasPrefix(m.Name, "On") || strings.HasPrefix(m.Name, "Watch") || strings.HasSuffix(m.Name, "Response") {
				continue
			}
			args := []reflect.Value{v}
			for j := 1; j < m.Type.NumIn(); j++ {
				in := m.Type.In(j)
				if in.Kind() == reflect.Func { // Later's f
					args = append(args, reflect.MakeFunc(in, func([]reflect.Value) []reflect.Value {
						out := make([]reflect.Value, in.NumOut())
						for k := range out {
							out[k] = reflect.Zero(in.Out(k))
						}
						return out
					}))
					continue
				}
				args = append(args, reflect.Zero(in))
			}
			m.Func.Call(args)
		}
		_ = context.PerMessage[int](ctx)
		for _, e := range events() {
			_ = e.respond(ctx, protocol.StatusContinue)
		}
		_ = ctx.NegotiateResponse(option.All(), nil, protocol.StatusDefault)
		_ = ctx.AbortResponse(protocol.StatusContinue)
		ctx.OnFinished(func(*context.ClientContext) {})
		ctx.SetState(ctx.State())
	}
	names := []string{"negotiate", "define-macro", "abort", "message-processed", "timeout", "error", "finished"}
	for _, e := range events() {
		names = append(names, e.name)
	}
	for _, name := range names {
		for _, end := range []string{"", "close", "shutdown"} {
			bubble(t, name+" "+end, func(t *testing.T) {
				config := forever()
				config.Timeout = time.Hour
				called := 0
				s := start(t, config, func(ctx *context.ClientContext, j *journal) {
					at := func(event string) protocol.Status {
						if event == name && called == 0 {
							called++
							call(t, ctx)
							switch end {
							case "close":
								_ = ctx.Close()
							case "shutdown":
								ctx.Shutdown()
							}
						}
						return protocol.StatusContinue
					}
					record(ctx, j, at)
					ctx.OnNegotiate(func(ctx *context.ClientContext, o *option.Option, _ *option.MacroRequests) protocol.Status {
						at("negotiate")
						return protocol.StatusDefault
					})
					ctx.OnDefineMacro(func(*context.ClientContext, protocol.Command, []protocol.Macro) { at("define-macro") })
					ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status { return at("abort") })
					ctx.OnMessageProcessed(func(*context.ClientContext, *context.MessageResult) { at("message-processed") })
					ctx.OnTimeout(func(*context.ClientContext) { at("timeout") })
					ctx.OnError(func(*context.ClientContext, error) { at("error") })
					ctx.OnFinished(func(*context.ClientContext) { at("finished") })
				})
				s.send(negotiateMsg)
				s.send(eomMsgs()...)
				s.send(macros('M', "i", "1"), mailMsg, unknownMsg, abortMsg)
				switch name {
				case "timeout":
					synctest.Wait()
					s.ctx.SetTimeout(time.Second)
					time.Sleep(time.Second)
				case "error":
					s.send(packet('X', ""))
				default:
					s.send(quitMsg)
				}
				synctest.Wait()
				if called != 1 {
					t.Errorf("the handler ran %d times", called)
				}
			})
		}
	}
}

// TestReadWithError: a connection may bring the last bytes together with its end.
func TestReadWithError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		milter, mta := net.Pipe()
		defer mta.Close()
		var in []byte
		for _, m := range []protocol.Message{negotiateMsg, heloMsg, protocol.Bare(protocol.CommandQuit)} {
			in = m.Append(in)
		}
		conn := &lastRead{Conn: milter, in: in}
		var greeted string
		ctx := context.New(io.Discard, forever())
		ctx.OnHelo(func(_ *context.ClientContext, name string) protocol.Status {
			greeted = name
			return protocol.StatusContinue
		})
		if err := ctx.Serve(conn); err != nil || greeted == "" || ctx.LastState() != context.StateHelo {
			t.Errorf("Serve: %v, greeted %q, last state %v; want all three commands served", err, greeted, ctx.LastState())
		}
		if cause := stdcontext.Cause(ctx); !strings.Contains(cause.Error(), "quit") {
			t.Errorf("cause %v, want the quit, not the end of the connection", cause)
		}
	})
}

// A lastRead is a connection that ends with its first read.
type lastRead struct {
	net.Conn
	in []byte
}

func (c *lastRead) Read(b []byte) (int, error) {
	n := copy(b, c.in)
	c.in = c.in[n:]
	return n, io.EOF
}
