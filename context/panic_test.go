package context_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// TestPanic: a panic is answered, told, logged, and ends that session only.
func TestPanic(t *testing.T) {
	for _, e := range events() {
		for _, status := range []protocol.Status{protocol.StatusDefault, protocol.StatusReject, protocol.StatusAccept, protocol.StatusAbort} {
			t.Run(fmt.Sprintf("%s %v", e.name, status), func(t *testing.T) {
				var log bytes.Buffer
				var out bytes.Buffer
				j := &journal{}
				config := forever()
				config.PanicStatus = status
				config.ID = 7
				config.Logger = slog.New(slog.NewJSONHandler(&log, nil))
				ctx := context.New(&out, config)
				record(ctx, j, func(event string) protocol.Status {
					if event != e.name {
						return protocol.StatusContinue
					}
					if e.command == 'E' {
						_ = ctx.AddHeader("X", "y")
					}
					panic(fmt.Errorf("wrapped: %w", errBroken))
				})
				b := macros('C', "i", "Q1").Append(negotiateMsg.Append(nil))
				for _, m := range e.lead {
					b = m.Append(b)
				}
				_ = ctx.Feed(b)
				out.Reset()
				j.take()
				err := ctx.Feed(e.message.Append(nil))
				mustBe(t, "feed", err, "ErrPanic")
				if !errors.Is(err, errBroken) {
					t.Errorf("the error %v does not wrap what was panicked with", err)
				}
				want := map[protocol.Status][]string{
					protocol.StatusDefault: {"t"}, protocol.StatusReject: {"r"}, protocol.StatusAccept: {"a"}, protocol.StatusAbort: nil,
				}[status]
				if e.command == 'U' && status == protocol.StatusAccept {
					want = []string{"c"} // not allowed there
				}
				if diff := cmp.Diff(orEmpty(want), orEmpty(showAll(t, out.Bytes()))); diff != "" {
					t.Errorf("the answer, without the changes (-want +got):\n%s", diff)
				}
				got := j.take()
				if count(got, "error ErrPanic") != 1 || got[len(got)-1] != "finished ErrPanic" {
					t.Errorf("events %q", got)
				}
				var line struct {
					Session uint64 `json:"session"`
					QueueID string `json:"queue_id"`
					Error   string `json:"error"`
					Stack   string `json:"stack"`
				}
				if err := json.Unmarshal(bytes.SplitN(log.Bytes(), []byte("\n"), 2)[0], &line); err != nil {
					t.Fatalf("log %q: %v", log.String(), err)
				}
				if line.Session != 7 || line.QueueID != "Q1" || !strings.Contains(line.Error, "broken") || !strings.Contains(line.Stack, "panic_test.go") {
					t.Errorf("log line %+v", line)
				}
			})
		}
	}
}

// TestPanicElsewhere: events without a reply.
func TestPanicElsewhere(t *testing.T) {
	boom := func() { panic("oops") }
	tests := []struct {
		name  string
		setup func(*context.ClientContext)
		feed  []protocol.Message
		cause string
	}{
		{"define-macro", func(c *context.ClientContext) {
			c.OnDefineMacro(func(*context.ClientContext, protocol.Command, []protocol.Macro) { boom() })
		}, []protocol.Message{macros('C', "a", "b")}, "ErrPanic"},
		{"abort", func(c *context.ClientContext) {
			c.OnAbort(func(*context.ClientContext, context.State) protocol.Status { boom(); return 0 })
		}, []protocol.Message{mailMsg, abortMsg}, "ErrPanic"},
		{"message-processed", func(c *context.ClientContext) {
			c.OnMessageProcessed(func(*context.ClientContext, *context.MessageResult) { boom() })
		}, []protocol.Message{mailMsg, rcptMsg, eomMsg}, "ErrPanic"},
		{"error", func(c *context.ClientContext) { c.OnError(func(*context.ClientContext, error) { boom() }) },
			[]protocol.Message{negotiateMsg}, "ErrProtocol"},
		{"finished", func(c *context.ClientContext) { c.OnFinished(func(*context.ClientContext) { boom() }) },
			[]protocol.Message{quitMsg}, "ErrFinished"},
		{"destroy", func(c *context.ClientContext) { c.SetPrivateData(1, boom) }, []protocol.Message{quitMsg}, "ErrFinished"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := feed(t, forever())
			test.setup(f.ctx)
			record(f.ctx, f.journal, nil)
			finished := 0
			f.ctx.OnFinished(func(*context.ClientContext) { finished++ })
			_ = f.feed(append([]protocol.Message{negotiateMsg}, test.feed...)...)
			if cause := causeOf(f.ctx); errorClass(cause) != test.cause {
				t.Errorf("cause %v, want %s", cause, test.cause)
			}
			if finished != 1 {
				t.Errorf("the other OnFinished handlers ran %d times, want once", finished)
			}
		})
	}
}
