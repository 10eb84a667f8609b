package context_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

func TestMessageResult(t *testing.T) {
	bubble(t, "all of it", func(t *testing.T) {
		var got *context.MessageResult
		s := start(t, forever(), func(ctx *context.ClientContext, j *journal) {
			record(ctx, j, nil)
			ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, to string, _ protocol.Parameters) protocol.Status {
				switch to {
				case "<no@example.com>":
					return protocol.StatusReject
				case "<later@example.com>":
					return protocol.StatusTemporaryFailure
				}
				return protocol.StatusContinue
			})
			ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
				_ = ctx.AddHeader("X-Added", "a")
				_ = ctx.InsertHeader(0, "X-Inserted", "i")
				_ = ctx.ChangeHeader("received", 2, "changed")
				_ = ctx.DeleteHeader("Subject", 1)
				_ = ctx.AddHeader("bad name", "x")
				_ = ctx.Quarantine("why")
				if r := ctx.MessageResult(); r.Status != 0 || !r.End.IsZero() || r.ElapsedTime() != 3*time.Second {
					t.Errorf("result in the middle of the mail: %+v", r)
				}
				return protocol.StatusAccept
			})
			ctx.OnMessageProcessed(func(_ *context.ClientContext, r *context.MessageResult) { got = r })
		})
		s.play(connectMsg, heloMsg)
		if r := s.ctx.MessageResult(); r != nil {
			t.Errorf("a result outside a mail: %+v", r)
		}
		began := time.Now()
		rcpt := func(to string) protocol.Message { return protocol.EnvelopeRecipient{Path: to} }
		s.play2(protocol.EnvelopeFrom{Path: "<from@example.com>", Parameters: protocol.Parameters{"SIZE=10"}},
			rcpt("<no@example.com>"), rcpt("<a@example.com>"), rcpt("<later@example.com>"), rcpt("<b@example.com>"), dataMsg,
			headerMsg, protocol.Header{Name: "Received", Value: "one"}, protocol.Header{Name: "RECEIVED", Value: "two"}, eohMsg, bodyMsg)
		time.Sleep(3 * time.Second)
		s.play2(bodyMsg, protocol.EndOfMessage{Chunk: []byte("end")})
		want := &context.MessageResult{
			From: "<from@example.com>", FromParameters: protocol.Parameters{"SIZE=10"},
			Recipients:                []string{"<a@example.com>", "<b@example.com>"},
			TemporaryFailedRecipients: []string{"<later@example.com>"},
			RejectedRecipients:        []string{"<no@example.com>"},
			Headers:                   []protocol.Header{headerMsg, {Name: "Received", Value: "one"}, {Name: "RECEIVED", Value: "two"}},
			AddedHeaders:              []protocol.Header{{Name: "X-Added", Value: "a"}, {Name: "X-Inserted", Value: "i"}, {Name: "received", Value: "changed"}},
			RemovedHeaders:            []protocol.Header{{Name: "RECEIVED", Value: "two"}, headerMsg},
			BodySize:                  15,
			State:                     context.StateEndOfMessage, Status: protocol.StatusAccept,
			Quarantine: true, QuarantineReason: "why",
			Start: began, End: began.Add(3 * time.Second),
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("result (-want +got):\n%s", diff)
		}
		if got.ElapsedTime() != 3*time.Second {
			t.Errorf("elapsed %v, want 3 s", got.ElapsedTime())
		}
		s.play2(mailMsg, abortMsg)
		if got.Status != protocol.StatusAbort || got.State != context.StateEnvelopeFromReplied || got.Quarantine || got.Recipients != nil || got.Headers != nil {
			t.Errorf("the result of the next, aborted mail: %+v", got)
		}
	})
	bubble(t, "a copy", func(t *testing.T) {
		s := start(t, forever(), progressAt())
		s.play(mailMsg, rcptMsg)
		s.ctx.MessageResult().Recipients[0] = "changed"
		if got := s.ctx.MessageResult().Recipients[0]; got != "<to@example.com>" {
			t.Errorf("the session's own result is %q", got)
		}
	})
}

// TestResultOfDroppedChanges: changes that a panic or a timeout has dropped are
// not in the result; those that are with the MTA already are.
func TestResultOfDroppedChanges(t *testing.T) {
	for _, test := range []struct {
		name  string
		size  int
		added []protocol.Header
	}{
		{"held back", 1000, nil},
		{"sent", 0, []protocol.Header{{Name: "X", Value: "y"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := feed(t, context.Config{PacketBufferSize: test.size})
			var got *context.MessageResult
			f.ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
				if err := ctx.AddHeader("X", "y"); err != nil {
					t.Error(err)
				}
				panic("oops")
			})
			f.ctx.OnMessageProcessed(func(_ *context.ClientContext, r *context.MessageResult) { got = r })
			mustBe(t, "feed", f.feed(negotiateMsg, eomMsg), "ErrPanic")
			if diff := cmp.Diff(test.added, got.AddedHeaders); diff != "" {
				t.Errorf("added headers (-want +got):\n%s", diff)
			}
		})
	}
}
