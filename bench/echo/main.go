// Echo is the floor of the comparison: what a Go program cannot do without when it
// speaks this protocol. A goroutine for each connection, one buffer, framing, and
// canned replies. It decodes nothing, has no timeouts and no locks, and checks
// nothing.
//
//	echo -s SPEC [-mode plain|mods|watch]
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"net"

	"github.com/milter-go/milter/bench/work"
	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// bufferSize holds the largest packet that the generator sends, and much of the
// next one.
const bufferSize = 128 << 10

func main() {
	spec := flag.String("s", client.DefaultConnectionSpec, "listen at this connection `spec`")
	mode := flag.String("mode", "plain", "plain, mods or watch")
	flag.Parse()
	replies, err := canned(*mode)
	if err != nil {
		log.Fatal(err)
	}
	where, err := client.ParseSpec(*spec)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen(where.Network, where.Address)
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(conn, replies)
	}
}

// canned returns what is answered to each letter.
func canned(mode string) (*[256][]byte, error) {
	var replies [256][]byte
	answer := option.Option{
		Version: option.Version,
		Actions: option.ActionAddHeaders | option.ActionChangeHeaders | option.ActionChangeBody,
	}
	end := header(nil, work.Field)
	switch mode {
	case "plain":
	case "mods":
		end = changes()
	case "watch":
		answer.Steps = option.NoReplySteps
	default:
		return nil, fmt.Errorf("echo: no mode %q", mode)
	}
	if mode != "watch" {
		for _, letter := range []byte("CHMRTULNB") {
			replies[letter] = protocol.AppendPacket(nil, byte(protocol.ReplyContinue), nil)
		}
	}
	replies['O'] = reply.Negotiate{Option: answer}.Append(nil)
	replies['E'] = protocol.AppendPacket(end, byte(protocol.ReplyAccept), nil)
	return &replies, nil
}

func header(dst []byte, name string) []byte {
	return reply.AddHeader{Name: name, Value: work.Value}.Append(dst)
}

func changes() []byte {
	var dst []byte
	for i := range work.Added {
		dst = header(dst, work.AddedField(i))
	}
	dst = reply.ChangeHeader{Name: work.Subject, Index: 1, Value: work.SubjectValue}.Append(dst)
	return reply.ReplaceBody{Chunk: work.Body()}.Append(dst)
}

// serve answers until the MTA quits: one read, all complete packets in it, one
// write.
func serve(conn net.Conn, replies *[256][]byte) {
	defer conn.Close()
	in := make([]byte, bufferSize)
	var out []byte
	start, end := 0, 0
	for {
		n, err := conn.Read(in[end:])
		if err != nil {
			return
		}
		end += n
		out = out[:0]
		for end-start >= 4 {
			length := int(binary.BigEndian.Uint32(in[start:]))
			if length < 1 || length > bufferSize-4 {
				return
			}
			if end-start < 4+length {
				break
			}
			letter := in[start+4]
			if letter == byte(protocol.CommandQuit) {
				return
			}
			out = append(out, replies[letter]...)
			start += 4 + length
		}
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return
			}
		}
		end = copy(in, in[start:end])
		start = 0
	}
}
