package client

import (
	stdcontext "context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// What an MTA that is refused may use of us.
const (
	refusalTime  = 3 * time.Second
	refusalBytes = 16 << 10
	maxRefusals  = 100 // at a time
)

// refusals are the connections that are being refused.
type refusals struct {
	number  atomic.Int32
	running sync.WaitGroup
	total   atomic.Uint64 // ever, with those that were dropped
}

// refuse tells the MTA of a temporary failure and closes the connection. It does
// not wait for that. Who has no place among those that are being refused is told
// nothing.
func (c *Client) refuse(conn net.Conn) {
	c.refusals.total.Add(1)
	if c.refusals.number.Add(1) > maxRefusals {
		c.refusals.number.Add(-1)
		conn.Close()
		return
	}
	c.refusals.running.Go(func() {
		defer c.refusals.number.Add(-1)
		defer conn.Close()
		defer stdcontext.AfterFunc(c.stop, func() { conn.Close() })()
		if conn.SetDeadline(time.Now().Add(refusalTime)) == nil {
			failTemporarily(conn)
		}
	})
}

// failTemporarily agrees with the MTA on connect as the only event and answers that
// with a temporary failure. An answer to the offer itself would be simpler; but
// whatever it is, Sendmail and Postfix take it for a broken milter, and do what
// they are told to do then, which may be to let the mail pass (milter.c of Sendmail,
// milter8.c of Postfix).
func failTemporarily(conn net.Conn) {
	from := io.LimitReader(conn, refusalBytes)
	in := protocol.Buffer{MaxPayload: refusalBytes}
	p, err := in.ReadPacket(from)
	if err != nil || p.Letter != byte(protocol.CommandNegotiate) {
		return
	}
	var offer protocol.Negotiate
	if err := offer.Decode(p.Payload); err != nil || offer.Option.Version < option.MinVersion {
		return
	}
	answer := reply.Negotiate{Option: option.Option{
		Version: min(option.Version, offer.Option.Version),
		Steps:   offer.Option.Steps & option.NoEventSteps &^ option.StepNoConnect,
	}}
	if _, err := conn.Write(answer.Append(nil)); err != nil {
		return
	}
	for err == nil && p.Letter != byte(protocol.CommandConnect) {
		p, err = in.ReadPacket(from)
		if err == nil && p.Letter != byte(protocol.CommandDefineMacro) && p.Letter != byte(protocol.CommandConnect) {
			return
		}
	}
	if err == nil {
		_, _ = conn.Write(reply.Bare(protocol.ReplyTemporaryFailure).Append(nil))
	}
}
