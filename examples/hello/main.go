// Hello is the smallest milter: it refuses one recipient, with a reply of its
// own, and leaves everything else to the MTA. Run it, and attach Postfix:
//
//	go run ./examples/hello
//
//	postconf smtpd_milters=inet:127.0.0.1:10025
//	postfix reload
package main

import (
	"flag"
	"log"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

func main() {
	spec := flag.String("spec", "inet:10025@127.0.0.1", "where to listen")
	flag.Parse()
	c := client.New()
	c.OnConnectionEstablished(func(ctx *context.ClientContext) { ctx.OnEnvelopeRecipient(recipient) })
	log.Fatal(c.ListenAndServe(*spec))
}

func recipient(ctx *context.ClientContext, to string, _ protocol.Parameters) protocol.Status {
	if to != "<nobody@example.com>" {
		return protocol.StatusContinue
	}
	return ctx.Reject(550, "5.1.1", "Nobody is not here")
}
