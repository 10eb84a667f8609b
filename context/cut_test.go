package context_test

import (
	stdcontext "context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A cutPoint is where the MTA's connection is cut: after commands, the reply to
// the last of which is awaited or, with late handlers, will not come.
type cutPoint struct {
	name     string
	commands string
	part     bool // of one more packet
	mails    int  // that have ended
	inMail   bool
}

var cutPoints = []cutPoint{
	{"connected", "", false, 0, false},
	{"negotiated", "O", false, 0, false},
	{"connect", "OC", false, 0, false},
	{"helo", "OCH", false, 0, false},
	{"mail", "OCHM", false, 0, true},
	{"in a packet", "OCHM", true, 0, true},
	{"rcpt", "OCHMR", false, 0, true},
	{"data", "OCHMRT", false, 0, true},
	{"header", "OCHMRTL", false, 0, true},
	{"end of header", "OCHMRTLN", false, 0, true},
	{"body", "OCHMRTLNB", false, 0, true},
	{"end of message", "OCHMRTLNBE", false, 1, false}, // late: not ended
	{"unknown in a mail", "OCHMRU", false, 0, true},
	{"second mail", "OCHMRTLNBEMR", false, 1, true},
}

// A cut session counts what must happen exactly once.
type cutSession struct {
	mu                            sync.Mutex
	aborts, ends, finished, after int // after: events after OnFinished
	lateStarted                   int
}

func (s *cutSession) count(n *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished > 0 {
		s.after++
	}
	*n++
}

// setup lets the last of commands be answered late, if ever.
func (s *cutSession) setup(ctx *context.ClientContext, p cutPoint, late bool) {
	handled := 0
	event := func(ctx *context.ClientContext) protocol.Status {
		s.count(new(int))
		if handled++; !late || handled != len(p.commands)-1 {
			return protocol.StatusContinue
		}
		s.count(&s.lateStarted)
		return ctx.Later(func(mail stdcontext.Context) protocol.Status {
			<-mail.Done()
			return protocol.StatusContinue
		})
	}
	ctx.OnNegotiate(func(_ *context.ClientContext, o *option.Option, _ *option.MacroRequests) protocol.Status {
		o.Steps = 0
		return protocol.StatusContinue
	})
	ctx.OnConnect(func(ctx *context.ClientContext, _ string, _ netAddr) protocol.Status { return event(ctx) })
	ctx.OnHelo(func(ctx *context.ClientContext, _ string) protocol.Status { return event(ctx) })
	ctx.OnEnvelopeFrom(func(ctx *context.ClientContext, _ string, _ protocol.Parameters) protocol.Status { return event(ctx) })
	ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, _ string, _ protocol.Parameters) protocol.Status { return event(ctx) })
	ctx.OnData(event)
	ctx.OnUnknown(func(ctx *context.ClientContext, _ string) protocol.Status { return event(ctx) })
	ctx.OnHeader(func(ctx *context.ClientContext, _, _ string) protocol.Status { return event(ctx) })
	ctx.OnEndOfHeader(event)
	ctx.OnBody(func(ctx *context.ClientContext, _ []byte) protocol.Status { return event(ctx) })
	ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status { return event(ctx) })
	ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status { s.count(&s.aborts); return 0 })
	ctx.OnMessageProcessed(func(_ *context.ClientContext, r *context.MessageResult) {
		if r.Status != protocol.StatusAbort {
			s.count(&s.ends)
		}
	})
	ctx.OnFinished(func(*context.ClientContext) { s.count(&s.finished) })
}

// cutHow are the ways in which a connection is lost.
var cutHow = map[string]func(net.Conn){
	"reset": func(c net.Conn) { // of a unix socket: replies that nobody has read do it
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	},
	"close": func(c net.Conn) { _ = c.Close() },
	"half-close": func(c net.Conn) {
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
		_, _ = io.Copy(io.Discard, c) // until the milter closes
		_ = c.Close()
	},
}

// play plays one session and cuts it.
func (p cutPoint) play(l net.Listener, how string, late, patient bool) error {
	mta, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		return err
	}
	defer mta.Close()
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	s := &cutSession{}
	config := context.DefaultConfig()
	config.Logger = slog.New(slog.DiscardHandler)
	ctx := context.New(conn, config)
	s.setup(ctx, p, late)
	served := make(chan error, 1)
	go func() {
		err := ctx.Serve(conn)
		_ = conn.Close()
		served <- err
	}()
	_ = mta.SetDeadline(time.Now().Add(20 * time.Second))
	var b []byte
	for _, c := range []byte(p.commands) {
		b = append(b, letters[c]...)
	}
	if p.part {
		b = append(b, letters['R'][:7]...)
	}
	if _, err := mta.Write(b); err != nil {
		return err
	}
	held := late && len(p.commands) > 1
	if patient {
		size := 17 + 5*(len(p.commands)-1) // the answer to the negotiation, and replies without payload
		if held {
			size -= 5
		}
		if len(p.commands) == 0 {
			size = 0
		}
		if _, err := io.ReadFull(mta, make([]byte, size)); err != nil {
			return fmt.Errorf("reading the replies: %w", err)
		}
	}
	cutHow[how](mta)
	select {
	case err := <-served:
		if err != nil {
			return fmt.Errorf("Serve returned %w, want none for a hang-up", err)
		}
	case <-time.After(20 * time.Second):
		return errors.New("the session did not end")
	}
	return s.judge(p, held, patient)
}

// judge checks the counts. Without patience the cut may be anywhere before.
func (s *cutSession) judge(p cutPoint, held, patient bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	mails, aborts := p.mails, 0
	if p.inMail {
		aborts = 1
	}
	if held && p.commands[len(p.commands)-1] == 'E' {
		mails, aborts = mails-1, 1
	}
	switch {
	case s.finished != 1 || s.after != 0:
		return fmt.Errorf("OnFinished ran %d times, %d events came after it", s.finished, s.after)
	case s.aborts > 1 || s.ends > mails:
		return fmt.Errorf("%d aborts, %d mails ended, want at most %d", s.aborts, s.ends, mails)
	case patient && (s.aborts != aborts || s.ends != mails):
		return fmt.Errorf("%d aborts, %d mails ended, want %d and %d", s.aborts, s.ends, aborts, mails)
	case patient && held && s.lateStarted != 1:
		return fmt.Errorf("%d late answers, want 1", s.lateStarted)
	}
	return nil
}

// TestCut cuts real connections at each point of a session, in each way, and
// looks for what is left of them.
func TestCut(t *testing.T) {
	n := 5
	switch {
	case long():
		n = 1000
	case testing.Short():
		n = 1
	}
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				if runtime.GOOS == "windows" {
					t.Skip("half a unix socket cannot be closed here")
				}
				address = filepath.Join(t.TempDir(), "s")
			}
			l, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			all := func(times int) (sessions int) {
				for _, p := range cutPoints {
					for how := range cutHow {
						for _, late := range []bool{false, true} {
							for i := range 2 * times {
								sessions++
								if err := p.play(l, how, late, i%2 == 0); err != nil {
									t.Errorf("%s, %s, late %v, patient %v: %v", p.name, how, late, i%2 == 0, err)
									return
								}
							}
						}
					}
				}
				return sessions
			}
			all(1) // what is made once
			before := takeStock(t)
			began := time.Now()
			sessions := all(n)
			t.Logf("%d sessions in %v", sessions, time.Since(began))
			before.compare(t)
		})
	}
}

// A stock is what a process has.
type stock struct {
	goroutines, descriptors int
	heap                    uint64
}

func takeStock(t *testing.T) stock {
	t.Helper()
	s := stock{goroutines: runtime.NumGoroutine()}
	if list, err := os.ReadDir("/proc/self/fd"); err == nil {
		s.descriptors = len(list)
	} else {
		t.Log("descriptors are not counted here: no /proc/self/fd")
	}
	runtime.GC()
	runtime.GC() // a second time for what finalizers let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.heap = m.HeapAlloc
	return s
}

// compare waits for up to five seconds until nothing is left.
func (s stock) compare(t *testing.T) {
	t.Helper()
	var now stock
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		now = takeStock(t)
		if now.goroutines <= s.goroutines && now.descriptors <= s.descriptors && now.heap < s.heap+1<<20 {
			return
		}
		if time.Now().After(deadline) {
			break
		}
	}
	t.Errorf("left are: %d of %d goroutines, %d of %d descriptors, %d bytes more than %d", now.goroutines, s.goroutines,
		now.descriptors, s.descriptors, int64(now.heap)-int64(s.heap), s.heap)
}
