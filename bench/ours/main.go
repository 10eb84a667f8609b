// Ours is the filter of the comparison on package client of this library.
//
//	ours -s SPEC [-mode status|mods|watch|late|late-end|body]
package main

import (
	stdcontext "context"
	"flag"
	"log"
	"net"

	"github.com/milter-go/milter/bench/work"
	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

func main() {
	spec := flag.String("s", client.DefaultConnectionSpec, "listen at this connection `spec`")
	mode := flag.String("mode", "status", `what the filter does:
status    a handler for every event
mods      the same, and ten changes of the header and a new body
watch     handlers that only look, so that no event but the last has a reply
late      every event is answered by another goroutine
late-end  end of message is answered by another goroutine
body      handlers for the body and end of message only`)
	flag.Parse()
	setup := map[string]func(*context.ClientContext){
		"status":   func(ctx *context.ClientContext) { answer(ctx, at); ctx.OnEndOfMessage(end) },
		"mods":     mods(),
		"watch":    watch,
		"late":     func(ctx *context.ClientContext) { answer(ctx, later); ctx.OnEndOfMessage(endLater) },
		"late-end": func(ctx *context.ClientContext) { answer(ctx, at); ctx.OnEndOfMessage(endLater) },
		"body":     body,
	}[*mode]
	if setup == nil {
		log.Fatalf("ours: no mode %q", *mode)
	}
	if err := client.ListenAndServe(*spec, setup); err != nil {
		log.Fatal(err)
	}
}

// at answers at once.
func at(*context.ClientContext) protocol.Status { return protocol.StatusContinue }

// later answers by a goroutine of its own.
func later(ctx *context.ClientContext) protocol.Status {
	return ctx.Later(func(stdcontext.Context) protocol.Status { return protocol.StatusContinue })
}

// answer registers a handler for every event but the end of message.
func answer(ctx *context.ClientContext, status func(*context.ClientContext) protocol.Status) {
	ctx.OnConnect(func(ctx *context.ClientContext, _ string, _ net.Addr) protocol.Status { return status(ctx) })
	ctx.OnHelo(func(ctx *context.ClientContext, _ string) protocol.Status { return status(ctx) })
	ctx.OnEnvelopeFrom(func(ctx *context.ClientContext, _ string, _ protocol.Parameters) protocol.Status { return status(ctx) })
	ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, _ string, _ protocol.Parameters) protocol.Status { return status(ctx) })
	ctx.OnData(func(ctx *context.ClientContext) protocol.Status { return status(ctx) })
	ctx.OnUnknown(func(ctx *context.ClientContext, _ string) protocol.Status { return status(ctx) })
	ctx.OnHeader(func(ctx *context.ClientContext, _, _ string) protocol.Status { return status(ctx) })
	ctx.OnEndOfHeader(func(ctx *context.ClientContext) protocol.Status { return status(ctx) })
	ctx.OnBody(func(ctx *context.ClientContext, _ []byte) protocol.Status { return status(ctx) })
}

func end(ctx *context.ClientContext, _ []byte) protocol.Status {
	if err := ctx.AddHeader(work.Field, work.Value); err != nil {
		return ctx.Check(err)
	}
	return protocol.StatusAccept
}

func endLater(ctx *context.ClientContext, _ []byte) protocol.Status {
	late := ctx.Late()
	return ctx.Later(func(stdcontext.Context) protocol.Status {
		if err := late.AddHeader(work.Field, work.Value); err != nil {
			return late.Check(err)
		}
		return protocol.StatusAccept
	})
}

func mods() func(ctx *context.ClientContext) {
	var names [work.Added]string
	for i := range names {
		names[i] = work.AddedField(i)
	}
	body := work.Body()
	change := func(ctx *context.ClientContext, _ []byte) protocol.Status {
		for _, name := range names {
			if err := ctx.AddHeader(name, work.Value); err != nil {
				return ctx.Check(err)
			}
		}
		if err := ctx.ChangeHeader(work.Subject, 1, work.SubjectValue); err != nil {
			return ctx.Check(err)
		}
		if err := ctx.ReplaceBody(body); err != nil {
			return ctx.Check(err)
		}
		return protocol.StatusAccept
	}
	return func(ctx *context.ClientContext) {
		answer(ctx, at)
		ctx.OnEndOfMessage(change)
	}
}

func watch(ctx *context.ClientContext) {
	ctx.WatchConnect(func(*context.ClientContext, string, net.Addr) {})
	ctx.WatchHelo(func(*context.ClientContext, string) {})
	ctx.WatchEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) {})
	ctx.WatchEnvelopeRecipient(func(*context.ClientContext, string, protocol.Parameters) {})
	ctx.WatchData(func(*context.ClientContext) {})
	ctx.WatchUnknown(func(*context.ClientContext, string) {})
	ctx.WatchHeader(func(*context.ClientContext, string, string) {})
	ctx.WatchEndOfHeader(func(*context.ClientContext) {})
	ctx.WatchBody(func(*context.ClientContext, []byte) {})
	ctx.OnEndOfMessage(end)
}

func body(ctx *context.ClientContext) {
	ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status { return protocol.StatusContinue })
	ctx.OnEndOfMessage(end)
}
