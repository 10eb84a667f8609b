package miltertest

import (
	stdcontext "context"
	"net"
	"sync"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
)

// Serve returns a Session with a milter in the same process: setup registers the
// milter's handlers, as a handler of OnConnectionEstablished does. It is short
// for [Start] with a new client.
func Serve(setup func(ctx *context.ClientContext)) *Session {
	c := client.New()
	c.OnConnectionEstablished(setup)
	return Start(c)
}

// Start returns a Session with a milter in the same process, over a net.Pipe
// that c serves. c need not listen. [Session.Close] waits until the milter has
// finished and returns what c.ServeConn did.
func Start(c *client.Client) *Session {
	mta, milter := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- c.ServeConn(milter) }()
	s := New(mta)
	s.milter = sync.OnceValue(func() error { return <-ended })
	return s
}

// Dial returns a Session with the milter that listens at spec, which is written
// as for client.ParseSpec: "inet:10025@127.0.0.1", "unix:/run/milter.sock". Once
// connected, ctx has no effect.
func Dial(ctx stdcontext.Context, spec string) (*Session, error) {
	s, err := client.ParseSpec(spec)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, s.Network, s.Address)
	if err != nil {
		return nil, err
	}
	return New(conn), nil
}
