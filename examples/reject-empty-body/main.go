// Reject-empty-body refuses mails whose body is nothing but white space. Run it,
// and attach Postfix:
//
//	go run ./examples/reject-empty-body
//
//	postconf smtpd_milters=inet:127.0.0.1:10025
//	postfix reload
package main

import (
	"bytes"
	"flag"
	"log"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

func main() {
	spec := flag.String("spec", "inet:10025@127.0.0.1", "where to listen")
	flag.Parse()
	if err := client.ListenAndServe(*spec, setup); err != nil {
		log.Fatal(err)
	}
}

func setup(ctx *context.ClientContext) {
	ctx.OnBody(body)
	ctx.OnEndOfMessage(endOfMessage)
}

// A mail is what is known of the mail that is under way. The library makes a new
// one for each, also after an abort.
type mail struct{ hasText bool }

// body does not come at all for a mail without a body.
func body(ctx *context.ClientContext, chunk []byte) protocol.Status {
	if len(bytes.Trim(chunk, " \t\r\n\v\f")) == 0 {
		return protocol.StatusContinue
	}
	context.PerMessage[mail](ctx).hasText = true
	return protocol.StatusSkip // the rest of the body changes nothing
}

func endOfMessage(ctx *context.ClientContext, chunk []byte) protocol.Status {
	body(ctx, chunk)
	if context.PerMessage[mail](ctx).hasText {
		return protocol.StatusContinue
	}
	return ctx.Reject(554, "5.7.1", "The mail has no text")
}
