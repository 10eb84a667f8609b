package context_test

import (
	"bytes"
	"errors"
	"net"
	"path/filepath"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/internal/socket"
	"github.com/milter-go/milter/protocol"
)

// unixPair returns the two ends of a unix socket, the milter's first.
func unixPair(t testing.TB) (*net.UnixConn, *net.UnixConn) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mta, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	milter, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mta.Close(); milter.Close() })
	return milter.(*net.UnixConn), mta.(*net.UnixConn)
}

// TestRest: a session that is idle between two mails can go on in a new goroutine,
// and knows what it knew. Within a mail it stays where it is.
func TestRest(t *testing.T) {
	milter, mta := unixPair(t)
	conn := socket.Own(milter)
	ctx := context.New(conn, context.DefaultConfig())
	var events journal
	record(ctx, &events, func(string) protocol.Status { return protocol.StatusContinue })
	var in protocol.Buffer
	play := func(messages ...protocol.Message) {
		t.Helper()
		for _, m := range messages {
			if _, err := mta.Write(m.Append(nil)); err != nil {
				t.Fatal(err)
			}
			if p, err := in.ReadPacket(mta); err != nil || p.Letter != 'c' && p.Letter != 'O' {
				t.Fatalf("reply to %v: %q, %v", m.Command(), p.Letter, err)
			}
		}
	}
	served := make(chan error)
	serve := func() { served <- ctx.Serve(conn) }
	go serve()
	play(negotiateMsg, connectMsg, heloMsg)
	for range 2 {
		if err := <-served; !errors.Is(err, socket.ErrRest) {
			t.Fatalf("idle: %v, want ErrRest", err)
		}
		go serve()
		play(mailMsg, rcptMsg, dataMsg, headerMsg, eohMsg, bodyMsg, eomMsg)
	}
	play(mailMsg, rcptMsg)
	_, _ = mta.Write(append(abortMsg.Append(nil), quitMsg.Append(nil)...))
	if err := <-served; err != nil {
		t.Errorf("the end: %v, want none", err)
	}
	var finished int
	for _, e := range events.take() {
		if e == "finished ErrFinished" {
			finished++
		}
	}
	if finished != 1 {
		t.Errorf("finished %d times, want once", finished)
	}
}

// TestHalfClose: an MTA that ends its stream together with its last command, and
// goes on reading, is seen to have gone.
func TestHalfClose(t *testing.T) {
	for name, own := range map[string]func(net.Conn) *socket.Conn{"owned": socket.Own, "not owned": socket.Of} {
		t.Run(name, func(t *testing.T) {
			milter, mta := unixPair(t)
			_, _ = mta.Write(negotiateMsg.Append(nil))
			_ = mta.CloseWrite()
			conn := own(milter)
			ctx := context.New(conn, context.DefaultConfig())
			err := ctx.Serve(conn)
			for errors.Is(err, socket.ErrRest) {
				err = ctx.Serve(conn)
			}
			if err != nil {
				t.Errorf("the session ended with %v, want nothing: the MTA hung up", err)
			}
			if ctx.State() != context.StateFinished {
				t.Errorf("state %v, want finished", ctx.State())
			}
			var in protocol.Buffer
			if p, err := in.ReadPacket(mta); err != nil || !bytes.Equal([]byte{p.Letter}, []byte("O")) {
				t.Errorf("reply %q, %v", p.Letter, err)
			}
		})
	}
}

// A valueConn is a connection whose value cannot be compared.
type valueConn struct {
	net.Conn
	_ []byte
}

// TestServeValueConn: a connection need not be a pointer.
func TestServeValueConn(t *testing.T) {
	milter, mta := unixPair(t)
	conn := valueConn{Conn: milter}
	ctx := context.New(conn, context.DefaultConfig())
	served := make(chan error)
	go func() { served <- ctx.Serve(conn) }()
	_, _ = mta.Write(negotiateMsg.Append(nil))
	var in protocol.Buffer
	if p, err := in.ReadPacket(mta); err != nil || p.Letter != 'O' {
		t.Errorf("reply %q, %v", p.Letter, err)
	}
	_, _ = mta.Write(quitMsg.Append(nil))
	if err := <-served; err != nil {
		t.Error(err)
	}
}
