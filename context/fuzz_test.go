package context_test

import (
	"bytes"
	stdcontext "context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// seeds are real sessions: what Postfix and Sendmail send.
func seeds() [][]byte {
	encode := func(messages ...protocol.Message) []byte {
		var b []byte
		for _, m := range messages {
			b = m.Append(b)
		}
		return b
	}
	postfix := []protocol.Message{
		negotiateMsg, macros('C', "j", "mx"), connectMsg, macros('H'), heloMsg, macros('M', "i", ""), mailMsg, macros('R', "i", "Q1"), rcptMsg, rcptMsg,
		macros('T', "i", "Q1"), dataMsg, macros('L', "i", "Q1"), headerMsg, headerMsg, macros('N'), eohMsg, macros('B'), bodyMsg, bodyMsg, macros('E', "i", "Q1"), eomMsg,
	}
	sendmail := []protocol.Message{
		negotiateMsg, macros('C', "j", "mx", "{daemon_name}", "MTA"), protocol.Connect{Host: "localhost", Family: 'U'}, heloMsg, unknownMsg,
		macros('M', "i", "Q1"), mailMsg, rcptMsg, dataMsg, headerMsg, eohMsg, bodyMsg, eomMsg, mailMsg, rcptMsg, quitMsg,
	}
	return [][]byte{
		encode(append(postfix, abortMsg, abortMsg, quitMsg)...),
		encode(append(append(postfix, abortMsg), postfix[6:]...)...),
		encode(sendmail...),
		encode(negotiateMsg, connectMsg, heloMsg, mailMsg, rcptMsg, abortMsg, mailMsg, heloMsg, mailMsg, quitNCMsg, connectMsg),
		encode(offer(2, 0, 0), connectMsg, mailMsg, rcptMsg, headerMsg, eohMsg, bodyMsg, protocol.EndOfMessage{Chunk: []byte("end")}),
		encode(negotiateMsg, macros('z', "a"), packet('X', "y")),
		[]byte("GET / HTTP/1.1\r\n\r\n"),
	}
}

// FuzzSession throws bytes, in random pieces, at a session whose handlers answer
// as script says, also late, twice, by changes and by panics. Whatever comes: no
// panic, not more replies than commands, OnFinished exactly once and last, an end
// for each mail, and no memory by what is announced.
func FuzzSession(f *testing.F) {
	for _, stream := range seeds() {
		f.Add(stream, []byte{}, []byte{})
		f.Add(stream, []byte{0}, []byte{1, 2, 3})
		f.Add(stream, []byte{5, 10, 2, 20, 8, 6, 7, 3, 4, 12}, []byte{100})
		f.Add(stream, []byte{10, 10, 11, 30, 21}, []byte{1})
		f.Add(stream, []byte{2, 2, 2, 2, 3, 13, 16, 17, 18, 19, 29}, []byte{250, 7})
	}
	for i := range byte(15) {
		f.Add([]byte{0x80, 2, 3, 4, 5, 6, 8, 8, 9, 10, 10, 11, i, 4, 5, 10, 11, 12, 12, 13}, []byte{i, 2, 3, 10, 14}, []byte{})
		f.Add([]byte{0x80, 4, 5, 8, i, 1, 4, 16, i, 31}, []byte{2, i}, []byte{3})
	}
	f.Fuzz(func(t *testing.T, stream, script, splits []byte) {
		if len(stream) > 1<<16 {
			return
		}
		if len(stream) > 0 && stream[0] >= 0x80 {
			stream = commandStream(stream[1:])
		}
		z := &fuzzed{t: t, script: script}
		config := context.Config{MaxPayload: 1 << 12, PacketBufferSize: 64, Logger: slog.New(slog.DiscardHandler)}
		if len(script)%2 == 1 {
			config.PacketBufferSize = 1 << 16
		}
		z.ctx = context.New(&z.out, config)
		z.register()
		z.commands = countCommands(stream)
		for len(stream) > 0 {
			n := len(stream)
			if len(splits) > 0 {
				n = min(n, 1+int(splits[0]))
				splits = append(splits[1:], splits[0])
			}
			err := z.ctx.Feed(stream[:n])
			if errors.Is(err, context.ErrInvalidState) {
				t.Fatalf("Feed: %v", err)
			}
			stream = stream[n:]
			// A late reply to whatever is due, and to what is not.
			if z.next()%3 == 0 {
				for _, e := range events() {
					_ = e.respond(z.ctx, z.status())
				}
				_ = z.ctx.NegotiateResponse(option.All(), nil, z.status())
				_ = z.ctx.AbortResponse(protocol.StatusContinue)
			}
		}
		_ = z.ctx.Close()
		z.check()
	})
}

// commandStream makes a session of bytes that each stand for a command, whole or,
// rarely, cut short: most of what is random would not get past the first packet.
func commandStream(choice []byte) []byte {
	b := negotiateMsg.Append(nil)
	for _, c := range choice {
		letter := allLetters[int(c)%len(allLetters)]
		switch {
		case c >= 250:
			b = append(b, packet(letter, string(choice))...)
		case letter == 'D':
			b = macros(protocol.Command(allLetters[int(c)/15%15]), "i", string(choice)).Append(b)
		default:
			b = append(b, letters[letter]...)
		}
	}
	return b
}

// countCommands returns how many commands in stream have a reply.
func countCommands(stream []byte) int {
	var in protocol.Buffer
	_, _ = in.Write(stream)
	for n := 0; ; {
		p, ok, err := in.Next()
		if !ok || err != nil {
			return n
		}
		if slices.Contains([]byte("OCHMRTULNBE"), p.Letter) {
			n++
		}
	}
}

// A fuzzed session keeps count of what must hold.
type fuzzed struct {
	t      *testing.T
	ctx    *context.ClientContext
	out    bytes.Buffer
	script []byte
	at     int

	commands                              int // in the stream, that have a reply
	events, mails, ends, aborts, finished int
	inMail                                bool
}

// next returns the next number of the script.
func (z *fuzzed) next() byte {
	if len(z.script) == 0 {
		return 2
	}
	z.at++
	return z.script[z.at%len(z.script)]
}

func (z *fuzzed) status() protocol.Status { return protocol.Status(z.next()%16) - 1 }

// event is what every handler of an event does.
func (z *fuzzed) event() protocol.Status {
	if z.finished > 0 {
		z.t.Error("an event after OnFinished")
	}
	z.events++
	ctx := z.ctx
	switch n := z.next(); {
	case n >= 250:
		panic("script")
	case n%16 == 9:
		return ctx.Reject(int(n)*3, "", "text")
	case n%16 == 13:
		_ = ctx.SetReply(450, "4.7.1", "text")
	case n%16 == 14:
		_ = ctx.AddHeader("X", strings.Repeat("x", int(n)))
		_ = ctx.ReplaceBody(bytes.Repeat([]byte("x"), int(n)))
		_ = ctx.DeleteRecipient("<x>")
		_ = ctx.Progress()
		_ = ctx.Quarantine("x")
	case n == 200:
		ctx.Shutdown()
	case n == 201:
		_ = ctx.Close()
	}
	ctx.SetShelfValue("k", "v")
	_ = ctx.AvailableMacros()
	return z.status()
}

func (z *fuzzed) register() {
	ctx := z.ctx
	ctx.OnConnect(func(*context.ClientContext, string, netAddr) protocol.Status { return z.event() })
	ctx.OnHelo(func(*context.ClientContext, string) protocol.Status { return z.event() })
	ctx.OnEnvelopeFrom(func(*context.ClientContext, string, protocol.Parameters) protocol.Status { return z.mail() })
	ctx.OnEnvelopeRecipient(func(*context.ClientContext, string, protocol.Parameters) protocol.Status { return z.mail() })
	ctx.OnData(func(*context.ClientContext) protocol.Status { return z.mail() })
	ctx.OnUnknown(func(*context.ClientContext, string) protocol.Status { return z.event() })
	ctx.OnHeader(func(*context.ClientContext, string, string) protocol.Status { return z.mail() })
	ctx.OnEndOfHeader(func(*context.ClientContext) protocol.Status { return z.mail() })
	ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status { return z.mail() })
	ctx.OnEndOfMessage(func(*context.ClientContext, []byte) protocol.Status { return z.mail() })
	ctx.OnNegotiate(func(_ *context.ClientContext, o *option.Option, _ *option.MacroRequests) protocol.Status {
		o.Steps &^= option.NoEventSteps
		o.Steps &^= option.Step(z.next()) << 12
		return z.event()
	})
	ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status {
		z.aborts++
		if !z.inMail {
			z.t.Error("OnAbort outside a mail")
		}
		return z.event()
	})
	ctx.OnMessageProcessed(func(_ *context.ClientContext, r *context.MessageResult) {
		z.ends++
		if r.End.Before(r.Start) || r.End.IsZero() {
			z.t.Errorf("a mail that ended at %v", r.End)
		}
		z.inMail = false
	})
	ctx.OnDefineMacro(func(*context.ClientContext, protocol.Command, []protocol.Macro) {})
	ctx.OnError(func(*context.ClientContext, error) {})
	ctx.OnFinished(func(ctx *context.ClientContext) {
		z.finished++
		if ctx.Err() == nil || ctx.Message().Err() == nil {
			z.t.Error("the session's context is not done at its end")
		}
	})
}

// mail is event for the events of a mail.
func (z *fuzzed) mail() protocol.Status {
	if !z.inMail {
		z.inMail = true
		z.mails++
	}
	return z.event()
}

func (z *fuzzed) check() {
	t := z.t
	if z.finished != 1 && z.events > 0 || z.finished > 1 {
		t.Errorf("OnFinished ran %d times", z.finished)
	}
	if z.mails != z.ends {
		t.Errorf("%d mails began, %d ended", z.mails, z.ends)
	}
	if z.aborts > z.ends {
		t.Errorf("%d aborts of %d mails", z.aborts, z.ends)
	}
	if !errors.Is(stdcontext.Cause(z.ctx), context.ErrClosed) && z.ctx.Err() == nil {
		t.Error("the session has not ended")
	}
	final := 0
	for _, r := range showAll(t, z.out.Bytes()) {
		if slices.Contains([]byte("Ocartdsy"), r[0]) {
			final++
		}
	}
	if final > z.commands {
		t.Errorf("%d replies to %d commands", final, z.commands)
	}
	if got := z.ctx.Feed(nil); !errors.Is(got, context.ErrFinished) {
		t.Errorf("Feed after the end: %v", got)
	}
}

// TestSeeds keeps the seeds honest: none of them hangs.
func TestSeeds(t *testing.T) {
	for _, stream := range seeds() {
		f := feed(t, forever())
		record(f.ctx, f.journal, nil)
		_ = f.ctx.Feed(stream)
		_ = f.ctx.Close()
		if lines := f.take(); len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], "finished") {
			t.Errorf("events %q", lines)
		}
	}
}
