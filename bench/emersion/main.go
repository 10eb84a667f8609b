// Emersion is the filter of the comparison on github.com/emersion/go-milter.
//
//	emersion -s SPEC [-mode plain|mods|watch]
package main

import (
	"flag"
	"log"
	"net"
	"net/textproto"

	"github.com/emersion/go-milter"

	"github.com/milter-go/milter/bench/work"
	"github.com/milter-go/milter/client"
)

func main() {
	spec := flag.String("s", client.DefaultConnectionSpec, "listen at this connection `spec`")
	mode := flag.String("mode", "plain", "plain, mods or watch")
	flag.Parse()
	server := milter.Server{Actions: milter.OptAddHeader | milter.OptChangeHeader | milter.OptChangeBody}
	f := filter{answer: milter.RespContinue}
	switch *mode {
	case "plain":
	case "mods":
		f.body = work.Body()
	case "watch":
		// It answers DATA by itself, so that one has a reply.
		server.Protocol = milter.OptNoConnReply | milter.OptNoHeloReply | milter.OptNoMailReply | milter.OptNoRcptReply |
			milter.OptNoHeaderReply | milter.OptNoEOHReply | milter.OptNoBodyReply
		f.answer = nil
	default:
		log.Fatalf("emersion: no mode %q", *mode)
	}
	server.NewMilter = func() milter.Milter { return f }
	where, err := client.ParseSpec(*spec)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen(where.Network, where.Address)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(server.Serve(listener))
}

// A filter answers every event with answer; nil is no answer.
type filter struct {
	answer milter.Response
	body   []byte // the new body; nil leaves the mail as it is, but for one field
}

func (f filter) Connect(string, string, uint16, net.IP, *milter.Modifier) (milter.Response, error) {
	return f.answer, nil
}

func (f filter) Helo(string, *milter.Modifier) (milter.Response, error) { return f.answer, nil }

func (f filter) MailFrom(string, *milter.Modifier) (milter.Response, error) { return f.answer, nil }

func (f filter) RcptTo(string, *milter.Modifier) (milter.Response, error) { return f.answer, nil }

func (f filter) Header(string, string, *milter.Modifier) (milter.Response, error) {
	return f.answer, nil
}

func (f filter) Headers(textproto.MIMEHeader, *milter.Modifier) (milter.Response, error) {
	return f.answer, nil
}

func (f filter) BodyChunk([]byte, *milter.Modifier) (milter.Response, error) { return f.answer, nil }

func (f filter) Abort(*milter.Modifier) error { return nil }

func (f filter) Body(m *milter.Modifier) (milter.Response, error) {
	if f.body == nil {
		return milter.RespAccept, m.AddHeader(work.Field, work.Value)
	}
	for i := range work.Added {
		if err := m.AddHeader(work.AddedField(i), work.Value); err != nil {
			return nil, err
		}
	}
	if err := m.ChangeHeader(1, work.Subject, work.SubjectValue); err != nil {
		return nil, err
	}
	return milter.RespAccept, m.ReplaceBody(f.body)
}
