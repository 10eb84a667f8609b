package context_test

import (
	"bytes"
	stdcontext "context"
	"fmt"
	"os"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// print writes what the MTA would get, a letter for each packet.
type print struct{}

func (print) Write(b []byte) (int, error) {
	for n := len(b); len(b) > 0; n = len(b) {
		length := 4 + int(b[0])<<24 + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
		fmt.Printf("to the MTA: %c\n", b[4])
		b = b[min(length, n):]
	}
	return 0, nil
}

// A session needs no socket: Feed brings it what an MTA would send.
func ExampleClientContext_Feed() {
	ctx := context.New(print{}, context.DefaultConfig())
	ctx.OnHelo(func(ctx *context.ClientContext, name string) protocol.Status {
		fmt.Println("helo", name)
		return protocol.StatusContinue
	})
	var b []byte
	b = protocol.Negotiate{Option: option.All()}.Append(b)
	b = protocol.Helo{Name: "mx.example.net"}.Append(b)
	b = protocol.Bare(protocol.CommandQuit).Append(b)
	if err := ctx.Feed(b); err != nil {
		fmt.Println(err)
	}
	fmt.Println(ctx.State())
	// Output:
	// to the MTA: O
	// helo mx.example.net
	// to the MTA: c
	// finished
}

// feedExample negotiates and plays a mail up to its end.
func feedExample(ctx *context.ClientContext) {
	var b []byte
	b = protocol.Negotiate{Option: option.All()}.Append(b)
	b = protocol.EnvelopeFrom{Path: "<from@example.com>"}.Append(b)
	b = protocol.EnvelopeRecipient{Path: "<nobody@example.com>"}.Append(b)
	b = protocol.Header{Name: "Subject", Value: "hello"}.Append(b)
	b = protocol.Body{Chunk: []byte("one ")}.Append(b)
	b = protocol.Body{Chunk: []byte("two")}.Append(b)
	b = protocol.EndOfMessage{}.Append(b)
	if err := ctx.Feed(b); err != nil {
		fmt.Println(err)
	}
}

func ExampleClientContext_Reject() {
	ctx := context.New(os.Stdout, context.DefaultConfig())
	ctx.SetState(context.StateEnvelopeRecipient)
	recipient := func(ctx *context.ClientContext, to string) protocol.Status {
		if to == "<nobody@example.com>" {
			return ctx.Reject(550, "5.1.1", "Nobody is not here")
		}
		return protocol.StatusContinue
	}
	fmt.Println(recipient(ctx, "<nobody@example.com>"), ctx.FormatReply())
	// Output:
	// reject 550 5.1.1 Nobody is not here
}

// The mail is scanned in a goroutine of its own, while the session notices when
// the MTA hangs up.
func ExampleClientContext_Later() {
	done := make(chan struct{})
	ctx := context.New(print{}, context.DefaultConfig())
	ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
		return ctx.Later(func(mail stdcontext.Context) protocol.Status {
			select {
			case <-time.After(time.Millisecond): // the scan
				return protocol.StatusAccept
			case <-mail.Done(): // the mail was aborted: nobody waits any more
				return protocol.StatusContinue
			}
		})
	})
	ctx.OnMessageProcessed(func(_ *context.ClientContext, result *context.MessageResult) {
		fmt.Println("processed:", result.Status)
		close(done)
	})
	feedExample(ctx)
	<-done
	// Output:
	// to the MTA: O
	// to the MTA: c
	// to the MTA: c
	// to the MTA: c
	// to the MTA: c
	// to the MTA: c
	// to the MTA: a
	// processed: accept
}

// What belongs to one mail is dropped with it: nobody has to reset anything.
func ExamplePerMessage() {
	type mail struct{ body bytes.Buffer }
	ctx := context.New(print{}, context.DefaultConfig())
	ctx.OnBody(func(ctx *context.ClientContext, chunk []byte) protocol.Status {
		context.PerMessage[mail](ctx).body.Write(chunk)
		return protocol.StatusContinue
	})
	ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
		fmt.Printf("body %q\n", context.PerMessage[mail](ctx).body.String())
		return protocol.StatusContinue
	})
	feedExample(ctx)
	fmt.Println("after it:", context.PerMessage[mail](ctx).body.Len())
	// Output:
	// to the MTA: O
	// to the MTA: c
	// to the MTA: c
	// to the MTA: c
	// to the MTA: c
	// to the MTA: c
	// body "one two"
	// to the MTA: c
	// after it: 0
}

func ExampleClientContext_ChangeHeader() {
	ctx := context.New(print{}, context.DefaultConfig())
	ctx.OnHeader(func(ctx *context.ClientContext, name, value string) protocol.Status {
		*context.PerMessage[string](ctx) = value
		return protocol.StatusContinue
	})
	ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
		subject := *context.PerMessage[string](ctx)
		if err := ctx.ChangeHeader("Subject", 1, "[list] "+subject); err != nil {
			fmt.Println(err)
			return protocol.StatusTemporaryFailure
		}
		return protocol.StatusContinue
	})
	ctx.OnMessageProcessed(func(_ *context.ClientContext, result *context.MessageResult) {
		fmt.Println("removed", result.RemovedHeaders, "added", result.AddedHeaders)
	})
	feedExample(ctx)
	// Output:
	// to the MTA: O
	// to the MTA: c
	// to the MTA: c
	// to the MTA: c
	// to the MTA: c
	// to the MTA: c
	// to the MTA: m
	// to the MTA: c
	// removed [{Subject hello}] added [{Subject [list] hello}]
}
