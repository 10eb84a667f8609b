// Composite is a milter made of several small filters. All filters of an event
// are asked, and the most severe of their answers counts, whatever their order:
// a mail that is too large is refused for good even while the milter is busy.
// Run it, and attach Postfix:
//
//	go run ./examples/composite
//
//	postconf smtpd_milters=inet:127.0.0.1:10025
//	postfix reload
package main

import (
	"flag"
	"log"
	"strconv"
	"strings"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

const (
	maxSessions   = 20
	maxRecipients = 100
	maxSize       = 20 << 20
)

func main() {
	spec := flag.String("spec", "inet:10025@127.0.0.1", "where to listen")
	flag.Parse()
	if err := client.ListenAndServe(*spec, setup); err != nil {
		log.Fatal(err)
	}
}

func setup(ctx *context.ClientContext) {
	ctx.OnEnvelopeFrom(mostSevere(busy, tooLarge))
	ctx.OnEnvelopeRecipient(mostSevere(tooMany, nobody))
	ctx.OnHeader(mostSevere(spam))
}

// mostSevere makes one handler of the filters of an event.
func mostSevere[A, B any](
	filters ...func(*context.ClientContext, A, B) answer,
) func(*context.ClientContext, A, B) protocol.Status {
	return func(ctx *context.ClientContext, a A, b B) protocol.Status {
		worst := pass
		for _, filter := range filters {
			if next := filter(ctx, a, b); next.Compare(worst.Status) > 0 {
				worst = next
			}
		}
		switch worst.Status {
		case protocol.StatusReject:
			return ctx.Reject(worst.code, worst.extended, worst.text)
		case protocol.StatusTemporaryFailure:
			return ctx.TemporaryFailure(worst.code, worst.extended, worst.text)
		}
		return worst.Status
	}
}

// An answer is what a filter says: a status, and the SMTP reply of a refusal.
type answer struct {
	protocol.Status
	code           int
	extended, text string
}

var pass = answer{Status: protocol.StatusContinue}

func busy(ctx *context.ClientContext, _ string, _ protocol.Parameters) answer {
	if ctx.NumberOfProcessingSessions() > maxSessions {
		return answer{protocol.StatusTemporaryFailure, 451, "4.3.2", "Busy, try again later"}
	}
	return pass
}

func tooLarge(_ *context.ClientContext, _ string, parameters protocol.Parameters) answer {
	size, _ := parameters.Get("SIZE")
	if n, err := strconv.ParseInt(size, 10, 64); err == nil && n > maxSize {
		return answer{protocol.StatusReject, 552, "5.3.4", "The mail is too large"}
	}
	return pass
}

func tooMany(ctx *context.ClientContext, _ string, _ protocol.Parameters) answer {
	count := context.PerMessage[int](ctx)
	if *count++; *count > maxRecipients {
		return answer{protocol.StatusTemporaryFailure, 452, "4.5.3", "Too many recipients in one mail"}
	}
	return pass
}

func nobody(_ *context.ClientContext, to string, _ protocol.Parameters) answer {
	if strings.EqualFold(to, "<nobody@example.com>") {
		return answer{protocol.StatusReject, 550, "5.1.1", "Nobody is not here"}
	}
	return pass
}

func spam(_ *context.ClientContext, name, value string) answer {
	if strings.EqualFold(name, "X-Spam-Flag") && strings.EqualFold(strings.TrimSpace(value), "yes") {
		return answer{protocol.StatusReject, 554, "5.7.1", "The sender says that it is spam"}
	}
	return pass
}
