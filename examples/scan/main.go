// Scan shows how a content scanner is attached: the body is collected, up to a
// limit; the scan runs in a goroutine, ends early when the MTA does not want its
// result any more, and answers when it has one. The scanner itself is pretended:
// it takes its time and looks for a text, by default that of the EICAR test
// file. Run it, and attach Postfix:
//
//	go run ./examples/scan
//
//	postconf smtpd_milters=inet:127.0.0.1:10025
//	postfix reload
package main

import (
	"bytes"
	stdcontext "context"
	"flag"
	"log"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

const limit = 10 << 20 // bytes of a body; a larger one is not scanned

// What virus scanners find in the file that eicar.org publishes for tests.
const eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + `EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`

func main() {
	spec := flag.String("spec", "inet:10025@127.0.0.1", "where to listen")
	text := flag.String("text", eicar, "what counts as a virus")
	takes := flag.Duration("takes", time.Second, "how long a scan takes")
	flag.Parse()
	c := newClient(pretend(*text, *takes))
	c.ShutdownOnSignal() // after the mails that are under way; a second signal ends it at once
	if err := c.ListenAndServe(*spec); err != nil {
		log.Fatal(err)
	}
}

// A scanner says whether there is a virus in body. It gives up when ctx is done.
type scanner func(ctx stdcontext.Context, body []byte) (found bool, err error)

func pretend(text string, takes time.Duration) scanner {
	return func(ctx stdcontext.Context, body []byte) (bool, error) {
		select {
		case <-time.After(takes):
			return bytes.Contains(body, []byte(text)), nil
		case <-ctx.Done():
			return false, stdcontext.Cause(ctx)
		}
	}
}

func newClient(scan scanner) *client.Client {
	c := client.New()
	c.KeepAlive = 7 * time.Second    // tell the MTA that a scan goes on; Sendmail waits ten
	c.ReplyTimeout = 2 * time.Minute // then the mail is refused for now, and the scan ends
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		ctx.OnBody(body)
		ctx.OnEndOfMessage(scan.endOfMessage)
	})
	return c
}

type mail struct{ body []byte }

func body(ctx *context.ClientContext, chunk []byte) protocol.Status {
	m := context.PerMessage[mail](ctx)
	m.body = append(m.body, chunk...)
	if len(m.body) > limit {
		return protocol.StatusSkip
	}
	return protocol.StatusContinue
}

func (scan scanner) endOfMessage(ctx *context.ClientContext, chunk []byte) protocol.Status {
	body(ctx, chunk)
	m := context.PerMessage[mail](ctx)
	if len(m.body) > limit {
		return ctx.Check(ctx.AddHeader("X-Scan", "skipped, the mail is too large"))
	}
	late := ctx.Late() // what is done by it concerns this mail and no other
	return ctx.Later(func(wanted stdcontext.Context) protocol.Status {
		found, err := scan(wanted, m.body)
		switch {
		case err != nil:
			if wanted.Err() == nil { // else the scan gave up, as it should
				ctx.Logger().Error("cannot scan", "error", err)
			}
			return late.TemporaryFailure(451, "4.7.1", "The virus scanner is out of order, try again later")
		case found:
			return late.Reject(554, "5.7.1", "There is a virus in this mail")
		}
		return late.Check(late.AddHeader("X-Scan", "clean"))
	})
}
