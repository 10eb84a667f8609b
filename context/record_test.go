package context_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// TestResultAskedForAtAnyTime: a message result is the same whenever it was asked
// for first.
func TestResultAskedForAtAnyTime(t *testing.T) {
	const never = "never before the end"
	mail := []protocol.Message{
		protocol.EnvelopeFrom{Path: "<a@example.com>", Parameters: protocol.Parameters{"SIZE=1", "BODY=8BITMIME"}},
		protocol.EnvelopeRecipient{Path: "<good@example.com>"}, protocol.EnvelopeRecipient{Path: "<bad@example.com>"},
		protocol.EnvelopeRecipient{Path: "<later@example.com>", Parameters: protocol.Parameters{"NOTIFY=NEVER"}},
		protocol.EnvelopeRecipient{Path: ""}, dataMsg, headerMsg, protocol.Header{Name: "X", Value: ""}, eohMsg, bodyMsg, eomMsg,
	}
	var want *context.MessageResult
	for _, when := range []string{never, "envelope-from", "envelope-recipient", "data", "header", "end-of-header", "body", "end-of-message"} {
		f := feed(t, forever())
		look := func(event string) {
			if event == when {
				f.ctx.MessageResult()
			}
		}
		f.ctx.OnEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) protocol.Status {
			look("envelope-from")
			return protocol.StatusContinue
		})
		f.ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, to string, _ protocol.Parameters) protocol.Status {
			look("envelope-recipient")
			switch to {
			case "<bad@example.com>":
				return protocol.StatusReject
			case "<later@example.com>":
				return protocol.StatusTemporaryFailure
			}
			return protocol.StatusContinue
		})
		f.ctx.OnData(func(*context.ClientContext) protocol.Status { look("data"); return protocol.StatusContinue })
		f.ctx.OnHeader(func(*context.ClientContext, string, string) protocol.Status {
			look("header")
			return protocol.StatusContinue
		})
		f.ctx.OnEndOfHeader(func(*context.ClientContext) protocol.Status { look("end-of-header"); return protocol.StatusContinue })
		f.ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status { look("body"); return protocol.StatusContinue })
		f.ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
			err := ctx.AddHeader("X-New", "1")
			look("end-of-message")
			return ctx.Check(err, ctx.ChangeHeader("subject", 1, "new"), ctx.DeleteHeader("X", 1), ctx.InsertHeader(0, "Y", "z"))
		})
		var got *context.MessageResult
		f.ctx.OnMessageProcessed(func(_ *context.ClientContext, r *context.MessageResult) { got = r })
		_ = f.feed(negotiateMsg)
		for range 2 { // the second mail knows nothing of the first
			if err := f.feed(mail...); err != nil {
				t.Fatal(err)
			}
		}
		got.Start, got.End = got.Start.Truncate(1e15), got.End.Truncate(1e15)
		if when == never {
			want = got
			if diff := cmp.Diff(&context.MessageResult{
				From: "<a@example.com>", FromParameters: protocol.Parameters{"SIZE=1", "BODY=8BITMIME"},
				Recipients: []string{"<good@example.com>", ""}, RejectedRecipients: []string{"<bad@example.com>"},
				TemporaryFailedRecipients: []string{"<later@example.com>"},
				Headers:                   []protocol.Header{headerMsg, {Name: "X"}},
				AddedHeaders:              []protocol.Header{{Name: "X-New", Value: "1"}, {Name: "subject", Value: "new"}, {Name: "Y", Value: "z"}},
				RemovedHeaders:            []protocol.Header{headerMsg, {Name: "X"}},
				BodySize:                  6, State: context.StateEndOfMessage, Status: protocol.StatusContinue, Start: got.Start, End: got.End,
			}, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("asked for at %s (-want +got):\n%s", when, diff)
		}
	}
}

// TestResultIsBounded: a mail with endless headers and recipients does not take
// endless memory, and its result says that it is not complete.
func TestResultIsBounded(t *testing.T) {
	const most = 1 << 20
	header := protocol.Header{Name: "X", Value: strings.Repeat("x", 10_000)}
	for _, asked := range []bool{false, true} {
		f := feed(t, forever())
		var results []*context.MessageResult
		f.ctx.OnMessageProcessed(func(_ *context.ClientContext, r *context.MessageResult) { results = append(results, r) })
		f.ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, _ string, _ protocol.Parameters) protocol.Status {
			if asked {
				ctx.MessageResult()
			}
			return protocol.StatusContinue
		})
		_ = f.feed(negotiateMsg, mailMsg, rcptMsg, protocol.EnvelopeRecipient{Path: strings.Repeat("r", most-10)}, rcptMsg, dataMsg)
		for range 3 * most / 10_000 {
			_ = f.feed(header)
		}
		_ = f.feed(eohMsg, eomMsg, mailMsg, rcptMsg, headerMsg, eohMsg, eomMsg)
		size := 0
		for _, h := range results[0].Headers {
			size += len(h.Name) + len(h.Value)
		}
		if !results[0].Incomplete || size > most || size < most-20_000 {
			t.Errorf("asked for: %t: incomplete is %t, with %d bytes of headers; want true, with at most %d", asked, results[0].Incomplete, size, most)
		}
		if want := []string{rcptMsg.Path, rcptMsg.Path}; !slices.Equal(results[0].Recipients, want) {
			t.Errorf("asked for: %t: recipients %q, want %q", asked, results[0].Recipients, want)
		}
		if results[1].Incomplete || len(results[1].Headers) != 1 {
			t.Errorf("asked for: %t: the next mail: incomplete is %t, with %d headers; want false, with 1", asked, results[1].Incomplete, len(results[1].Headers))
		}
	}
}

// TestStranger: what a scanner does is worth a line, but not at the level of what
// an MTA does wrong.
func TestStranger(t *testing.T) {
	for _, tt := range []struct {
		name, stream, want string
	}{
		{"HTTP", "GET / HTTP/1.1\r\n", "INFO"},
		{"command before the negotiation", string(heloMsg.Append(nil)), "INFO"},
		{"nothing", "", ""},
		{"an MTA", string(packet('X', "").Append(negotiateMsg.Append(nil))), "ERROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			config := forever()
			config.Logger = slog.New(slog.NewTextHandler(&log, nil))
			ctx := context.New(new(bytes.Buffer), config)
			_ = ctx.Feed([]byte(tt.stream))
			ctx.Close()
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			if tt.want == "" && log.Len() > 0 || tt.want != "" && (len(lines) != 1 || !strings.Contains(lines[0], "level="+tt.want)) {
				t.Errorf("log %q, want one line at level %q", log.String(), tt.want)
			}
		})
	}
}
