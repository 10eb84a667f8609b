package context_test

import (
	"bytes"
	"errors"
	"flag"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
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
		some, others := option.Step(dice(1<<21)), option.Step(dice(1<<21))
		l.steps = some & others & option.All().Steps
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
			if hold.Err() == nil {
				l.fail("a hold that outlives its event")
			}
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
