package main

import (
	"bytes"
	stdcontext "context"
	"fmt"
	"strings"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// newMilter returns the milter: what a program of your own would run with
// ListenAndServe. The MTA sends it the events that are registered here, and no
// others. It waits for an answer to those that begin with On.
func newMilter() *client.Client {
	c := client.New()
	c.KeepAlive = 400 * time.Millisecond
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		ctx.OnEnvelopeRecipient(recipient)
		ctx.WatchHeader(header)
		ctx.WatchBody(body)
		ctx.OnEndOfMessage(endOfMessage)
	})
	return c
}

// A mail is what the milter keeps of the mail that is under way.
type mail struct {
	subject string
	body    []byte
}

func recipient(ctx *context.ClientContext, to string, _ protocol.Parameters) protocol.Status {
	if to == "<nobody@example.com>" {
		return ctx.Reject(550, "5.1.1", "Nobody is not here")
	}
	return protocol.StatusContinue
}

func header(ctx *context.ClientContext, name, value string) {
	if strings.EqualFold(name, "Subject") {
		context.PerMessage[mail](ctx).subject = value
	}
}

func body(ctx *context.ClientContext, chunk []byte) {
	m := context.PerMessage[mail](ctx)
	m.body = append(m.body, chunk...)
}

// endOfMessage answers later: the scan runs in a goroutine, and the MTA is told
// every 400 milliseconds that it has to wait.
func endOfMessage(ctx *context.ClientContext, chunk []byte) protocol.Status {
	body(ctx, chunk)
	m := context.PerMessage[mail](ctx)
	late := ctx.Late() // changes made by it are for this mail and for no other
	return ctx.Later(func(wanted stdcontext.Context) protocol.Status {
		attachments, err := scan(wanted, m.body)
		if err != nil { // nobody awaits the answer any more
			return protocol.StatusTemporaryFailure
		}
		return late.Check(
			late.ChangeHeader("Subject", 1, "[seen] "+m.subject),
			late.AddHeader("X-Demo", fmt.Sprintf("attachments=%d", attachments)),
		)
	})
}

// scan takes its time. It gives up when the MTA does not want the result any more.
func scan(wanted stdcontext.Context, body []byte) (attachments int, err error) {
	select {
	case <-time.After(time.Second):
		return bytes.Count(body, []byte("\nContent-Disposition: attachment")), nil
	case <-wanted.Done():
		return 0, stdcontext.Cause(wanted)
	}
}
