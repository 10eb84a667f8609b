package context_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

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
		case 'b':
			if len(payload) > 0 { // else it is a progress
				l.tag(letter, payload)
			}
		case 'y', 'h', 'i', 'm', '+', '-', 'q':
			l.tag(letter, payload)
			if len(payload) == 0 || payload[len(payload)-1] != 0 {
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

// tag notes the serial that a payload carries.
func (l *live) tag(letter byte, payload []byte) {
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
	l.tryChanges(p)
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
	if value, ok := ctx.LookupMacro("i"); ok {
		if serial, err := strconv.Atoi(value); err != nil || serial < p.of {
			l.fail("the mail of %d sees the macro %q", p.of, value)
		}
	}
	if got := ctx.QuarantineReason(); got != "" {
		l.fail("the quarantine reason %q before the handler", got)
	}
}

// tryChanges makes the changes of p, where they work and where they do not.
func (l *live) tryChanges(p *planned) {
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
