// Replace replaces what matches a regular expression, in all header fields and in
// the body. A body above 10 MiB stays as it is. Run it, and attach Postfix:
//
//	go run ./examples/replace 'colou?r' 'hue'
//
//	postconf smtpd_milters=inet:127.0.0.1:10025
//	postfix reload
package main

import (
	"flag"
	"log"
	"regexp"
	"slices"
	"strings"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

const limit = 10 << 20 // bytes of a body

func main() {
	spec := flag.String("spec", "inet:10025@127.0.0.1", "where to listen")
	flag.Parse()
	if flag.NArg() != 2 {
		log.Fatal("usage: replace [-spec SPEC] REGEXP TEXT")
	}
	pattern, err := regexp.Compile(flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	f := filter{pattern, flag.Arg(1)}
	if err := client.ListenAndServe(*spec, f.setup); err != nil {
		log.Fatal(err)
	}
}

type filter struct {
	pattern *regexp.Regexp
	text    string // $1 stands for the first group
}

// A field is a header field: the index-th one of its name, counted from 1.
type field struct {
	name, value string
	index       int
}

type mail struct {
	fields []field
	count  map[string]int // of the fields of a name
	body   []byte
}

func (f filter) setup(ctx *context.ClientContext) {
	ctx.OnHeader(header)
	ctx.OnBody(body)
	ctx.OnEndOfMessage(f.endOfMessage)
}

func header(ctx *context.ClientContext, name, value string) protocol.Status {
	m := context.PerMessage[mail](ctx)
	if m.count == nil {
		m.count = make(map[string]int)
	}
	key := strings.ToLower(name)
	m.count[key]++
	m.fields = append(m.fields, field{name, value, m.count[key]})
	return protocol.StatusContinue
}

func body(ctx *context.ClientContext, chunk []byte) protocol.Status {
	m := context.PerMessage[mail](ctx)
	m.body = append(m.body, chunk...)
	if len(m.body) > limit {
		return protocol.StatusSkip
	}
	return protocol.StatusContinue
}

func (f filter) endOfMessage(ctx *context.ClientContext, chunk []byte) protocol.Status {
	body(ctx, chunk)
	return ctx.Check(f.replace(ctx, context.PerMessage[mail](ctx)))
}

func (f filter) replace(ctx *context.ClientContext, m *mail) error {
	// The last field first: a field whose value becomes empty is deleted, after
	// which Postfix counts those behind it anew.
	for _, field := range slices.Backward(m.fields) {
		value := f.pattern.ReplaceAllString(field.value, f.text)
		if value == field.value {
			continue
		}
		if err := ctx.ChangeHeader(field.name, field.index, value); err != nil {
			return err
		}
	}
	if len(m.body) > limit || !f.pattern.Match(m.body) {
		return nil
	}
	return ctx.ReplaceBody(f.pattern.ReplaceAll(m.body, []byte(f.text)))
}
