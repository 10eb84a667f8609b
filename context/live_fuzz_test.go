package context_test

import (
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"

	"github.com/milter-go/milter/context"
)

// script makes dice of bytes; when they are used up it throws what is nearest to
// the beginning.
func script(b []byte) func(int) int {
	return func(n int) int {
		if len(b) == 0 || n <= 1 {
			return 0
		}
		v := int(b[0])
		if b = b[1:]; n > 256 && len(b) > 1 {
			v = v<<16 | int(b[0])<<8 | int(b[1])
			b = b[2:]
		}
		return v % n
	}
}

// FuzzLive plays sessions by the script, fed, and over a connection in virtual
// time with late answers from other goroutines.
func FuzzLive(f *testing.F) {
	for i := range byte(40) {
		random := rand.New(rand.NewPCG(uint64(i), 0))
		b := make([]byte, 100+10*int(i))
		for j := range b {
			b[j] = byte(random.Uint32())
		}
		f.Add(b)
	}
	f.Add([]byte{})
	table := newMayTable()
	f.Fuzz(func(t *testing.T, b []byte) {
		if l := playFed(table, script(b)); l.fault != "" {
			t.Fatalf("fed, steps %v, changes at once: %v: %s", l.steps, l.direct, l.fault)
		}
		synctest.Test(t, func(t *testing.T) {
			if l := playServed(table, script(b)); l.fault != "" {
				t.Fatalf("served, steps %v, changes at once: %v: %s", l.steps, l.direct, l.fault)
			}
		})
	})
}

// playServed plays a session over a connection, in a bubble.
func playServed(table *mayTable, dice func(int) int) *live {
	l := newLive(table, dice)
	l.later = true
	milter, mta := net.Pipe()
	wire := &judged{milter, l}
	l.setup(context.New(wire, l.config()))
	served := make(chan struct{})
	go func() {
		_ = l.ctx.Serve(wire)
		_ = milter.Close()
		close(served)
	}()
	go func() { _, _ = io.Copy(io.Discard, mta) }()
	l.send = func(b []byte) { _, _ = mta.Write(b) }
	l.wait = synctest.Wait
	l.play(4+dice(20), func() { _ = mta.Close() })
	_ = l.ctx.Close()
	<-served
	_ = mta.Close()
	return l
}

// judged is the milter's end of a connection, whose writes are judged.
type judged struct {
	net.Conn
	l *live
}

func (c *judged) Write(b []byte) (int, error) {
	_, _ = c.l.Write(b)
	return c.Conn.Write(b)
}
