package client_test

import (
	stdcontext "context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// The end comes from one to 50 goroutines in whatever phase, 10000 times in virtual
// time (a tenth of that with -short). A bubble that a goroutine survives panics.
func TestEndVirtually(t *testing.T) {
	t.Parallel()
	rounds := 10000
	if testing.Short() {
		rounds /= 10
		t.Logf("-short: %d rounds in place of 10000", rounds)
	}
	for i := range rounds {
		random := rand.New(rand.NewPCG(21, uint64(i)))
		synctest.Test(t, func(t *testing.T) { endVirtually(t, random) })
		if t.Failed() {
			t.Fatalf("round %d", i)
		}
	}
}

// The phases in which the end comes.
const (
	beforeListen = iota
	beforeRun
	inAccept
	withSilence // connections that say nothing
	inBackOff
	inMails
	inListenStarted
	inHandler
	phases
)

func endVirtually(t *testing.T, random *rand.Rand) {
	c, l := newFake(t, "/run/a", "/run/b")
	if random.IntN(3) == 0 {
		c.MaxConnections, c.RefuseAtLimit = 1, random.IntN(2) == 0
	}
	phase, number := random.IntN(phases), 1+random.IntN(3)
	if random.IntN(20) == 0 {
		number = 50
	}
	settle := func() {}
	if random.IntN(2) == 0 { // else it comes in the middle of things
		settle = synctest.Wait
	}
	var group sync.WaitGroup
	end := sync.OnceFunc(func() { endBy(t, c, number, &group) })
	in := func(p int) {
		if p == phase {
			end()
		}
	}
	c.OnListenStarted(func(net.Addr) { in(inListenStarted) })
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		takeMail(ctx)
		ctx.OnEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) protocol.Status {
			in(inHandler)
			return protocol.StatusContinue
		})
	})
	in(beforeListen)
	if phase == beforeRun {
		if err := c.Listen(); err != nil {
			t.Error(err)
		}
		end()
	}
	settle()
	done := goRun(c)
	settle()
	if phase == inBackOff {
		select {
		case l[0].errs <- syscall.EMFILE:
		case <-l[0].closed:
		}
	}
	connectSome(l, random.IntN(4), phase, &group)
	settle()
	end()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	group.Wait()
	for _, l := range l {
		select {
		case <-l.closed:
		default:
			t.Errorf("listener %s is open", l.name)
		}
	}
	if n := c.NumberOfProcessingSessions(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	if err := c.Listen(); !errors.Is(err, client.ErrClosed) {
		t.Errorf("Listen: %v", err)
	}
}

// endBy lets so many goroutines end c in different ways.
func endBy(t *testing.T, c *client.Client, number int, group *sync.WaitGroup) {
	for i := range number {
		group.Go(func() {
			ctx, cancel := stdcontext.WithTimeout(t.Context(), time.Duration(i%3+1)*time.Second)
			defer cancel()
			if i%2 == 1 {
				cancel()
			}
			switch err := c.Shutdown(ctx); {
			case i%5 == 4:
				_ = c.Close()
			case err != nil && !errors.Is(err, ctx.Err()):
				t.Errorf("Shutdown: %v", err)
			}
		})
	}
}

// connectSome opens connections, as many as are accepted, and lets them do what
// the phase is about.
func connectSome(l []*fakeListener, number, phase int, group *sync.WaitGroup) {
	say := offer
	switch phase {
	case inMails, inHandler:
		say = protocol.EnvelopeFrom{Path: "<>"}.Append(offer[:len(offer):len(offer)])
	case withSilence:
		say = nil
	}
	for i := range number {
		ours, theirs := net.Pipe()
		select {
		case l[i%2].accepted <- ours:
			group.Go(func() { (&mta{Conn: theirs}).say(say) })
			group.Go(func() { (&mta{Conn: theirs}).drain() }) // until it is hung up on
		case <-l[i%2].closed:
		case <-time.After(time.Millisecond): // the limit
		}
	}
}

// crowd is a client with many sessions over real sockets. What an MTA is told at
// end of message is two changes and a reply; the late ones wait for release.
type crowd struct {
	c       *client.Client
	paths   []string
	mtas    []*mta
	release chan struct{}
	wait    func() error
}

const crowdSize = 1000 // sessions; a quarter of each kind

// What a session of a crowd is doing, by its number modulo 4.
const (
	idle      = iota // has never sent a mail
	idleAgain        // has sent one
	inMail
	atEnd // has sent end-of-message and waits
)

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	c := newClient(t)
	c.Logger = nil
	path := filepath.Join(t.TempDir(), "s")
	if err := c.AddConnectionSpec("unix:" + path); err != nil {
		t.Fatal(err)
	}
	r := &crowd{c: c, paths: []string{path}, release: make(chan struct{})}
	var reached sync.WaitGroup
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		late := false
		ctx.OnEnvelopeFrom(func(_ *context.ClientContext, from string, _ protocol.Parameters) protocol.Status {
			late = from == "<late@example.com>"
			return protocol.StatusContinue
		})
		ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
			status := ctx.Check(errors.Join(ctx.AddHeader("X-First", "1"), ctx.AddHeader("X-Second", "2")))
			if !late {
				return status
			}
			reached.Done()
			return ctx.Later(func(mail stdcontext.Context) protocol.Status {
				select {
				case <-r.release:
				case <-mail.Done():
				}
				return status
			})
		})
	})
	r.wait = run(t, c)
	reached.Add(crowdSize / 4)
	for i := range crowdSize {
		m := dial(t, c.Addrs()[i/4%2])
		r.mtas = append(r.mtas, m)
		m.negotiate(t)
		switch i % 4 {
		case idleAgain:
			m.mail(t)
			if got, err := m.changes(); got != changed {
				t.Fatalf("at end of message came %q, %v", got, err)
			}
		case inMail:
			m.mail(t)
		case atEnd:
			if r, err := m.send(protocol.EnvelopeFrom{Path: "<late@example.com>"}); r != protocol.ReplyContinue || err != nil {
				t.Fatalf("reply to envelope-from is %v, %v", r, err)
			}
			if _, err := m.Write(protocol.EndOfMessage{}.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
	}
	reached.Wait()
	return r
}

// changed is what comes at the end of a crowd's message.
const changed = `reply.AddHeader{Name:"X-First", Value:"1"} reply.AddHeader{Name:"X-Second", Value:"2"} 'c'`

// changes sends end-of-message and returns what comes.
func (m *mta) changes() (string, error) {
	if _, err := m.Write(protocol.EndOfMessage{}.Append(nil)); err != nil {
		return "", err
	}
	return m.until(byte(protocol.ReplyContinue))
}

// until returns the packets up to one with a letter. The error says that there is
// no more, io.EOF that the last one was whole.
func (m *mta) until(letter byte) (string, error) {
	var got []string
	for {
		p, err := m.buffer.ReadPacket(m)
		if errors.Is(err, syscall.ECONNRESET) && m.buffer.Len() == 0 {
			err = io.EOF // something that was sent was not read any more
		}
		if err != nil {
			return strings.Join(got, " "), err
		}
		message, err := reply.Decode(p)
		if err != nil {
			return strings.Join(got, " "), err
		}
		if _, ok := message.(reply.Bare); ok {
			got = append(got, fmt.Sprintf("%q", p.Letter))
		} else {
			got = append(got, fmt.Sprintf("%#v", message))
		}
		if p.Letter == letter {
			return strings.Join(got, " "), nil
		}
	}
}

// gone checks that nothing is left of a client.
func (r *crowd) gone(t *testing.T, goroutines int) {
	t.Helper()
	if err := r.wait(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if n := r.c.NumberOfProcessingSessions(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	for _, path := range r.paths {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
	}
	for _, addr := range r.c.Addrs() {
		if conn, err := net.Dial(addr.Network(), addr.String()); err == nil {
			conn.Close()
			t.Errorf("somebody listens on %v", addr)
		}
	}
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// A thousand sessions end in an orderly way: idle ones at once, the others with
// all that is due to them and not a byte more or less.
func TestShutdownCrowd(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	r := newCrowd(t)
	ctx, cancel := stdcontext.WithTimeout(t.Context(), patience)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- r.c.Shutdown(ctx) }()
	for i, m := range r.mtas {
		if i%4 == idle || i%4 == idleAgain {
			m.hungUp(t) // while the others are at work
		}
	}
	if n := r.c.NumberOfProcessingSessions(); n < crowdSize/2 {
		t.Errorf("%d sessions are left while %d are in a mail", n, crowdSize/2)
	}
	close(r.release)
	for i, m := range r.mtas {
		got, err := changed, error(nil)
		switch i % 4 {
		case inMail:
			got, err = m.changes()
		case atEnd:
			got, err = m.until(byte(protocol.ReplyContinue))
		default:
			continue
		}
		if got != changed || err != nil {
			t.Fatalf("session %d: at end of message came %q, %v; want %q", i, got, err, changed)
		}
		m.hungUp(t)
	}
	if err := <-result; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	r.gone(t, goroutines)
}

// When the time is up the rest is cut off, some of it in the middle of its answers:
// an MTA gets all that belongs to a mail, or nothing.
func TestShutdownCrowdByForce(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	r := newCrowd(t)
	ctx, cancel := stdcontext.WithCancelCause(t.Context())
	result := make(chan error, 1)
	go func() { result <- r.c.Shutdown(deadline{ctx}) }()
	var group sync.WaitGroup
	var answered, cut [4]int
	var mu sync.Mutex
	start := make(chan struct{})
	for i, m := range r.mtas {
		group.Go(func() {
			<-start
			var got string
			var err error
			if i%4 == inMail {
				got, err = m.changes()
			}
			if err == nil {
				var more string
				more, err = m.until(0)
				got += more
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case got == changed && errors.Is(err, io.EOF):
				answered[i%4]++
			case got == "" && (errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)):
				cut[i%4]++
			default:
				t.Errorf("session %d got %q, %v; want %q or nothing", i, got, err, changed)
			}
		})
	}
	close(start)
	runtime.Gosched()
	close(r.release) // the late ones are being answered ...
	cancel(nil)      // ... when the time is up
	group.Wait()
	if err := <-result; !errors.Is(err, stdcontext.DeadlineExceeded) {
		t.Errorf("Shutdown: %v, want DeadlineExceeded", err)
	}
	t.Logf("answered %v, cut %v (idle, idle again, in a mail, at its end)", answered, cut)
	r.gone(t, goroutines)
}

// A deadline is a context whose time is up when the one in it is done.
type deadline struct{ stdcontext.Context }

func (d deadline) Err() error {
	if d.Context.Err() == nil {
		return nil
	}
	return stdcontext.DeadlineExceeded
}
