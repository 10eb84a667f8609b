package context_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

const (
	noEvents = option.NoEventSteps
	skip     = option.StepSkip
)

func offer(version uint32, actions option.Action, steps option.Step) protocol.Negotiate {
	return protocol.Negotiate{Option: option.Option{Version: version, Actions: actions, Steps: steps}}
}

// answer returns the milter's answer to an offer, "" for none, as
// "version actions steps" with the macros behind it.
func (f *fed) answer() string {
	f.t.Helper()
	var in protocol.Buffer
	_, _ = in.Write(f.out.Bytes())
	f.out.Reset()
	p, ok, err := in.Next()
	if err != nil {
		f.t.Fatal(err)
	}
	if !ok {
		return ""
	}
	if p.Letter != 'O' {
		return show(p)
	}
	m, err := reply.Decode(p)
	if err != nil {
		f.t.Fatal(err)
	}
	n := m.(reply.Negotiate)
	if in.Len() > 0 {
		f.t.Errorf("more than one answer: %q", in.Bytes())
	}
	return describe(n.Option, n.Macros.String())
}

func describe(o option.Option, macros string) string {
	return strings.TrimSpace(fmt.Sprintf("%d %#x %#x %s", o.Version, uint32(o.Actions), uint32(o.Steps), macros))
}

// TestNegotiateDefaults: registration is subscription.
func TestNegotiateDefaults(t *testing.T) {
	type cc = *context.ClientContext
	ok := protocol.StatusContinue
	tests := []struct {
		name  string
		setup func(cc)
		steps option.Step
	}{
		{"nobody listens", func(cc) {}, noEvents | skip},
		{"end of message has no step", func(c cc) {
			c.OnEndOfMessage(func(cc, []byte) protocol.Status { return ok })
			c.OnAbort(func(cc, context.State) protocol.Status { return ok })
			c.OnMessageProcessed(func(cc, *context.MessageResult) {})
			c.OnDefineMacro(func(cc, protocol.Command, []protocol.Macro) {})
		}, noEvents | skip},
		{"connect", func(c cc) { c.OnConnect(func(cc, string, netAddr) protocol.Status { return ok }) }, noEvents&^option.StepNoConnect | skip},
		{"helo", func(c cc) { c.OnHelo(func(cc, string) protocol.Status { return ok }) }, noEvents&^option.StepNoHelo | skip},
		{"envelope-from", func(c cc) { c.OnEnvelopeFrom(func(cc, string, protocol.Parameters) protocol.Status { return ok }) }, noEvents&^option.StepNoEnvelopeFrom | skip},
		{"envelope-recipient", func(c cc) { c.OnEnvelopeRecipient(func(cc, string, protocol.Parameters) protocol.Status { return ok }) }, noEvents&^option.StepNoEnvelopeRecipient | skip},
		{"data", func(c cc) { c.OnData(func(cc) protocol.Status { return ok }) }, noEvents&^option.StepNoData | skip},
		{"unknown", func(c cc) { c.OnUnknown(func(cc, string) protocol.Status { return ok }) }, noEvents&^option.StepNoUnknown | skip},
		{"header", func(c cc) { c.OnHeader(func(cc, string, string) protocol.Status { return ok }) }, noEvents&^option.StepNoHeaders | skip},
		{"end-of-header", func(c cc) { c.OnEndOfHeader(func(cc) protocol.Status { return ok }) }, noEvents&^option.StepNoEndOfHeader | skip},
		{"body", func(c cc) { c.OnBody(func(cc, []byte) protocol.Status { return ok }) }, noEvents&^option.StepNoBody | skip},
		{"watch connect", func(c cc) { c.WatchConnect(func(cc, string, netAddr) {}) }, noEvents&^option.StepNoConnect | skip | option.StepNoReplyConnect},
		{"watch helo", func(c cc) { c.WatchHelo(func(cc, string) {}) }, noEvents&^option.StepNoHelo | skip | option.StepNoReplyHelo},
		{"watch envelope-from", func(c cc) { c.WatchEnvelopeFrom(func(cc, string, protocol.Parameters) {}) }, noEvents&^option.StepNoEnvelopeFrom | skip | option.StepNoReplyEnvelopeFrom},
		{"watch envelope-recipient", func(c cc) { c.WatchEnvelopeRecipient(func(cc, string, protocol.Parameters) {}) }, noEvents&^option.StepNoEnvelopeRecipient | skip | option.StepNoReplyEnvelopeRecipient},
		{"watch data", func(c cc) { c.WatchData(func(cc) {}) }, noEvents&^option.StepNoData | skip | option.StepNoReplyData},
		{"watch unknown", func(c cc) { c.WatchUnknown(func(cc, string) {}) }, noEvents&^option.StepNoUnknown | skip | option.StepNoReplyUnknown},
		{"watch header", func(c cc) { c.WatchHeader(func(cc, string, string) {}) }, noEvents&^option.StepNoHeaders | skip | option.StepNoReplyHeader},
		{"watch end-of-header", func(c cc) { c.WatchEndOfHeader(func(cc) {}) }, noEvents&^option.StepNoEndOfHeader | skip | option.StepNoReplyEndOfHeader},
		{"watch body", func(c cc) { c.WatchBody(func(cc, []byte) {}) }, noEvents&^option.StepNoBody | skip | option.StepNoReplyBody},
		{"watch and decide", func(c cc) {
			c.WatchBody(func(cc, []byte) {})
			c.OnBody(func(cc, []byte) protocol.Status { return ok })
		}, noEvents&^option.StepNoBody | skip},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			full := option.Option{Version: 6, Actions: option.AllActions, Steps: test.steps}
			for _, status := range []protocol.Status{-1, protocol.StatusDefault, protocol.StatusNotChange, protocol.StatusAllOptions} {
				f := feed(t, forever())
				test.setup(f.ctx)
				if status >= 0 { // -1: no handler
					f.ctx.OnNegotiate(func(_ *context.ClientContext, o *option.Option, m *option.MacroRequests) protocol.Status {
						*o = option.Option{} // does not count
						return status
					})
				}
				if got := f.ctx.DefaultOption(option.All()); got != full {
					t.Errorf("DefaultOption = %v, want %v", got, full)
				}
				_ = f.feed(negotiateMsg)
				if got, want := f.answer(), describe(full, ""); got != want {
					t.Errorf("status %v: answered %s, want %s", status, got, want)
				}
				if got := f.ctx.Option(); got != full {
					t.Errorf("Option = %v, want %v", got, full)
				}
			}
		})
	}
}

// TestNegotiateContinue: the handlers' option counts, clamped to the offer.
func TestNegotiateContinue(t *testing.T) {
	tests := []struct {
		name  string
		offer protocol.Negotiate
		left  option.Option
		want  string
	}{
		{"as left", negotiateMsg, option.Option{Version: 6, Actions: 0x11, Steps: 0x13}, "6 0x11 0x13"},
		{"everything", negotiateMsg, option.All(), "6 0x1ff 0x1fffff"},
		{"too much", offer(4, 0x3f, 0x7f), option.All(), "4 0x3f 0x7f"},
		{"a lower version", negotiateMsg, option.Option{Version: 3}, "3 0x0 0x0"},
		{"no version", negotiateMsg, option.Option{}, "2 0x0 0x0"},
		{"a version of the future", offer(99, 0x1ff, 0x1fffff), option.Option{Version: 99}, "6 0x0 0x0"},
		{"internal bits", offer(6, 0xffffffff, 0xffffffff), option.Option{Version: 6, Actions: 1, Steps: 0x70000001}, "6 0x1 0x1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := feed(t, forever())
			f.ctx.OnNegotiate(func(_ *context.ClientContext, o *option.Option, _ *option.MacroRequests) protocol.Status {
				if *o != test.offer.Option {
					t.Errorf("the handler sees %v, want the offer %v", *o, test.offer.Option)
				}
				*o = test.left
				return protocol.StatusContinue
			})
			_ = f.feed(test.offer)
			if got := f.answer(); got != test.want {
				t.Errorf("answered %s, want %s", got, test.want)
			}
		})
	}
	t.Run("zero masks", func(t *testing.T) {
		f := feed(t, forever())
		f.ctx.OnNegotiate(func(_ *context.ClientContext, o *option.Option, _ *option.MacroRequests) protocol.Status {
			if o.Actions != option.DefaultActions || o.Steps != option.DefaultSteps {
				t.Errorf("the handler sees %v, want the defaults of version 1", *o)
			}
			return protocol.StatusContinue
		})
		_ = f.feed(offer(2, 0, 0))
		f.answer()
	})
}

// TestNegotiateUntouchedOffer: it asks for no event, which is not what a milter
// with handlers wants.
func TestNegotiateUntouchedOffer(t *testing.T) {
	var log bytes.Buffer
	var out bytes.Buffer
	config := forever()
	config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	ctx := context.New(&out, config)
	ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status { return protocol.StatusContinue })
	ctx.WatchHelo(func(*context.ClientContext, string) {})
	onNegotiate(ctx, protocol.StatusContinue)
	_ = ctx.Feed(negotiateMsg.Append(nil))
	for _, event := range []string{"event=body", "event=helo"} {
		if !strings.Contains(log.String(), event) {
			t.Errorf("no warning with %s: %s", event, log.String())
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d lines, want 2: %s", n, log.String())
	}
}

func TestNegotiateStatuses(t *testing.T) {
	refused := []string{"finished ErrFinished"}
	tests := []struct {
		status protocol.Status
		want   string
		events []string
	}{
		{protocol.StatusReject, "r", refused},
		{protocol.StatusTemporaryFailure, "t", refused},
		{protocol.StatusAccept, "6 0x0 0x37f", nil},
		{protocol.StatusDiscard, "6 0x0 0x37f", nil},
		{protocol.StatusSkip, "6 0x1ff 0x77f", []string{"error ErrInvalidStatus"}},
		{protocol.StatusNoReply, "6 0x1ff 0x77f", []string{"error ErrInvalidStatus"}},
		{protocol.StatusAbort, "6 0x1ff 0x77f", []string{"error ErrInvalidStatus"}},
		{protocol.Status(99), "6 0x1ff 0x77f", []string{"error ErrInvalidStatus"}},
	}
	for _, test := range tests {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v late=%v", test.status, late), func(t *testing.T) {
				f := feed(t, forever())
				recordEnds(f.ctx, f.journal)
				status := test.status
				if late {
					status = protocol.StatusProgress
				}
				onNegotiate(f.ctx, status)
				if err := f.feed(negotiateMsg); err != nil {
					t.Errorf("Feed: %v: a refusal is no fault", err)
				}
				if late {
					if got := f.answer(); got != "" {
						t.Fatalf("answered %s before its time", got)
					}
					err := f.ctx.NegotiateResponse(option.All(), nil, test.status)
					if got := errorClass(err); (len(test.events) > 0 && strings.HasPrefix(test.events[0], "error")) != (got == "ErrInvalidStatus") {
						t.Errorf("NegotiateResponse: %v", err)
					}
				}
				if got := f.answer(); got != test.want {
					t.Errorf("answered %s, want %s", got, test.want)
				}
				f.happened("then", test.events...)
			})
		}
	}
}

func TestNegotiateResponse(t *testing.T) {
	f := feed(t, forever())
	onNegotiate(f.ctx, protocol.StatusProgress)
	_ = f.feed(negotiateMsg, connectMsg)
	f.expect("both wait")
	var m option.MacroRequests
	_ = m.Set(option.MacroStageHelo, "j")
	o := option.Option{Version: 6, Actions: 1, Steps: option.StepNoHelo | 0x10000000}
	mustBe(t, "progress", f.ctx.NegotiateResponse(option.Option{}, nil, protocol.StatusProgress), "ErrInvalidStatus")
	mustBe(t, "response", f.ctx.NegotiateResponse(o, &m, protocol.StatusContinue), "none")
	f.expect("the option of the response, and the connect", `O"\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x01j\x00"`, "c")
	mustBe(t, "again", f.ctx.NegotiateResponse(o, &m, protocol.StatusContinue), "ErrNoReplyDue")

	// Within the handler: what the handler leaves does not count any more.
	f = feed(t, forever())
	f.ctx.OnNegotiate(func(ctx *context.ClientContext, o *option.Option, _ *option.MacroRequests) protocol.Status {
		*o = option.Option{Version: 6, Steps: 1}
		mustBe(t, "within the handler", ctx.NegotiateResponse(option.Option{Version: 5, Steps: 2}, nil, protocol.StatusContinue), "none")
		return protocol.StatusContinue
	})
	_ = f.feed(negotiateMsg)
	if got := f.answer(); got != "5 0x0 0x2" {
		t.Errorf("answered %s, want that of the response", got)
	}
}
