package context_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// TestNothingLeaksIntoTheNextMail has two hundred mails on one connection, each
// with a canary everywhere, ended in every way there is. What belongs to a mail
// is there as long as that mail, and not in the next.
func TestNothingLeaksIntoTheNextMail(t *testing.T) {
	type note struct{ text string }
	f := feed(t, forever())
	canary := ""
	fill := func(ctx *context.ClientContext) {
		ctx.SetShelfValue("canary", canary)
		context.PerMessage[note](ctx).text = canary
		_ = ctx.SetReply(550, "5.7.1", canary)
		_ = ctx.Quarantine(canary) // works at end of message only
	}
	look := func(ctx *context.ClientContext, at string, own bool) {
		t.Helper()
		var seen []string
		for name, value := range ctx.AvailableMacros() {
			if name != "always" {
				seen = append(seen, value)
			}
		}
		for _, value := range ctx.Shelf() {
			seen = append(seen, value)
		}
		seen = append(seen, context.PerMessage[note](ctx).text, ctx.QuarantineReason())
		if r := ctx.MessageResult(); r != nil {
			seen = append(seen, strings.Trim(r.From, "<>"))
		}
		if !own {
			seen = append(seen, ctx.FormatReply())
		}
		for _, s := range seen {
			if s != "" && s != canary {
				t.Fatalf("in mail %s, at %s: saw %q", canary, at, s)
			}
		}
	}
	handler := func(at string) func(*context.ClientContext) protocol.Status {
		return func(ctx *context.ClientContext) protocol.Status {
			look(ctx, at, false)
			fill(ctx)
			look(ctx, at, true)
			return protocol.StatusContinue
		}
	}
	mail, rcpt, data, eoh, eom := handler("mail"), handler("rcpt"), handler("data"), handler("eoh"), handler("eom")
	f.ctx.OnEnvelopeFrom(func(ctx *context.ClientContext, _ string, _ protocol.Parameters) protocol.Status {
		if got := ctx.Macro("i"); got != canary {
			t.Fatalf("i = %q in mail %s: a new MAIL keeps its own macros", got, canary)
		}
		return mail(ctx)
	})
	f.ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, to string, _ protocol.Parameters) protocol.Status { return rcpt(ctx) })
	f.ctx.OnData(data)
	decide := protocol.StatusContinue
	f.ctx.OnEndOfHeader(func(ctx *context.ClientContext) protocol.Status { eoh(ctx); return decide })
	f.ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status { return eom(ctx) })
	f.ctx.OnMessageProcessed(func(ctx *context.ClientContext, r *context.MessageResult) {
		if got, _ := ctx.ShelfValue("canary"); got == "" || "<"+got+">" != r.From {
			t.Fatalf("the shelf has %q at the end of the mail from %s", got, r.From)
		}
		if got := context.PerMessage[note](ctx).text; "<"+got+">" != r.From {
			t.Fatalf("PerMessage has %q at the end of the mail from %s", got, r.From)
		}
	})
	if err := f.feed(negotiateMsg, macros('C', "always", "here"), connectMsg, heloMsg); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		canary = fmt.Sprintf("canary-%d", i)
		own := func(c protocol.Command) protocol.Message {
			return macros(c, "i", canary, "only_"+string(rune(c)), canary)
		}
		decide = []protocol.Status{protocol.StatusContinue, protocol.StatusAccept, protocol.StatusReject}[i%3]
		all := []protocol.Message{
			own('M'), protocol.EnvelopeFrom{Path: "<" + canary + ">"}, own('R'), rcptMsg, own('T'), dataMsg, own('N'), eohMsg, own('E'), eomMsg,
		}
		// Each mail comes a part of the way, from its MAIL to its end.
		all = all[:2+i%9]
		if i%4 == 1 && i%9 < 8 {
			all = append(all, abortMsg)
		}
		if i%4 == 2 {
			all = append(all, heloMsg)
		}
		if err := f.feed(all...); err != nil {
			t.Fatalf("mail %d: %v", i, err)
		}
		if got := f.ctx.Macro("always"); got != "here" {
			t.Fatalf("the macros of the connect are lost: %q", got)
		}
		if i%4 == 1 && i%9 < 8 {
			canary = "nobody"
			look(f.ctx, "between two mails", false)
		}
	}
}

// TestMacrosOfAbortedMail: what came before the abort goes with it, also a D whose
// command did not come any more.
func TestMacrosOfAbortedMail(t *testing.T) {
	f := negotiated(t, 0, 0, nil)
	_ = f.feed(macros('H', "h", "1"), heloMsg, macros('M', "m", "1"), mailMsg, macros('E', "e", "1"), abortMsg)
	if diff := cmp.Diff(map[string]string{"h": "1"}, f.ctx.AvailableMacros()); diff != "" {
		t.Errorf("macros (-want +got):\n%s", diff)
	}
	// The macros of a MAIL that aborts the mail before it are the new mail's.
	_ = f.feed(macros('M', "m", "1"), mailMsg, macros('R', "r", "1"), rcptMsg, macros('M', "m", "2"), mailMsg)
	if diff := cmp.Diff(map[string]string{"h": "1", "m": "2"}, f.ctx.AvailableMacros()); diff != "" {
		t.Errorf("macros (-want +got):\n%s", diff)
	}
	// They are there in OnAbort and in the event.
	_ = f.feed(macros('H', "h", "2"), heloMsg)
	if diff := cmp.Diff(map[string]string{"h": "2"}, f.ctx.AvailableMacros()); diff != "" {
		t.Errorf("macros (-want +got):\n%s", diff)
	}
}

func TestShelf(t *testing.T) {
	f := negotiated(t, 0, 0, nil)
	if v, ok := f.ctx.ShelfValue("k"); v != "" || ok {
		t.Errorf("an empty shelf has %q, %v", v, ok)
	}
	f.ctx.SetShelfValue("k", "1")
	f.ctx.SetShelfValue("k", "2")
	f.ctx.SetShelfValue("l", "")
	if v, ok := f.ctx.ShelfValue("l"); v != "" || !ok {
		t.Errorf("value l = %q, %v", v, ok)
	}
	f.ctx.Shelf()["k"] = "changed"
	if diff := cmp.Diff(map[string]string{"k": "2", "l": ""}, f.ctx.Shelf()); diff != "" {
		t.Errorf("shelf (-want +got):\n%s", diff)
	}
	f.ctx.ClearShelf()
	if got := f.ctx.Shelf(); len(got) != 0 {
		t.Errorf("shelf after ClearShelf: %v", got)
	}
}

func TestPerMessage(t *testing.T) {
	type a struct{ n int }
	type b struct{ n int }
	f := negotiated(t, 0, 0, nil)
	_ = f.feed(mailMsg)
	first := context.PerMessage[a](f.ctx)
	first.n = 1
	if got := context.PerMessage[a](f.ctx); got != first {
		t.Error("two calls in one mail returned different values")
	}
	if got := context.PerMessage[b](f.ctx).n; got != 0 {
		t.Errorf("another type has %d", got)
	}
	if got := *context.PerMessage[int](f.ctx); got != 0 {
		t.Errorf("int = %d", got)
	}
	_ = f.feed(rcptMsg, eomMsg, mailMsg)
	if got := context.PerMessage[a](f.ctx); got == first || got.n != 0 {
		t.Errorf("the next mail has %+v", got)
	}
}

func TestResetMessageRelatedData(t *testing.T) {
	f := negotiated(t, 0, 0, nil)
	_ = f.feed(macros('H', "h", "1"), heloMsg, macros('M', "m", "1"), mailMsg, rcptMsg)
	f.ctx.SetShelfValue("k", "v")
	*context.PerMessage[int](f.ctx) = 1
	f.ctx.ResetMessageRelatedData()
	if len(f.ctx.Shelf()) != 0 || *context.PerMessage[int](f.ctx) != 0 {
		t.Error("shelf or PerMessage is still there")
	}
	if diff := cmp.Diff(map[string]string{"h": "1"}, f.ctx.AvailableMacros()); diff != "" {
		t.Errorf("macros (-want +got):\n%s", diff)
	}
	if r := f.ctx.MessageResult(); r == nil || r.From != "" || r.Recipients != nil {
		t.Errorf("result %+v, want an empty one", r)
	}
	_ = f.feed(eomMsg)
	f.replies()
	f.ctx.ResetMessageRelatedData()
	if r := f.ctx.MessageResult(); r != nil {
		t.Errorf("result outside a mail: %+v", r)
	}
}
