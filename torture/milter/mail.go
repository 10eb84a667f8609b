package main

import (
	stdcontext "context"
	"fmt"
	"hash/crc32"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// A mail is what is known of one mail.
type mail struct {
	plan plan
	sum  uint32 // of all that came, in its order: a piece of another mail would show
}

func (m *mail) add(parts ...string) {
	for _, part := range parts {
		m.sum = crc32.Update(m.sum, crc32.IEEETable, []byte(part))
	}
}

// A plan is what to do with a mail: the local part of its sender, "what", or
// "late-what" to answer everything a millisecond later. "panic-EVENT" and
// "panic-later-EVENT" panic at that event, in the handler and in Later.
type plan string

func planOf(path string) plan {
	what, _, _ := strings.Cut(strings.TrimPrefix(path, "<"), "@")
	return plan(what)
}

func (p plan) panics(event protocol.Command) (now, later bool) {
	return string(p) == "panic-"+event.String(), string(p) == "panic-later-"+event.String()
}

// A session counts what a session must see exactly once.
type session struct{ begun, processed, finished int }

func (m *milter) register(ctx *context.ClientContext) {
	m.counts.Sessions.Add(1)
	s := new(session)
	m.registerSession(ctx)
	m.registerMail(ctx, s)
	ctx.OnAbort(func(*context.ClientContext, context.State) protocol.Status {
		m.counts.Aborted.Add(1)
		if s.begun != s.processed+1 {
			m.counts.Faults.Add(1)
		}
		return protocol.StatusDefault
	})
	ctx.OnMessageProcessed(func(*context.ClientContext, *context.MessageResult) {
		m.counts.Processed.Add(1)
		m.leaked.add(m.leak)
		if s.processed++; s.processed != s.begun {
			m.counts.Faults.Add(1)
		}
	})
	ctx.OnFinished(func(*context.ClientContext) {
		m.counts.Finished.Add(1)
		if s.finished++; s.finished > 1 || s.begun != s.processed {
			m.counts.Faults.Add(1)
		}
	})
}

func (m *milter) registerSession(ctx *context.ClientContext) {
	ctx.OnConnect(func(ctx *context.ClientContext, host string, _ net.Addr) protocol.Status {
		return m.answer(ctx, plan(host), protocol.CommandConnect, nil)
	})
	ctx.OnHelo(func(ctx *context.ClientContext, name string) protocol.Status {
		if strings.HasPrefix(name, "log") {
			ctx.Logger().Info("helo", "name", name)
		}
		return m.answer(ctx, plan(name), protocol.CommandHelo, nil)
	})
	ctx.OnUnknown(func(ctx *context.ClientContext, line string) protocol.Status {
		return m.answer(ctx, "", protocol.CommandUnknown, nil)
	})
}

func (m *milter) registerMail(ctx *context.ClientContext, s *session) {
	step := func(ctx *context.ClientContext, event protocol.Command, parts ...string) protocol.Status {
		mail := context.PerMessage[mail](ctx)
		mail.add(parts...)
		return m.answer(ctx, mail.plan, event, nil)
	}
	ctx.OnEnvelopeFrom(func(ctx *context.ClientContext, path string, _ protocol.Parameters) protocol.Status {
		m.counts.Begun.Add(1)
		s.begun++
		context.PerMessage[mail](ctx).plan = planOf(path)
		return step(ctx, protocol.CommandEnvelopeFrom, path)
	})
	ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, path string, _ protocol.Parameters) protocol.Status {
		mail := context.PerMessage[mail](ctx)
		mail.add(path)
		return m.answer(ctx, mail.plan, protocol.CommandEnvelopeRecipient, func(late *context.Late) protocol.Status {
			if strings.HasPrefix(path, "<refused") {
				return late.Reject(550, "5.1.1", "Nobody is not here")
			}
			return protocol.StatusContinue
		})
	})
	ctx.OnData(func(ctx *context.ClientContext) protocol.Status { return step(ctx, protocol.CommandData) })
	ctx.OnHeader(func(ctx *context.ClientContext, name, value string) protocol.Status {
		return step(ctx, protocol.CommandHeader, name, value)
	})
	ctx.OnEndOfHeader(func(ctx *context.ClientContext) protocol.Status { return step(ctx, protocol.CommandEndOfHeader) })
	ctx.OnBody(func(ctx *context.ClientContext, chunk []byte) protocol.Status {
		return step(ctx, protocol.CommandBody, string(chunk))
	})
	ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
		mail := context.PerMessage[mail](ctx)
		what, sum := strings.TrimPrefix(string(mail.plan), "late-"), mail.sum
		return m.answer(ctx, mail.plan, protocol.CommandEndOfMessage, func(late *context.Late) protocol.Status {
			return finish(late, what, sum)
		})
	})
}

// answer answers an event by decide, or with continue if that is nil; now or later.
func (m *milter) answer(ctx *context.ClientContext, p plan, event protocol.Command, decide func(*context.Late) protocol.Status) protocol.Status {
	now, later := p.panics(event)
	if now {
		panic("torture: " + string(p))
	}
	if decide == nil {
		decide = func(*context.Late) protocol.Status { return protocol.StatusContinue }
	}
	late, delay := ctx.Late(), m.late
	if strings.HasPrefix(string(p), "late-") {
		delay = max(delay, time.Millisecond)
	}
	if delay == 0 && !later {
		return decide(late)
	}
	return ctx.Later(func(mail stdcontext.Context) protocol.Status {
		if later {
			panic("torture: " + string(p))
		}
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
			return decide(late)
		case <-mail.Done():
			return protocol.StatusDefault // nobody waits for it any more
		}
	})
}

// finish decides on a mail.
func finish(late *context.Late, what string, sum uint32) protocol.Status {
	switch what {
	case "accept":
		return protocol.StatusAccept
	case "reject":
		return late.Reject(554, "5.7.1", "100% spam\nreally")
	case "tempfail":
		return late.TemporaryFailure(451, "4.7.1", "not now")
	case "discard":
		return protocol.StatusDiscard
	case "changes":
		return changes(late, sum)
	case "flood":
		return flood(late)
	case "inject":
		return inject(late)
	}
	if text, ok := strings.CutPrefix(what, "inject-reply-"); ok {
		return late.Reject(550, "5.7.1", injectedReplies[text])
	}
	return late.Check(late.AddHeader("X-Sum", fmt.Sprint(sum)))
}

// changes makes every kind of change.
func changes(late *context.Late, sum uint32) protocol.Status {
	return late.Check(
		late.AddHeader("X-Sum", fmt.Sprint(sum)),
		late.InsertHeader(0, "X-First", "a\n\tfolded one"),
		late.ChangeHeader("Subject", 1, "changed"),
		late.DeleteHeader("X-Number", 1),
		late.ChangeFrom("<changed@torture.example>", ""),
		late.AddRecipient("<added@torture.example>", ""),
		late.DeleteRecipient("<receiver@torture.example>"),
		late.ReplaceBody([]byte("a new body\r\n")),
		late.Quarantine("torture"),
	)
}

// flood makes a new body of 64 MiB.
func flood(late *context.Late) protocol.Status {
	chunk := make([]byte, protocol.MaxChunk)
	for range 1 << 10 {
		if err := late.ReplaceBody(chunk); err != nil {
			return late.Check(err)
		}
	}
	return protocol.StatusContinue
}

// injectedReplies are what a careless milter would put into its reply.
var injectedReplies = map[string]string{
	"crlf": "no\r\n250 ok", "lf": "no\n250 ok", "cr": "no\r250 ok", "nul": "no\x00250 ok", "dot": "no\r\n.\r\nQUIT",
}

// inject tries to send a line end, or a NUL, in everything that goes to the MTA,
// and says in a header how often that was refused.
func inject(late *context.Late) protocol.Status {
	const evil = "a\r\nBcc: evil@torture.example\r\n\r\ninjected"
	attempts := []error{
		late.AddHeader("X-Test", evil),
		late.AddHeader("X-Test\r\nBcc", "evil@torture.example"),
		late.AddHeader("X-Test", "a\nBcc: evil@torture.example"),
		late.AddHeader("X-Test", "a\rBcc: evil@torture.example"),
		late.AddHeader("X-Test", "a\x00Bcc: evil@torture.example"),
		late.InsertHeader(0, "X-Test", evil),
		late.ChangeHeader("Subject", 1, evil),
		late.ChangeFrom("<evil@torture.example>\r\n", ""),
		late.ChangeFrom("<a@torture.example>", "BODY=8BITMIME\r\nevil"),
		late.AddRecipient("<evil@torture.example>\r\nevil", ""),
		late.AddRecipient("<a@torture.example>", "NOTIFY=NEVER\nevil"),
		late.DeleteRecipient("<evil@torture.example>\x00"),
		late.Quarantine(evil),
	}
	refused := 0
	for _, err := range attempts {
		if err != nil {
			refused++
		}
	}
	return late.Check(late.AddHeader("X-Refused", fmt.Sprintf("%d of %d", refused, len(attempts))))
}

// leaks keeps what must not be kept.
type leaks struct {
	mu   sync.Mutex
	kept [][]byte
}

func (l *leaks) add(size int) {
	if size > 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.kept = append(l.kept, make([]byte, size))
	}
}
