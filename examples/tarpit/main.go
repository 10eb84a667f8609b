// Tarpit lets every mail wait before it accepts it. Meanwhile the MTA is told now
// and then that the milter is still there. Run it, and attach Postfix:
//
//	go run ./examples/tarpit -delay 5s
//
//	postconf smtpd_milters=inet:127.0.0.1:10025
//	postfix reload
package main

import (
	stdcontext "context"
	"flag"
	"log"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

func main() {
	spec := flag.String("spec", "inet:10025@127.0.0.1", "where to listen")
	delay := flag.Duration("delay", 5*time.Second, "how long a mail waits; MTAs give up after 5 minutes")
	flag.Parse()
	c := newClient(*delay)
	c.ShutdownOnSignal() // after the mails that are under way; a second signal ends it at once
	if err := c.ListenAndServe(*spec); err != nil {
		log.Fatal(err)
	}
}

func newClient(delay time.Duration) *client.Client {
	c := client.New()
	c.KeepAlive = 2 * time.Second // how often the MTA is told
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		ctx.OnEndOfMessage(tarpit(delay).endOfMessage)
	})
	return c
}

type tarpit time.Duration

func (t tarpit) endOfMessage(ctx *context.ClientContext, _ []byte) protocol.Status {
	return ctx.Later(func(mail stdcontext.Context) protocol.Status {
		select {
		case <-time.After(time.Duration(t)):
		case <-mail.Done(): // the MTA has hung up: nobody awaits the answer
		}
		return protocol.StatusAccept
	})
}
