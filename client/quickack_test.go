package client_test

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// TestMacrosInAWriteOfTheirOwn: an MTA that writes macros and command one by one,
// with Nagle's algorithm as Sendmail has it, does not wait 40 ms for each
// acknowledgement. Half of that is far from both what is and what would be.
func TestMacrosInAWriteOfTheirOwn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("acknowledgements can be asked for on Linux only")
	}
	c := newClient(t)
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		ctx.OnHelo(func(*context.ClientContext, string) protocol.Status { return protocol.StatusContinue })
	})
	run(t, c)
	m := dial(t, c.Addrs()[0])
	if err := m.Conn.(*net.TCPConn).SetNoDelay(false); err != nil {
		t.Fatal(err)
	}
	exchange := func(writes ...[]byte) {
		t.Helper()
		for _, b := range writes {
			if _, err := m.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := m.buffer.ReadPacket(m); err != nil {
			t.Fatal(err)
		}
	}
	exchange(offer)
	macros := protocol.DefineMacro{For: 'H', Macros: []protocol.Macro{{Name: "{cipher}", Value: "none"}}}.Append(nil)
	helo := protocol.Helo{Name: "mx.example.org"}.Append(nil)

	const rounds, delay = 50, 40 * time.Millisecond
	start := time.Now()
	for range rounds {
		exchange(macros, helo)
	}
	if d := time.Since(start); d > rounds*delay/2 {
		t.Errorf("%d times macros and a command took %v; %v each", rounds, d, d/rounds)
	} else {
		t.Logf("%v each", d/rounds)
	}
}
