// Hello is the smallest milter: it refuses one recipient, with a reply of its
// own, and adds a header field to the mails for all others. Run it, and attach
// Postfix:
//
//	go run ./examples/hello
//
//	postconf smtpd_milters=inet:127.0.0.1:10025
//	postfix reload
package main

import (
	"log"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

func main() {
	if err := client.ListenAndServe("inet:10025@127.0.0.1", setup); err != nil {
		log.Fatal(err)
	}
}

func setup(ctx *context.ClientContext) {
	ctx.OnEnvelopeRecipient(recipient)
	ctx.OnEndOfMessage(endOfMessage)
}

func recipient(ctx *context.ClientContext, to string, _ protocol.Parameters) protocol.Status {
	if to == "<nobody@example.com>" {
		return ctx.Reject(550, "5.1.1", "Nobody is not here")
	}
	return protocol.StatusContinue
}

func endOfMessage(ctx *context.ClientContext, _ []byte) protocol.Status {
	return ctx.Check(ctx.AddHeader("X-Hello", "seen"))
}
