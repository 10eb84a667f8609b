package context_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// allNoReply lets the MTA await no reply but to the end of a message.
var allNoReply = func() (steps option.Step) {
	for _, s := range noReplyTo {
		steps |= s
	}
	return steps
}()

// A sequenceMode is what was negotiated and how the program answers all events.
type sequenceMode struct {
	steps  option.Step
	status protocol.Status
	late   bool // never, that is
}

// TestSequences plays all sequences of up to five commands, of all fifteen, and
// compares what happens after each command, and how the session ends, with the
// model: handlers, replies, ends of mails, in one order. What begins with a
// sequence that ends the session is the same for all, so it is tried by one more
// command of each kind. (TestOrder has its own model of the order, and tries more
// steps. This one knows about answers.)
func TestSequences(t *testing.T) {
	depth := 5
	if raceEnabled || testing.Short() {
		depth = 4 // the race detector takes ten times as long
	}
	table := newMayTable()
	modes := []sequenceMode{}
	for _, steps := range []option.Step{0, option.StepNoEnvelopeFrom, allNoReply, allNoReply | option.StepNoEnvelopeFrom} {
		for _, status := range []protocol.Status{
			protocol.StatusContinue, protocol.StatusReject, protocol.StatusTemporaryFailure, protocol.StatusAccept, protocol.StatusDiscard, protocol.StatusSkip,
		} {
			modes = append(modes, sequenceMode{steps, status, false})
		}
		modes = append(modes, sequenceMode{steps: steps, late: true})
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	total, played := 0, 0
	for _, mode := range modes {
		wg.Go(func() {
			s := &sequences{t: t, table: table, mode: mode}
			n := depth
			if mode.status != protocol.StatusContinue || mode.late {
				n-- // before a mail is decided its order is that of the first mode
			}
			s.walk(nil, n)
			for _, prefix := range []string{"OM", "OMR", "OMRT", "OMRL", "OMRLN", "OMRLNB", "OMRLNBE", "OCHMRU"} {
				s.walk([]byte(prefix), n-2)
			}
			mu.Lock()
			defer mu.Unlock()
			total, played = total+s.total, played+s.played
		})
	}
	wg.Wait()
	t.Logf("%d sequences in %d sessions, %d modes, up to %d commands", total, played, len(modes), depth)
}

type sequences struct {
	t             *testing.T
	table         *mayTable
	mode          sequenceMode
	total, played int
}

// walk plays prefix with all sequences of depth commands behind it.
func (s *sequences) walk(prefix []byte, depth int) {
	if depth <= 0 || s.t.Failed() {
		return
	}
	for _, c := range []byte(allLetters) {
		next := append(prefix[:len(prefix):len(prefix)], c)
		s.total++
		if depth > 1 && !s.ends(next) {
			s.walk(next, depth-1)
			continue // played with what comes behind it
		}
		if s.play(next); s.t.Failed() {
			return
		}
	}
}

// ends reports whether a sequence ends the session, by the model.
func (s *sequences) ends(commands []byte) bool {
	m := &liveModel{steps: s.mode.steps}
	for i, c := range commands {
		s.feed(m, c, i)
	}
	return m.ended
}

// feed lets the model have a command.
func (s *sequences) feed(m *liveModel, c byte, serial int) {
	if m.ended {
		return
	}
	p := &planned{c: c, serial: serial + 1, status: s.mode.status}
	if s.mode.late {
		p.how = howLate
	}
	m.queue = append(m.queue, p)
	m.run(s.table)
}

// play plays a sequence.
func (s *sequences) play(commands []byte) {
	s.played++
	l := &live{table: s.table}
	l.steps = s.mode.steps
	ctx := context.New(l, l.config())
	l.setup(ctx)
	var err error
	for i, c := range commands {
		wasEnded := l.ended
		s.feed(&l.liveModel, c, i)
		got := ctx.Feed(letters[c])
		switch {
		case wasEnded && !errors.Is(got, context.ErrFinished):
			l.fail("Feed after the end: %v", got)
		case !wasEnded:
			err = got
		}
		if l.compare(); l.fault != "" {
			s.t.Errorf("%s at %d, %+v: %s\nwant %s\ngot  %s", commands, i, s.mode, l.fault, l.want, l.got)
			return
		}
	}
	l.checkEnd(err)
	if l.ended { // nothing comes of what is sent behind the end
		before := bytes.Clone(l.got)
		for _, c := range []byte(allLetters) {
			if err := ctx.Feed(letters[c]); !errors.Is(err, context.ErrFinished) {
				l.fail("Feed of %c after the end: %v", c, err)
			}
		}
		if !bytes.Equal(before, l.got) {
			l.fail("after the end came %s", l.got[len(before):])
		}
	}
	if l.fault != "" {
		s.t.Errorf("%s, %+v: %s", commands, s.mode, l.fault)
	}
}

// checkEnd judges the error of the last Feed, and the cause.
func (l *live) checkEnd(err error) {
	switch {
	case l.illegal:
		if !errors.Is(err, context.ErrProtocol) || !errors.Is(causeOf(l.ctx), context.ErrProtocol) {
			l.fail("Feed returned %v, cause %v, want ErrProtocol", err, causeOf(l.ctx))
		}
	case l.ended:
		if err != nil || !errors.Is(causeOf(l.ctx), context.ErrFinished) {
			l.fail("Feed returned %v, cause %v, want none and ErrFinished", err, causeOf(l.ctx))
		}
	case err != nil || l.ctx.Err() != nil:
		l.fail("Feed returned %v, cause %v, want a session that lives", err, causeOf(l.ctx))
	}
	if next := l.ctx.Next(); (next != nil) != l.next {
		l.fail("a session follows: %v, want %v", next != nil, l.next)
	}
}
