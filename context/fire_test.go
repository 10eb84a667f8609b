package context_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// fireGoroutines is how many goroutines do at once what a program may do.
const fireGoroutines = 100

// TestFire lets a hundred goroutines answer, change the mail, tell progress and
// set replies, while the body is replaced in pieces: on the wire is one answer,
// the last packet, and before it whole changes, the body's in one run and in
// order. A change that came too late says so, and is not on the wire.
func TestFire(t *testing.T) {
	rounds := 40
	switch {
	case long():
		rounds = 10_000
	case testing.Short():
		rounds = 5
	}
	for _, size := range []int{0, 100, 1 << 20} { // of the packet buffer
		config := forever()
		config.PacketBufferSize = size
		w := &lockedBuffer{}
		ctx := context.New(w, config)
		ctx.OnEndOfMessage(func(*context.ClientContext, []byte) protocol.Status { return protocol.StatusProgress })
		ctx.OnError(func(_ *context.ClientContext, err error) { t.Errorf("OnError: %v", err) })
		if err := ctx.Feed(negotiateMsg.Append(nil)); err != nil {
			t.Fatal(err)
		}
		for round := range rounds {
			w.take()
			if err := ctx.Feed(eomMsg.Append(nil)); err != nil {
				t.Fatal(err)
			}
			done := fire(t, ctx, uint64(round))
			if err := judgeFire(w.take(), done); err != nil {
				t.Fatalf("packet buffer %d, round %d: %v", size, round, err)
			}
		}
		_ = ctx.Close()
	}
}

func (b *lockedBuffer) take() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := bytes.Clone(b.b.Bytes())
	b.b.Reset()
	return p
}

// fired is what calls returned nil.
type fired struct {
	answers, headers, recipients, progress, quarantines atomic.Int32
	pieces                                              atomic.Int32
}

// piece is the n-th piece of the new body, a little more than what makes the
// packet buffer of 100 bytes overflow.
func piece(n int) []byte { return []byte(strings.Repeat(string(rune('a'+n)), 60)) }

// fire does it all at once.
func fire(t *testing.T, ctx *context.ClientContext, seed uint64) *fired {
	t.Helper()
	done := &fired{}
	begin := make(chan struct{})
	var wg sync.WaitGroup
	count := func(err error, n *atomic.Int32) {
		switch {
		case err == nil:
			n.Add(1)
		case !errors.Is(err, context.ErrNoReplyDue) && !errors.Is(err, context.ErrInvalidState):
			t.Errorf("error %v, want one that says that it is too late", err)
		}
	}
	late := ctx.Late()
	for i := range fireGoroutines {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			<-begin
			if i == 0 { // one replaces the body, as a program would
				for n := range 20 {
					count(ctx.ReplaceBody(piece(n)), &done.pieces)
				}
				return
			}
			for range 5 + random.IntN(10) {
				switch random.IntN(8) {
				case 0, 1:
					count(ctx.AddHeader("X", "header"), &done.headers)
				case 2:
					count(late.InsertHeader(1, "X", "header"), &done.headers)
				case 3:
					count(ctx.AddRecipient("<a@example.com>", ""), &done.recipients)
				case 4:
					count(ctx.Progress(), &done.progress)
				case 5:
					if err := ctx.SetReply(550, "5.7.1", "fire\nat will"); err != nil {
						t.Error(err)
					}
				case 6:
					count(ctx.Quarantine("fire"), &done.quarantines)
				case 7:
					_ = ctx.MessageResult()
				}
			}
			status := []protocol.Status{protocol.StatusReject, protocol.StatusAccept, protocol.StatusContinue}[i%3]
			if i%2 == 0 {
				count(late.Respond(status), &done.answers)
			} else {
				count(ctx.EndOfMessageResponse(status), &done.answers)
			}
		})
	}
	close(begin)
	wg.Wait()
	return done
}

// judgeFire is a strict reader of one end of message.
func judgeFire(wire []byte, done *fired) error {
	var in protocol.Buffer
	_, _ = in.Write(wire)
	var n fired
	var body []byte
	bodies := 0 // runs of pieces
	last := byte(0)
	for {
		p, ok, err := in.Next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		m, err := reply.Decode(p)
		if err != nil {
			return err
		}
		if n.answers.Load() > 0 {
			return errors.New("something comes after the answer: " + show(p))
		}
		switch m := m.(type) {
		case reply.AddHeader, reply.InsertHeader:
			n.headers.Add(1)
		case reply.AddRecipient:
			n.recipients.Add(1)
		case reply.Quarantine:
			n.quarantines.Add(1)
		case reply.ReplaceBody:
			if last != 'b' {
				bodies++
			}
			body = append(body, m.Chunk...)
		case reply.ReplyCode:
			if m.SMTP.String() != "550-5.7.1 fire\r\n550 5.7.1 at will" {
				return errors.New("reply " + m.SMTP.String())
			}
			n.answers.Add(1)
		case reply.Bare:
			switch byte(m) {
			case 'p':
				n.progress.Add(1)
			case 'a', 'c', 'r':
				n.answers.Add(1)
			default:
				return errors.New("reply " + show(p))
			}
		}
		last = p.Letter
	}
	var want []byte
	for i := range int(done.pieces.Load()) {
		want = append(want, piece(i)...)
	}
	switch {
	case in.Len() > 0:
		return errors.New("a part of a packet at the end")
	case n.answers.Load() != 1 || done.answers.Load() != 1:
		return errors.New("not exactly one answer, or not exactly one that says so")
	case bodies > 1:
		return errors.New("the body comes in several runs")
	case !bytes.Equal(body, want):
		return errors.New("the body is not what ReplaceBody took: " + string(body))
	case n.headers.Load() != done.headers.Load() || n.recipients.Load() != done.recipients.Load():
		return errors.New("the changes on the wire are not those that said that they were made")
	case n.quarantines.Load() != min(done.quarantines.Load(), 1):
		return errors.New("the quarantine is missing, or one too many")
	case n.progress.Load() > done.progress.Load():
		return errors.New("more progress than calls") // within the body it is an empty piece
	}
	return nil
}

// TestManyResponses: a hundred goroutines answer each event of many; one of them
// wins, and one reply is on the wire; in ten thousand rounds, or fewer under the race
// detector.
func TestManyResponses(t *testing.T) {
	rounds := 10_000
	switch {
	case long():
		rounds = 100_000
	case raceEnabled || testing.Short():
		rounds = 500
	}
	w := &lockedBuffer{}
	ctx := context.New(w, forever())
	ctx.OnHelo(func(*context.ClientContext, string) protocol.Status { return protocol.StatusProgress })
	if err := ctx.Feed(negotiateMsg.Append(nil)); err != nil {
		t.Fatal(err)
	}
	w.take()
	var won atomic.Int32
	for round := range rounds {
		if err := ctx.Feed(letters['H']); err != nil {
			t.Fatal(err)
		}
		begin := make(chan struct{})
		var wg sync.WaitGroup
		for range fireGoroutines {
			wg.Go(func() {
				<-begin
				switch err := ctx.HeloResponse(protocol.StatusContinue); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, context.ErrNoReplyDue):
					t.Errorf("response: %v", err)
				}
			})
		}
		close(begin)
		wg.Wait()
		if n, wire := won.Swap(0), w.take(); n != 1 || !bytes.Equal(wire, []byte("\x00\x00\x00\x01c")) {
			t.Fatalf("round %d: %d won, wire %q, want one reply", round, n, wire)
		}
	}
}
