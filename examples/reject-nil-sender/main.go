// Reject-nil-sender refuses mails with a header field Sender that contains
// "nil", in upper or lower case. Run it, and attach Postfix:
//
//	go run ./examples/reject-nil-sender
//
//	postconf smtpd_milters=inet:127.0.0.1:10025
//	postfix reload
package main

import (
	"flag"
	"log"
	"strings"

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
	ctx.OnHeader(header)
}

// header sees each field of the mail, every one of several Senders too.
func header(ctx *context.ClientContext, name, value string) protocol.Status {
	if strings.EqualFold(name, "Sender") && strings.Contains(strings.ToLower(value), "nil") {
		return ctx.Reject(554, "5.7.1", "The sender is nil")
	}
	return protocol.StatusContinue
}
