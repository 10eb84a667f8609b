//go:build interop

package interop_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// A milter is ours, attached to one listener of an MTA. The cases of a listener
// run one after the other; each says what the sessions of the milter do.
type milter struct {
	spec string // where it listens, in the library's words

	mu     sync.Mutex
	client *client.Client
	setup  func(ctx *context.ClientContext)
	tune   func(c *client.Client)
	listen func(net.Listener) net.Listener // wraps the listener of a loopback port or unix socket
	ended  chan error
}

// newMilter starts a milter on a spec; port 0 chooses one.
func newMilter(t *testing.T, spec string) *milter {
	t.Helper()
	m := &milter{spec: spec}
	m.start(t)
	m.spec = client.SpecOf(m.client.Addrs()[0])
	t.Cleanup(m.kill)
	return m
}

// start lets it listen, with the settings of tune.
func (m *milter) start(t *testing.T) {
	t.Helper()
	c := client.New()
	c.Logger = slog.New(slog.DiscardHandler)
	c.UnixSocketMode = 0o666
	if m.tune != nil {
		m.tune(c)
	}
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		m.mu.Lock()
		setup := m.setup
		m.mu.Unlock()
		if setup != nil {
			setup(ctx)
		}
	})
	// A program that another test starts holds a copy of the old listener between
	// fork and exec, and with it the port.
	var err error
	eventually(t, "the milter's port is free again", func() bool {
		err = m.bind(c)
		return !errors.Is(err, syscall.EADDRINUSE)
	})
	if err != nil {
		t.Fatal(err)
	}
	m.client, m.ended = c, make(chan error, 1)
	go func() { m.ended <- c.Run() }()
}

// bind lets c listen on the milter's spec.
func (m *milter) bind(c *client.Client) error {
	spec, err := client.ParseSpec(m.spec)
	if err != nil {
		return err
	}
	if m.listen == nil {
		err = c.SetConnectionSpec(m.spec)
	} else if l, fault := net.Listen(spec.Network, spec.Address); fault != nil {
		err = fault
	} else {
		c.SetListener(m.listen(l))
		if spec.Network == "unix" {
			err = os.Chmod(spec.Address, 0o666)
		}
	}
	if err != nil {
		return err
	}
	return c.Listen()
}

// kill ends it and its sessions at once.
func (m *milter) kill() {
	if m.client == nil {
		return
	}
	_ = m.client.Close()
	<-m.ended
	m.client = nil
}

// with starts the milter anew with other settings, until the end of the case.
func (m *milter) with(t *testing.T, tune func(c *client.Client)) {
	t.Helper()
	m.kill()
	m.tune = tune
	m.start(t)
	t.Cleanup(func() {
		m.kill()
		m.tune = nil
		m.start(t)
	})
}

// idle waits for the end of all sessions.
func (m *milter) idle(t *testing.T) {
	t.Helper()
	if m.client == nil {
		return
	}
	eventually(t, "the milter's sessions end", func() bool { return m.client.NumberOfProcessingSessions() == 0 })
}

// use lets the sessions from now on be set up by setup, after a recorder of all
// events and errors.
func (m *milter) use(t *testing.T, setup func(ctx *context.ClientContext)) *record {
	t.Helper()
	r := m.only(t, func(ctx *context.ClientContext, r *record) {
		r.all(ctx)
		if setup != nil {
			setup(ctx)
		}
	})
	return r
}

// only is use without the handlers that subscribe to every event: setup decides
// what is negotiated.
func (m *milter) only(t *testing.T, setup func(ctx *context.ClientContext, r *record)) *record {
	t.Helper()
	m.idle(t)
	r := new(record)
	m.mu.Lock()
	m.setup = func(ctx *context.ClientContext) {
		ctx.OnError(func(_ *context.ClientContext, err error) { r.fault(err) })
		ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status {
			r.add("A")
			return protocol.StatusNotChange
		})
		ctx.OnMessageProcessed(func(_ *context.ClientContext, result *context.MessageResult) { r.result(result) })
		ctx.OnFinished(func(*context.ClientContext) { r.add("F") })
		setup(ctx, r)
	}
	m.mu.Unlock()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("events: %s\nerrors: %v", r, r.errors())
		}
	})
	return r
}

// A record is what the sessions of a case have seen: a word for each event, the
// letter of its command.
type record struct {
	mu      sync.Mutex
	words   []string
	faults  []error
	results []*context.MessageResult
}

func (r *record) add(word string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.words = append(r.words, word)
}

func (r *record) fault(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, err)
}

func (r *record) result(result *context.MessageResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

func (r *record) errors() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]error(nil), r.faults...)
}

func (r *record) messages() []*context.MessageResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*context.MessageResult(nil), r.results...)
}

// String returns the words; those of one letter that are repeated are said once.
func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for i, w := range r.words {
		if i == 0 || w != r.words[i-1] || len(w) != 1 || strings.Contains("MEAF", w) {
			out = append(out, w)
		}
	}
	if out == nil {
		return "nothing"
	}
	return strings.Join(out, " ")
}

func (r *record) count(word string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.words {
		if w == word {
			n++
		}
	}
	return n
}

// saw compares the words with those that should have come.
func (r *record) saw(t *testing.T, want string) {
	t.Helper()
	if got := r.String(); got != want {
		t.Errorf("events:\nwant %s\ngot  %s", want, got)
	}
}

// clean fails if the sessions had errors.
func (r *record) clean(t *testing.T) {
	t.Helper()
	for _, err := range r.errors() {
		t.Errorf("OnError: %v", err)
	}
}

// all records every event of a session.
func (r *record) all(ctx *context.ClientContext) {
	see := func(word string) protocol.Status {
		r.add(word)
		return protocol.StatusNotChange
	}
	ctx.OnConnect(func(*context.ClientContext, string, net.Addr) protocol.Status { return see("C") })
	ctx.OnHelo(func(*context.ClientContext, string) protocol.Status { return see("H") })
	ctx.OnEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) protocol.Status { return see("M") })
	ctx.OnEnvelopeRecipient(func(*context.ClientContext, string, protocol.Parameters) protocol.Status { return see("R") })
	ctx.OnData(func(*context.ClientContext) protocol.Status { return see("T") })
	ctx.OnUnknown(func(*context.ClientContext, string) protocol.Status { return see("U") })
	ctx.OnHeader(func(*context.ClientContext, string, string) protocol.Status { return see("L") })
	ctx.OnEndOfHeader(func(*context.ClientContext) protocol.Status { return see("N") })
	ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status { return see("B") })
	ctx.OnEndOfMessage(func(*context.ClientContext, []byte) protocol.Status { return see("E") })
}

// watch is all with handlers that only look, but at the end of a message.
func (r *record) watch(ctx *context.ClientContext) {
	ctx.WatchConnect(func(*context.ClientContext, string, net.Addr) { r.add("C") })
	ctx.WatchHelo(func(*context.ClientContext, string) { r.add("H") })
	ctx.WatchUnknown(func(*context.ClientContext, string) { r.add("U") })
	ctx.WatchEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) { r.add("M") })
	ctx.WatchEnvelopeRecipient(func(*context.ClientContext, string, protocol.Parameters) { r.add("R") })
	ctx.WatchData(func(*context.ClientContext) { r.add("T") })
	ctx.WatchHeader(func(*context.ClientContext, string, string) { r.add("L") })
	ctx.WatchEndOfHeader(func(*context.ClientContext) { r.add("N") })
	ctx.WatchBody(func(*context.ClientContext, []byte) { r.add("B") })
	ctx.OnEndOfMessage(func(*context.ClientContext, []byte) protocol.Status {
		r.add("E")
		return protocol.StatusNotChange
	})
}

// events are those whose handlers return a status, in the order of a session.
var events = []string{"connect", "helo", "unknown", "envelope-from", "envelope-recipient", "data", "header", "end-of-header", "body", "end-of-message"}

// at registers f for an event by its name.
func at(ctx *context.ClientContext, event string, f func(ctx *context.ClientContext) protocol.Status) {
	switch event {
	case "connect":
		ctx.OnConnect(func(ctx *context.ClientContext, _ string, _ net.Addr) protocol.Status { return f(ctx) })
	case "helo":
		ctx.OnHelo(func(ctx *context.ClientContext, _ string) protocol.Status { return f(ctx) })
	case "unknown":
		ctx.OnUnknown(func(ctx *context.ClientContext, _ string) protocol.Status { return f(ctx) })
	case "envelope-from":
		ctx.OnEnvelopeFrom(func(ctx *context.ClientContext, _ string, _ protocol.Parameters) protocol.Status { return f(ctx) })
	case "envelope-recipient":
		ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, _ string, _ protocol.Parameters) protocol.Status { return f(ctx) })
	case "data":
		ctx.OnData(f)
	case "header":
		ctx.OnHeader(func(ctx *context.ClientContext, _, _ string) protocol.Status { return f(ctx) })
	case "end-of-header":
		ctx.OnEndOfHeader(f)
	case "body":
		ctx.OnBody(func(ctx *context.ClientContext, _ []byte) protocol.Status { return f(ctx) })
	case "end-of-message":
		ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status { return f(ctx) })
	default:
		panic(fmt.Sprintf("no event %q", event))
	}
}
