// Regexp refuses mails whose subject or body matches a regular expression. The
// subject is decoded (RFC 2047). Of the body the first MiB is looked at, as it
// is: what is encoded in it stays so, and its lines end in CRLF. Run it, and
// attach Postfix:
//
//	go run ./examples/regexp '(?i)free\s+money'
//
//	postconf smtpd_milters=inet:127.0.0.1:10025
//	postfix reload
package main

import (
	"flag"
	"log"
	"mime"
	"regexp"
	"strings"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

const limit = 1 << 20 // bytes of a body that are looked at

func main() {
	spec := flag.String("spec", "inet:10025@127.0.0.1", "where to listen")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: regexp [-spec SPEC] REGEXP")
	}
	unwanted, err := regexp.Compile(flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	f := filter{unwanted}
	if err := client.ListenAndServe(*spec, f.setup); err != nil {
		log.Fatal(err)
	}
}

type filter struct{ unwanted *regexp.Regexp }

type mail struct{ body []byte }

func (f filter) setup(ctx *context.ClientContext) {
	ctx.OnHeader(f.header)
	ctx.OnBody(body)
	ctx.OnEndOfMessage(f.endOfMessage)
}

func (f filter) header(ctx *context.ClientContext, name, value string) protocol.Status {
	if !strings.EqualFold(name, "Subject") {
		return protocol.StatusContinue
	}
	if decoded, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
		value = decoded
	}
	if f.unwanted.MatchString(value) {
		return ctx.Reject(554, "5.7.1", "The subject is not wanted here")
	}
	return protocol.StatusContinue
}

// body keeps the pieces, because a match may begin in one and end in the next.
func body(ctx *context.ClientContext, chunk []byte) protocol.Status {
	m := context.PerMessage[mail](ctx)
	m.body = append(m.body, chunk[:min(len(chunk), limit-len(m.body))]...)
	if len(m.body) == limit {
		return protocol.StatusSkip
	}
	return protocol.StatusContinue
}

func (f filter) endOfMessage(ctx *context.ClientContext, chunk []byte) protocol.Status {
	body(ctx, chunk)
	if f.unwanted.Match(context.PerMessage[mail](ctx).body) {
		return ctx.Reject(554, "5.7.1", "The text is not wanted here")
	}
	return protocol.StatusContinue
}
