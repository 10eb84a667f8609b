package context_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

var (
	liveSessions = flag.Int("sessions", 0, "how many random sessions TestLive plays; 0 is the short form, or 1,000,000 with MILTER_LONG=1")
	liveSeed     = flag.Uint64("live-seed", 1, "the seed of TestLive")
)

// long reports whether the long form of a test is asked for.
func long() bool { return os.Getenv("MILTER_LONG") == "1" }

// A live session is played by dice: commands of an MTA, mostly legal ones, in any
// pieces, and a program that answers them in every way. What happens is compared
// with what the model says.
type live struct {
	liveModel
	table *mayTable
	dice  func(n int) int // a number below n

	ctx   *context.ClientContext
	send  func([]byte) // to the session
	wait  func()       // until nothing moves
	later bool         // late answers come from goroutines of their own

	sent    []byte // the letters of the commands, d before those with macros
	serial  int
	got     []byte
	gotTags []int
	fault   string // the first

	holds []*context.Late // some over, some not
	held  *context.Late   // of what is due
	buf   []byte
	plans []planned
}

func (l *live) fail(format string, args ...any) {
	if l.fault == "" {
		l.fault = fmt.Sprintf(format, args...)
	}
}

// Write is the wire, judged: whole packets, of which each that carries text
// carries a serial.
func (l *live) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		if len(rest) < 5 || binary.BigEndian.Uint32(rest)-1 > uint32(len(rest)-5) {
			l.fail("a packet in pieces: %q", b)
			break
		}
		n := 4 + int(binary.BigEndian.Uint32(rest))
		letter, payload := rest[4], rest[5:n]
		rest = rest[n:]
		l.got = append(l.got, letter)
		switch letter {
		case 'c', 'a', 'r', 't', 'd', 's', 'p':
			if len(payload) > 0 {
				l.fail("payload %q of %c", payload, letter)
			}
		case 'O':
			if len(payload) != 12 {
				l.fail("an answer to the negotiation of %d bytes", len(payload))
			}
		case 'y', 'h', 'i', 'm', '+', '-', 'b', 'q':
			from := bytes.LastIndexByte(payload, '#')
			to := from + 1
			for to < len(payload) && '0' <= payload[to] && payload[to] <= '9' {
				to++
			}
			serial, err := strconv.Atoi(string(payload[from+1 : to]))
			if err != nil {
				l.fail("no serial in %c %q", letter, payload)
			}
			l.gotTags = append(l.gotTags, serial)
			if letter != 'b' && payload[len(payload)-1] != 0 {
				l.fail("no NUL at the end of %c %q", letter, payload)
			}
			if letter == 'y' && (len(payload) < 5 || payload[0] != '4' && payload[0] != '5' || payload[3] != ' ') {
				l.fail("an SMTP reply out of form: %q", payload)
			}
		default:
			l.fail("an unknown reply %q", letter)
		}
	}
	return len(b), nil
}

// newLive negotiates a session that serves nobody yet.
func newLive(table *mayTable, dice func(int) int) *live {
	l := &live{table: table, dice: dice}
	l.actions = option.AllActions * option.Action(min(dice(5), 1))
	switch dice(6) {
	case 0: // nothing negotiated away
	case 1:
		l.steps = option.StepNoEnvelopeFrom
	case 2:
		l.steps = option.NoEventSteps
	case 3: // no reply to anything
		l.steps = option.StepNoReplyConnect | option.StepNoReplyHelo | option.StepNoReplyEnvelopeFrom | option.StepNoReplyEnvelopeRecipient |
			option.StepNoReplyData | option.StepNoReplyUnknown | option.StepNoReplyHeader | option.StepNoReplyEndOfHeader | option.StepNoReplyBody
	default:
		l.steps = option.Step(dice(1<<21)) & option.Step(dice(1<<21)) & option.All().Steps
	}
	l.steps &^= option.StepHeaderValueWithLeadingSpace
	l.direct = dice(2) == 0
	return l
}

func (l *live) config() context.Config {
	config := context.Config{Logger: slog.New(slog.DiscardHandler), PacketBufferSize: 1 << 16}
	if l.direct {
		config.PacketBufferSize = 0
	}
	return config
}

// setup registers the program.
func (l *live) setup(ctx *context.ClientContext) {
	l.ctx = ctx
	ctx.OnNegotiate(func(_ *context.ClientContext, offer *option.Option, _ *option.MacroRequests) protocol.Status {
		offer.Actions, offer.Steps = l.actions, l.steps
		return protocol.StatusContinue
	})
	ctx.OnConnect(func(*context.ClientContext, string, netAddr) protocol.Status { return l.call('C') })
	ctx.OnHelo(func(*context.ClientContext, string) protocol.Status { return l.call('H') })
	ctx.OnEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) protocol.Status { return l.call('M') })
	ctx.OnEnvelopeRecipient(func(*context.ClientContext, string, protocol.Parameters) protocol.Status { return l.call('R') })
	ctx.OnData(func(*context.ClientContext) protocol.Status { return l.call('T') })
	ctx.OnUnknown(func(*context.ClientContext, string) protocol.Status { return l.call('U') })
	ctx.OnHeader(func(*context.ClientContext, string, string) protocol.Status { return l.call('L') })
	ctx.OnEndOfHeader(func(*context.ClientContext) protocol.Status { return l.call('N') })
	ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status { return l.call('B') })
	ctx.OnEndOfMessage(func(*context.ClientContext, []byte) protocol.Status { return l.call('E') })
	ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status {
		l.got = append(l.got, '!')
		return protocol.StatusReject // means nothing
	})
	ctx.OnMessageProcessed(l.processed)
	ctx.OnError(func(*context.ClientContext, error) { l.got = append(l.got, '#') })
	ctx.OnFinished(func(*context.ClientContext) { l.got = append(l.got, '$') })
}

// note is what a program keeps for a mail.
type note struct{ of int }

// call is what every handler does.
func (l *live) call(c byte) protocol.Status {
	l.got = append(l.got, c)
	if len(l.calls) == 0 || l.calls[0].c != c {
		l.fail("a handler of %c that the model does not know of", c)
		return protocol.StatusContinue
	}
	p, ctx := l.calls[0], l.ctx
	l.calls = l.calls[1:]
	l.look(p)
	if p.code != 0 {
		if err := ctx.SetReply(p.code, "", "#"+strconv.Itoa(p.serial)); err != nil {
			l.fail("SetReply: %v", err)
		}
	}
	l.change(p)
	switch p.how {
	case howReturn:
		return p.status
	case howResponse, howOverrule:
		l.respond(p, nil)
		if p.how == howOverrule {
			return protocol.StatusAccept
		}
	case howLate:
		l.held = ctx.Late()
		l.holds = append(l.holds, l.held)
	case howPanic:
		panic("live")
	}
	return protocol.StatusProgress
}

// look sees what belongs to the mail, and nothing of another.
func (l *live) look(p *planned) {
	ctx := l.ctx
	if got := ctx.FormatReply(); got != "" {
		l.fail("%c %d begins with the reply %q", p.c, p.serial, got)
	}
	if p.of == 0 {
		return
	}
	n := context.PerMessage[note](ctx)
	value, ok := ctx.ShelfValue("of")
	if p.first {
		if ok || n.of != 0 {
			l.fail("the mail of %d begins with the shelf %q and the note %v", p.of, value, n)
		}
		n.of = p.of
		ctx.SetShelfValue("of", strconv.Itoa(p.of))
	} else if n.of != p.of || value != strconv.Itoa(p.of) {
		l.fail("the mail of %d has the shelf %q and the note %v", p.of, value, n)
	}
	if value, ok := ctx.LookupMacro("i"); ok && (knownFaults || !l.steps.Has(option.StepNoEnvelopeFrom)) {
		if serial, err := strconv.Atoi(value); err != nil || serial < p.of {
			l.fail("the mail of %d sees the macro %q", p.of, value)
		}
	}
	if got := ctx.QuarantineReason(); got != "" {
		l.fail("the quarantine reason %q before the handler", got)
	}
}

// change tries what p says.
func (l *live) change(p *planned) {
	ctx := l.ctx
	text := "#" + strconv.Itoa(p.serial)
	var want error
	switch {
	case len(p.tries) == 0 && !p.reason:
		return
	case p.c != 'E':
		want = context.ErrInvalidState
	case l.actions == 0:
		want = context.ErrInvalidAction
	}
	for _, letter := range p.tries {
		var err error
		switch letter {
		case 'h':
			err = ctx.AddHeader("X", text)
		case 'i':
			err = ctx.InsertHeader(1, "X", text)
		case 'm':
			err = ctx.ChangeHeader("X", 1, text)
		case '+':
			err = ctx.AddRecipient(text, "")
		case '-':
			err = ctx.DeleteRecipient(text)
		case 'b':
			err = ctx.ReplaceBody([]byte(text))
		case 'p':
			if err = ctx.Progress(); p.c == 'E' && err == nil {
				continue
			}
		}
		if !errors.Is(err, want) || want == nil && err != nil {
			l.fail("change %c at %c: %v, want %v", letter, p.c, err, want)
		}
	}
	if p.reason {
		if err := ctx.Quarantine(text); !errors.Is(err, want) || want == nil && err != nil {
			l.fail("quarantine at %c: %v, want %v", p.c, err, want)
		}
	}
}

// respond answers p by its Response call, or by its Late.
func (l *live) respond(p *planned, hold *context.Late) {
	do := func(status protocol.Status) error {
		if hold != nil {
			return hold.Respond(status)
		}
		return responses[p.c](l.ctx, status)
	}
	err := do(p.status)
	var want error
	if !allowedAt(p.c, p.status) || l.noReply(p.c) && !endsMail(p.c, p.status) && !p.status.IsPass() && p.status != protocol.StatusNoReply && p.status != protocol.StatusSkip {
		want = context.ErrInvalidStatus
	}
	if !errors.Is(err, want) || want == nil && err != nil {
		l.fail("response %v at %c: %v, want %v", p.status, p.c, err, want)
	}
	// A second Response call would answer the next event of its kind, if one waits.
	if p.again && (hold != nil || l.due == nil || l.due.c != p.c) {
		if err := do(protocol.StatusReject); !errors.Is(err, context.ErrNoReplyDue) && !errors.Is(err, context.ErrFinished) {
			l.fail("a second response at %c: %v", p.c, err)
		}
	}
}

var responses = func() (r [256]func(*context.ClientContext, protocol.Status) error) {
	for _, e := range events() {
		r[byte(e.command)] = e.respond
	}
	return r
}()

func (l *live) processed(ctx *context.ClientContext, r *context.MessageResult) {
	l.got = append(l.got, '.')
	if len(l.mails) == 0 {
		l.fail("the end of a mail that the model does not know of")
		return
	}
	want := l.mails[0]
	l.mails = l.mails[1:]
	from := 0
	if r.From != "" {
		from, _ = strconv.Atoi(r.From[1 : len(r.From)-1])
	}
	if from != 0 && from != want.start || len(r.Headers) != want.headers || r.Status != want.status || r.End.IsZero() {
		l.fail("the mail of %d ended as that of %d, with %d headers, want %d, and %v, want %v", want.start, from, len(r.Headers), want.headers, r.Status, want.status)
	}
	for _, h := range r.AddedHeaders {
		if serial, err := strconv.Atoi(h.Value[1:]); err != nil || serial < want.start {
			l.fail("the mail of %d has the added header %q", want.start, h.Value)
		}
	}
}

var liveStatuses = [...]protocol.Status{
	protocol.StatusContinue, protocol.StatusContinue, protocol.StatusContinue, protocol.StatusContinue, protocol.StatusContinue, protocol.StatusContinue,
	protocol.StatusDefault, protocol.StatusNotChange, protocol.StatusNoReply, protocol.StatusReject, protocol.StatusTemporaryFailure,
	protocol.StatusAccept, protocol.StatusDiscard, protocol.StatusSkip, protocol.StatusAllOptions, protocol.StatusQuarantine, 99, -1,
}

// plan throws a command and what will be done about it.
func (l *live) plan(letters string) *planned {
	l.serial++
	if len(l.plans) == cap(l.plans) {
		l.plans = make([]planned, 0, 64)
	}
	l.plans = append(l.plans, planned{serial: l.serial})
	p := &l.plans[len(l.plans)-1]
	for range 6 {
		p.c = letters[l.dice(len(letters))]
		if bytes.IndexByte([]byte("AD"), p.c) >= 0 || l.table.may(l.steps, l.state, p.c) || l.decided && position(p.c) > 0 || l.dice(40) == 0 {
			break
		}
		p.c = 'A' // always legal
	}
	p.status = liveStatuses[l.dice(len(liveStatuses))]
	r := l.dice(64)
	p.how = []int{howReturn, howReturn, howReturn, howReturn, howReturn, howResponse, howOverrule, howLate}[r%8]
	if r == 0 && l.dice(4) == 0 {
		p.how = howPanic
	}
	p.again = r >= 32
	switch l.dice(6) {
	case 0:
		p.code = 550
	case 1:
		p.code = 451
	}
	if p.c == 'E' || r == 63 {
		for range l.dice(4) {
			p.tries = append(p.tries, "him+-bp"[l.dice(7)])
		}
		if i := bytes.IndexByte(p.tries, 'b'); i >= 0 { // a progress within the body is another packet
			p.tries = append(p.tries[:i:i], 'b', 'h')
		}
		p.reason = l.dice(4) == 0
	}
	return p
}

// encode appends what the MTA sends for p, with macros before it or not.
func (l *live) encode(dst []byte, p *planned) []byte {
	if bytes.IndexByte([]byte("MRE"), p.c) >= 0 && l.dice(2) == 0 {
		l.sent = append(l.sent, 'd')
		dst = protocol.AppendPacket(dst, 'D', append([]byte{p.c, 'i', 0}, strconv.Itoa(p.serial)+"\x00"...))
	}
	if l.sent = append(l.sent, p.c); p.c == 'M' {
		return protocol.EnvelopeFrom{Path: "<" + strconv.Itoa(p.serial) + ">"}.Append(dst)
	}
	return append(dst, letters[p.c]...)
}

// step does one thing: the MTA sends something, or the program answers late.
func (l *live) step() {
	switch r := l.dice(16); {
	case l.due != nil && r < 10:
		l.answerLate()
	case r == 15 && len(l.holds) > 0:
		// A goroutine that has outlived its event.
		if hold := l.holds[l.dice(len(l.holds))]; hold != l.held || l.due == nil {
			if err := hold.Respond(protocol.StatusReject); !errors.Is(err, context.ErrNoReplyDue) && !errors.Is(err, context.ErrFinished) {
				l.fail("a response by a hold that is over: %v", err)
			}
			_ = hold.AddHeader("X", "stale")
			_ = hold.SetReply(550, "", "stale")
		}
	case r == 14 && l.due == nil:
		for _, respond := range responses {
			if respond != nil {
				if err := respond(l.ctx, protocol.StatusReject); !errors.Is(err, context.ErrNoReplyDue) && !errors.Is(err, context.ErrFinished) {
					l.fail("a response that nobody waits for: %v", err)
				}
			}
		}
	default:
		l.sendSome()
	}
	l.wait()
	l.compare()
}

func (l *live) answerLate() {
	p := l.due
	l.liveModel.pay(p)
	l.run(l.table)
	hold := l.held
	l.held = nil // the next event may have its own before the answer returns
	if l.dice(2) == 0 {
		hold = nil
	}
	if l.later {
		var done sync.WaitGroup
		done.Go(func() { l.respond(p, hold) })
		done.Wait()
		return
	}
	l.respond(p, hold)
}

func (l *live) sendSome() {
	l.buf = l.buf[:0]
	for range 1 + l.dice(4) {
		p := l.plan("MRRTLNBBEECHUAKQ"[:16-l.dice(4)])
		l.buf = l.encode(l.buf, p)
		l.queue = append(l.queue, p)
		if l.run(l.table); l.ended {
			break
		}
	}
	for b := l.buf; len(b) > 0; {
		n := len(b)
		if l.dice(3) == 0 {
			n = 1 + l.dice(n)
		}
		l.send(b[:n])
		b = b[n:]
	}
}

func (l *live) compare() {
	if !bytes.Equal(l.want, l.got) {
		l.fail("another trace")
	}
	if len(l.tags) != len(l.gotTags) {
		l.fail("%d texts on the wire, want %d", len(l.gotTags), len(l.tags))
		return
	}
	for i, serial := range l.tags {
		if l.gotTags[i] != serial {
			l.fail("the text of %d on the wire, want that of %d", l.gotTags[i], serial)
		}
	}
	if len(l.calls) > 0 && l.fault == "" {
		l.fail("the handler of %c was not called", l.calls[0].c)
	}
}

// play plays a session to its end, and those after it on the same connection.
func (l *live) play(steps int, hangUp func()) {
	p := &planned{c: 'O', serial: 0}
	l.queue = append(l.queue, p)
	l.run(l.table)
	l.send(letters['O'])
	l.wait()
	for range steps {
		if l.step(); l.ended || l.fault != "" {
			break
		}
	}
	if !l.ended {
		if l.dice(4) == 0 { // cut in a packet
			l.send(letters['M'][:1+l.dice(len(letters['M'])-1)])
		}
		l.liveModel.end()
		hangUp()
		l.wait()
		l.compare()
	}
	if l.fault == "" {
		_ = l.ctx.Close()
		if err := l.ctx.EndOfMessageResponse(protocol.StatusContinue); !errors.Is(err, context.ErrFinished) {
			l.fail("a response after the end: %v", err)
		}
		for _, hold := range l.holds {
			if hold.Err() == nil {
				l.fail("a hold that outlives the session")
			}
		}
		l.compare()
	}
}

// playFed plays a session without a connection.
func playFed(table *mayTable, dice func(int) int) *live {
	l := newLive(table, dice)
	l.setup(context.New(l, l.config()))
	l.send = func(b []byte) { _ = l.ctx.Feed(b) }
	l.wait = func() {}
	l.play(4+dice(20), func() { _ = l.ctx.Close() })
	if l.next && l.fault == "" {
		l.follow()
	}
	return l
}

// follow plays the session that follows a quit-new-connection.
func (l *live) follow() {
	next := l.ctx.Next()
	if next == nil {
		l.fail("no session follows the quit-new-connection")
		return
	}
	l.liveModel = liveModel{steps: l.steps, actions: l.actions, direct: l.direct, state: 'O', queue: l.queue}
	l.got, l.gotTags, l.held = nil, nil, nil
	l.setup(next)
	l.run(l.table) // what came behind the quit
	_ = next.Feed(nil)
	l.compare()
	for range 8 {
		if l.ended || l.fault != "" {
			return
		}
		l.step()
	}
	if l.ended {
		return
	}
	l.liveModel.end()
	_ = next.Close()
	l.compare()
}

// TestLive plays random sessions. With a seed and a number a failure says how it
// is repeated.
func TestLive(t *testing.T) {
	n := *liveSessions
	switch {
	case n > 0:
	case long():
		n = 1_000_000
	case raceEnabled || testing.Short():
		n = 5_000
	default:
		n = 40_000
	}
	table := newMayTable()
	began := time.Now()
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	var mu sync.Mutex
	var commands, mails int
	for w := range workers {
		wg.Go(func() {
			source := rand.NewPCG(0, 0)
			random := rand.New(source)
			sent, ended := 0, 0
			for i := w; i < n && !t.Failed(); i += workers {
				source.Seed(*liveSeed, uint64(i))
				l := playFed(table, random.IntN)
				if l.fault != "" {
					t.Errorf("session %d of seed %d, commands %s, steps %v, changes at once: %v: %s\nwant %s\ngot  %s", i, *liveSeed, l.sent, l.steps, l.direct, l.fault, l.want, l.got)
					return
				}
				sent += l.serial
				ended += bytes.Count(l.got, []byte{'.'})
			}
			mu.Lock()
			defer mu.Unlock()
			commands, mails = commands+sent, mails+ended
		})
	}
	wg.Wait()
	took := time.Since(began)
	t.Logf("%d sessions, %d commands, %d mails, in %v: %.0f sessions/s", n, commands, mails, took, float64(n)/took.Seconds())
	if mails < n/2 && !t.Failed() {
		t.Errorf("only %d mails in %d sessions: the dice are loaded", mails, n)
	}
}

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
