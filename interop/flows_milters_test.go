package interop_test

import (
	stdcontext "context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

type flowContext = context.ClientContext

// flowMilters are the milters that flows are recorded with, and replayed to. What
// one of them says depends on nothing but what it is told: a flow is recorded
// again when it changes.
var flowMilters = map[string]func(ctx *flowContext){
	"plain":   plainMilter,
	"watch":   watchMilter,
	"changes": changesMilter,
	"late":    lateMilter,
	"refuse":  refuseMilter,
	"macros":  macrosMilter,
	"spaces":  spacesMilter,
	"skip":    skipMilter,
	"end": func(ctx *flowContext) {
		ctx.OnEndOfMessage(func(ctx *flowContext, _ []byte) protocol.Status { return flowAdd(ctx, "X-End", "seen") })
	},
}

// flowClient returns a client that serves one of them. Errors go to fail.
func flowClient(t *testing.T, name string) *client.Client {
	t.Helper()
	setup, ok := flowMilters[name]
	if !ok {
		t.Fatalf("there is no milter %q", name)
	}
	c := client.New()
	c.Logger = slog.New(slog.DiscardHandler)
	c.OnConnectionEstablished(func(ctx *flowContext) {
		ctx.OnError(func(_ *flowContext, err error) { t.Errorf("OnError: %v", err) })
		setup(ctx)
	})
	return c
}

// flowAdd adds a header field and lets the mail pass.
func flowAdd(ctx *flowContext, name, value string) protocol.Status {
	if err := ctx.AddHeader(name, value); err != nil {
		return ctx.Reject(554, "5.3.0", err.Error())
	}
	return protocol.StatusContinue
}

// A flowTally is what a milter has seen of a mail.
type flowTally struct {
	from    string
	to      []string
	headers int
	chunks  int
	bytes   int
}

func (tally *flowTally) String() string {
	return fmt.Sprintf("%s to %s, %d fields, %d bytes in %d chunks", tally.from, strings.Join(tally.to, " "), tally.headers, tally.bytes, tally.chunks)
}

// plainMilter listens to everything, and tells in a header field what it has seen.
func plainMilter(ctx *flowContext) {
	const pass = protocol.StatusContinue
	ctx.OnConnect(func(*flowContext, string, net.Addr) protocol.Status { return pass })
	ctx.OnHelo(func(*flowContext, string) protocol.Status { return pass })
	ctx.OnUnknown(func(*flowContext, string) protocol.Status { return pass })
	ctx.OnEnvelopeFrom(func(ctx *flowContext, from string, _ protocol.Parameters) protocol.Status {
		context.PerMessage[flowTally](ctx).from = from
		return pass
	})
	ctx.OnEnvelopeRecipient(func(ctx *flowContext, to string, _ protocol.Parameters) protocol.Status {
		tally := context.PerMessage[flowTally](ctx)
		tally.to = append(tally.to, to)
		return pass
	})
	ctx.OnData(func(*flowContext) protocol.Status { return pass })
	ctx.OnHeader(func(ctx *flowContext, _, _ string) protocol.Status {
		context.PerMessage[flowTally](ctx).headers++
		return pass
	})
	ctx.OnEndOfHeader(func(*flowContext) protocol.Status { return pass })
	ctx.OnBody(func(ctx *flowContext, chunk []byte) protocol.Status {
		tally := context.PerMessage[flowTally](ctx)
		tally.chunks++
		tally.bytes += len(chunk)
		return pass
	})
	ctx.OnEndOfMessage(func(ctx *flowContext, _ []byte) protocol.Status {
		return flowAdd(ctx, "X-Seen", context.PerMessage[flowTally](ctx).String())
	})
}

// watchMilter gives no reply but at the end of a mail.
func watchMilter(ctx *flowContext) {
	ctx.WatchConnect(func(*flowContext, string, net.Addr) {})
	ctx.WatchHelo(func(*flowContext, string) {})
	ctx.WatchUnknown(func(*flowContext, string) {})
	ctx.WatchEnvelopeFrom(func(ctx *flowContext, from string, _ protocol.Parameters) {
		context.PerMessage[flowTally](ctx).from = from
	})
	ctx.WatchEnvelopeRecipient(func(ctx *flowContext, to string, _ protocol.Parameters) {
		tally := context.PerMessage[flowTally](ctx)
		tally.to = append(tally.to, to)
	})
	ctx.WatchData(func(*flowContext) {})
	ctx.WatchHeader(func(ctx *flowContext, _, _ string) { context.PerMessage[flowTally](ctx).headers++ })
	ctx.WatchEndOfHeader(func(*flowContext) {})
	ctx.WatchBody(func(ctx *flowContext, chunk []byte) {
		tally := context.PerMessage[flowTally](ctx)
		tally.chunks++
		tally.bytes += len(chunk)
	})
	ctx.OnEndOfMessage(func(ctx *flowContext, _ []byte) protocol.Status {
		return flowAdd(ctx, "X-Seen", context.PerMessage[flowTally](ctx).String())
	})
}

// changesMilter changes all that can be changed.
func changesMilter(ctx *flowContext) {
	ctx.OnEndOfMessage(func(ctx *flowContext, _ []byte) protocol.Status {
		for _, err := range []error{
			ctx.AddHeader("X-Added", "folded\n\ttwice\n  here"),
			ctx.InsertHeader(0, "X-Top", "top"),
			ctx.InsertHeader(1, "X-Below", "below the MTA's Received"),
			ctx.ChangeHeader("Subject", 1, "changed"),
			ctx.DeleteHeader("X-Two", 2),
			ctx.ChangeHeader("X-Not-There", 1, "added instead"),
			ctx.ChangeFrom("<new@client.test>", "ENVID=flow"),
			ctx.AddRecipient("<added@test.local>", ""),
			ctx.AddRecipient("<more@test.local>", "NOTIFY=NEVER"),
			ctx.DeleteRecipient("<two@test.local>"),
			ctx.ReplaceBody([]byte("another body\r\n.\r\n" + strings.Repeat("with many lines\r\n", 5000))),
			ctx.Quarantine("for the flow"),
		} {
			if err != nil {
				return ctx.Reject(554, "5.3.0", err.Error())
			}
		}
		return protocol.StatusAccept
	})
}

// lateMilter answers everything late, the end of the mail after progress.
func lateMilter(ctx *flowContext) {
	const delay = 10 * time.Millisecond
	late := func(ctx *flowContext) protocol.Status {
		return ctx.Later(func(stdcontext.Context) protocol.Status {
			time.Sleep(delay)
			return protocol.StatusContinue
		})
	}
	ctx.OnConnect(func(ctx *flowContext, _ string, _ net.Addr) protocol.Status { return late(ctx) })
	ctx.OnHelo(func(ctx *flowContext, _ string) protocol.Status { return late(ctx) })
	ctx.OnEnvelopeFrom(func(ctx *flowContext, _ string, _ protocol.Parameters) protocol.Status { return late(ctx) })
	ctx.OnEnvelopeRecipient(func(ctx *flowContext, _ string, _ protocol.Parameters) protocol.Status { return late(ctx) })
	ctx.OnData(late)
	ctx.OnHeader(func(ctx *flowContext, _, _ string) protocol.Status { return late(ctx) })
	ctx.OnEndOfHeader(late)
	ctx.OnBody(func(ctx *flowContext, _ []byte) protocol.Status { return late(ctx) })
	ctx.OnEndOfMessage(func(ctx *flowContext, _ []byte) protocol.Status {
		return ctx.Later(func(stdcontext.Context) protocol.Status {
			for range 3 {
				time.Sleep(delay)
				if err := ctx.Progress(); err != nil {
					return ctx.Reject(554, "5.3.0", err.Error())
				}
			}
			return flowAdd(ctx, "X-Late", "yes")
		})
	})
}

// refuseMilter refuses what the mail asks it to refuse.
func refuseMilter(ctx *flowContext) {
	ctx.OnEnvelopeFrom(func(ctx *flowContext, from string, _ protocol.Parameters) protocol.Status {
		if from == "<bad@client.test>" {
			return ctx.Reject(550, "5.7.1", "No mail from you,\n100% sure")
		}
		return protocol.StatusContinue
	})
	ctx.OnEnvelopeRecipient(func(ctx *flowContext, to string, _ protocol.Parameters) protocol.Status {
		switch to {
		case "<bad@test.local>":
			return ctx.Reject(550, "5.1.1", "No such user,\nor only\non Sundays")
		case "<slow@test.local>":
			return ctx.TemporaryFailure(450, "4.2.0", "later")
		case "<plain@test.local>":
			return protocol.StatusReject
		}
		return protocol.StatusContinue
	})
	ctx.OnHeader(func(ctx *flowContext, name, value string) protocol.Status {
		if name == "X-Refuse" && value == "header" {
			return protocol.StatusReject
		}
		if name == "X-Refuse" {
			ctx.SetShelfValue("refuse", value)
		}
		return protocol.StatusContinue
	})
	ctx.OnEndOfMessage(func(ctx *flowContext, _ []byte) protocol.Status {
		switch how, _ := ctx.ShelfValue("refuse"); how {
		case "end":
			return ctx.TemporaryFailure(451, "4.7.1", "try again")
		case "discard":
			return protocol.StatusDiscard
		}
		return protocol.StatusContinue
	})
}

// macrosMilter asks for macros at each stage, and tells them in header fields.
func macrosMilter(ctx *flowContext) {
	ctx.OnNegotiate(func(ctx *flowContext, _ *option.Option, macros *option.MacroRequests) protocol.Status {
		for stage, names := range map[option.MacroStage][]string{
			option.MacroStageConnect:           {"j", "{daemon_name}"},
			option.MacroStageHelo:              {"{tls_version}"},
			option.MacroStageEnvelopeFrom:      {"i", "{mail_addr}"},
			option.MacroStageEnvelopeRecipient: {"i", "{rcpt_addr}", "{rcpt_mailer}"},
			option.MacroStageData:              {"i", "j"},
			option.MacroStageEndOfHeader:       {"i"},
			option.MacroStageEndOfMessage:      {"i", "{mail_addr}"},
		} {
			if err := macros.Set(stage, names...); err != nil {
				return protocol.StatusReject
			}
		}
		return protocol.StatusDefault
	})
	ctx.OnEnvelopeRecipient(func(ctx *flowContext, _ string, _ protocol.Parameters) protocol.Status {
		to, _ := ctx.ShelfValue("to")
		ctx.SetShelfValue("to", to+ctx.Macro("rcpt_addr")+" ")
		return protocol.StatusContinue
	})
	ctx.OnData(func(ctx *flowContext) protocol.Status {
		ctx.SetShelfValue("data", ctx.Macro("i"))
		return protocol.StatusContinue
	})
	ctx.OnEndOfMessage(func(ctx *flowContext, _ []byte) protocol.Status {
		to, _ := ctx.ShelfValue("to")
		data, _ := ctx.ShelfValue("data")
		return flowAdd(ctx, "X-Macros", fmt.Sprintf("j %s, i %s then %s, to %sfrom %s", ctx.Macro("j"), data, ctx.Macro("{i}"), to, ctx.Macro("mail_addr")))
	})
}

// spacesMilter gets and gives header values with the space behind the colon, and
// sees the recipients that the MTA refuses.
func spacesMilter(ctx *flowContext) {
	ctx.OnNegotiate(func(ctx *flowContext, offer *option.Option, _ *option.MacroRequests) protocol.Status {
		steps := offer.Steps & (option.StepHeaderValueWithLeadingSpace | option.StepEnvelopeRecipientRejected)
		*offer = ctx.DefaultOption(*offer)
		offer.Steps |= steps
		return protocol.StatusContinue
	})
	ctx.OnEnvelopeRecipient(func(ctx *flowContext, to string, _ protocol.Parameters) protocol.Status {
		if ctx.Macro("rcpt_mailer") == "error" {
			context.PerMessage[flowTally](ctx).to = append(context.PerMessage[flowTally](ctx).to, to)
		}
		return protocol.StatusContinue
	})
	ctx.OnHeader(func(ctx *flowContext, _, value string) protocol.Status {
		tally := context.PerMessage[flowTally](ctx)
		tally.headers++
		tally.bytes += len(value) - len(strings.TrimLeft(value, " \t"))
		return protocol.StatusContinue
	})
	ctx.OnEndOfMessage(func(ctx *flowContext, _ []byte) protocol.Status {
		for _, err := range []error{ctx.AddHeader("X-None", "none"), ctx.AddHeader("X-Two-Blanks", "  two")} {
			if err != nil {
				return ctx.Reject(554, "5.3.0", err.Error())
			}
		}
		return flowAdd(ctx, "X-Seen", " "+context.PerMessage[flowTally](ctx).String())
	})
}

// skipMilter wants only the first chunk of a body.
func skipMilter(ctx *flowContext) {
	ctx.OnBody(func(ctx *flowContext, chunk []byte) protocol.Status {
		ctx.SetShelfValue("first", fmt.Sprint(len(chunk)))
		return protocol.StatusSkip
	})
	ctx.OnEndOfMessage(func(ctx *flowContext, _ []byte) protocol.Status {
		first, _ := ctx.ShelfValue("first")
		return flowAdd(ctx, "X-First", first)
	})
}
