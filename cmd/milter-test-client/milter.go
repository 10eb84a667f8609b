package main

import (
	stdcontext "context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A milter serves all sessions.
type milter struct {
	options *options
	out     *printer
}

// register subscribes a new session to the events.
func (m *milter) register(ctx *context.ClientContext) {
	m.registerSession(ctx)
	m.registerMail(ctx)
	ctx.OnAbort(func(ctx *context.ClientContext, state context.State) protocol.Status {
		m.report(ctx, "abort")
		m.tell(ctx, "aborted: state=<%v>", state)
		return protocol.StatusDefault
	})
	ctx.OnMessageProcessed(func(ctx *context.ClientContext, r *context.MessageResult) {
		m.tell(ctx, "message-processed: status=<%v>, state=<%v>, body-size=<%d>", r.Status, r.State, r.BodySize)
	})
	ctx.OnTimeout(func(ctx *context.ClientContext) { m.report(ctx, "timeout") })
	ctx.OnError(func(ctx *context.ClientContext, err error) { m.out.fault(session(ctx), err) })
	ctx.OnFinished(func(ctx *context.ClientContext) { m.report(ctx, "finished") })
}

func (m *milter) wants(event protocol.Command) bool {
	return !slices.Contains(m.options.noEvents, event)
}

func (m *milter) registerSession(ctx *context.ClientContext) {
	ctx.OnNegotiate(m.negotiate)
	if m.wants(protocol.CommandConnect) {
		ctx.OnConnect(func(ctx *context.ClientContext, host string, addr net.Addr) protocol.Status {
			spec := client.SpecOf(addr)
			m.report(ctx, "connect: host=<"+host+">, address=<"+spec+">")
			return m.answer(ctx, protocol.CommandConnect, host, spec)
		})
	}
	if m.wants(protocol.CommandHelo) {
		ctx.OnHelo(func(ctx *context.ClientContext, name string) protocol.Status {
			m.report(ctx, "helo: <"+name+">")
			return m.answer(ctx, protocol.CommandHelo, name)
		})
	}
	if m.wants(protocol.CommandUnknown) {
		ctx.OnUnknown(func(ctx *context.ClientContext, line string) protocol.Status {
			m.report(ctx, "unknown: <"+line+">")
			return m.answer(ctx, protocol.CommandUnknown, line)
		})
	}
}

func (m *milter) registerMail(ctx *context.ClientContext) {
	path := func(event protocol.Command) func(*context.ClientContext, string, protocol.Parameters) protocol.Status {
		return func(ctx *context.ClientContext, path string, parameters protocol.Parameters) protocol.Status {
			text := fmt.Sprintf("%v: <%s>", event, path)
			if len(parameters) > 0 {
				text += ", parameters=<" + parameters.String() + ">"
			}
			m.report(ctx, text)
			return m.answer(ctx, event, path)
		}
	}
	plain := func(event protocol.Command) func(*context.ClientContext) protocol.Status {
		return func(ctx *context.ClientContext) protocol.Status {
			m.report(ctx, event.String())
			return m.answer(ctx, event)
		}
	}
	chunk := func(event protocol.Command) func(*context.ClientContext, []byte) protocol.Status {
		return func(ctx *context.ClientContext, chunk []byte) protocol.Status {
			text := event.String()
			if len(chunk) > 0 {
				text += ": <" + string(chunk) + ">"
			}
			m.reportAsItIs(ctx, text)
			return m.answer(ctx, event, string(chunk))
		}
	}
	if m.wants(protocol.CommandEnvelopeFrom) {
		ctx.OnEnvelopeFrom(path(protocol.CommandEnvelopeFrom))
	}
	if m.wants(protocol.CommandEnvelopeRecipient) {
		ctx.OnEnvelopeRecipient(path(protocol.CommandEnvelopeRecipient))
	}
	if m.wants(protocol.CommandData) {
		ctx.OnData(plain(protocol.CommandData))
	}
	if m.wants(protocol.CommandHeader) {
		ctx.OnHeader(func(ctx *context.ClientContext, name, value string) protocol.Status {
			separator := ": "
			if ctx.Option().Steps.Has(option.StepHeaderValueWithLeadingSpace) {
				separator = ":"
			}
			field := name + separator + value
			m.report(ctx, "header: <"+field+">")
			return m.answer(ctx, protocol.CommandHeader, field)
		})
	}
	if m.wants(protocol.CommandEndOfHeader) {
		ctx.OnEndOfHeader(plain(protocol.CommandEndOfHeader))
	}
	if m.wants(protocol.CommandBody) {
		ctx.OnBody(chunk(protocol.CommandBody))
	}
	ctx.OnEndOfMessage(chunk(protocol.CommandEndOfMessage))
}

func (m *milter) negotiate(ctx *context.ClientContext, offer *option.Option, macros *option.MacroRequests) protocol.Status {
	m.report(ctx, optionText("negotiate", *offer))
	o := m.options
	macros.Merge(&o.macros)
	answer := ctx.DefaultOption(*offer)
	answer.Version = min(answer.Version, uint32(o.negotiateVersion))
	for _, event := range o.noReplies {
		answer.Steps |= noReplyStep(event) & offer.Steps
	}
	if o.leadingSpace {
		answer.Steps |= option.StepHeaderValueWithLeadingSpace & offer.Steps
	}
	if o.rejectedRecipients {
		answer.Steps |= option.StepEnvelopeRecipientRejected & offer.Steps
	}
	*offer = answer
	m.tell(ctx, "%s", optionText("agreed", answer))
	return m.answer(ctx, protocol.CommandNegotiate)
}

func optionText(title string, o option.Option) string {
	return fmt.Sprintf("%s: version=<%d>, action=<%v>, step=<%v>", title, o.Version, o.Actions, o.Steps)
}

func noReplyStep(event protocol.Command) option.Step {
	step, err := option.ParseStep("no-reply-" + event.String())
	if err != nil {
		panic(err) // the options name no other events
	}
	return step
}

// answer answers an event as the options say, later if they say so.
func (m *milter) answer(ctx *context.ClientContext, event protocol.Command, arguments ...string) protocol.Status {
	r, ok := find(m.options.answers, event, arguments)
	if !ok {
		r.status = protocol.StatusContinue
	}
	late, ok := find(m.options.delays, event, arguments)
	if !ok || r.status == protocol.StatusProgress {
		return m.decide(ctx, event, r)
	}
	return ctx.Later(func(mail stdcontext.Context) protocol.Status {
		timer := time.NewTimer(late.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
			return m.decide(ctx, event, r)
		case <-mail.Done():
			return protocol.StatusDefault // nobody waits for it any more
		}
	})
}

// decide makes the changes that belong to the event and returns its status.
func (m *milter) decide(ctx *context.ClientContext, event protocol.Command, r rule) protocol.Status {
	if event == protocol.CommandEndOfMessage {
		for _, c := range m.options.changes {
			if err := c.make(ctx); err != nil {
				m.out.fault(session(ctx), err)
			}
		}
	}
	if r.close {
		m.tell(ctx, "answer: close")
		ctx.Close()
		return protocol.StatusDefault
	}
	if r.smtp.IsZero() {
		m.tell(ctx, "answer: %v", r.status)
		return r.status
	}
	m.tell(ctx, "answer: %v: %s", r.status, r.smtp)
	if err := ctx.SetReply(r.smtp.Code, r.smtp.Extended, r.smtp.Text); err != nil {
		m.out.fault(session(ctx), err)
	}
	return r.status
}

// report prints an event and its macros.
func (m *milter) report(ctx *context.ClientContext, text string) {
	m.reportAsItIs(ctx, oneEntry(text))
}

// reportAsItIs is report for a piece of body.
func (m *milter) reportAsItIs(ctx *context.ClientContext, text string) {
	if !m.options.noReport && !m.options.quiet {
		m.out.event(ctx, text)
	}
}

// tell prints what is of interest only to those who asked for it.
func (m *milter) tell(ctx *context.ClientContext, format string, arguments ...any) {
	if m.options.verbose && !m.options.noReport && !m.options.quiet {
		m.out.print(session(ctx), fmt.Sprintf(format, arguments...)+"\n")
	}
}
