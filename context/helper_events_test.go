package context_test

import (
	stdcontext "context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// An event is one that has a reply, with all that tests over events need.
type event struct {
	name    string
	command protocol.Command
	lead    []protocol.Message // the commands before it, after the negotiation
	message protocol.Message
	state   context.State
	respond func(*context.ClientContext, protocol.Status) error
	noReply option.Step
}

// events returns every event but the negotiation, in the order of a session.
func events() []event {
	type cc = context.ClientContext
	list := []event{
		{"connect", 'C', nil, connectMsg, context.StateConnect, (*cc).ConnectResponse, option.StepNoReplyConnect},
		{"helo", 'H', nil, heloMsg, context.StateHelo, (*cc).HeloResponse, option.StepNoReplyHelo},
		{"envelope-from", 'M', nil, mailMsg, context.StateEnvelopeFrom, (*cc).EnvelopeFromResponse, option.StepNoReplyEnvelopeFrom},
		{"envelope-recipient", 'R', nil, rcptMsg, context.StateEnvelopeRecipient, (*cc).EnvelopeRecipientResponse, option.StepNoReplyEnvelopeRecipient},
		{"data", 'T', nil, dataMsg, context.StateData, (*cc).DataResponse, option.StepNoReplyData},
		{"header", 'L', nil, headerMsg, context.StateHeader, (*cc).HeaderResponse, option.StepNoReplyHeader},
		{"end-of-header", 'N', nil, eohMsg, context.StateEndOfHeader, (*cc).EndOfHeaderResponse, option.StepNoReplyEndOfHeader},
		{"body", 'B', nil, bodyMsg, context.StateBody, (*cc).BodyResponse, option.StepNoReplyBody},
		{"end-of-message", 'E', nil, eomMsg, context.StateEndOfMessage, (*cc).EndOfMessageResponse, 0},
	}
	var lead []protocol.Message
	for i := range list {
		list[i].lead = lead[:len(lead):len(lead)]
		lead = append(lead, list[i].message)
	}
	return append(list, event{"unknown", 'U', []protocol.Message{connectMsg, heloMsg}, unknownMsg, context.StateUnknown, (*cc).UnknownResponse, option.StepNoReplyUnknown})
}

// inMessage reports whether the event is one of a mail transaction.
func (e event) inMessage() bool { return e.command != 'C' && e.command != 'H' && e.command != 'U' }

// A journal is what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

// take returns the lines since the last call.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

// record registers a handler for every event that writes a line and returns what
// decide says about it; nil stands for continue.
func record(ctx *context.ClientContext, j *journal, decide func(event string) protocol.Status) {
	if decide == nil {
		decide = func(string) protocol.Status { return protocol.StatusContinue }
	}
	event := func(name, format string, args ...any) protocol.Status {
		j.add(strings.TrimSpace(name+" "+format), args...)
		return decide(name)
	}
	ctx.OnConnect(func(_ *context.ClientContext, host string, addr net.Addr) protocol.Status {
		return event("connect", "%s %v", host, addr)
	})
	ctx.OnHelo(func(_ *context.ClientContext, name string) protocol.Status { return event("helo", "%s", name) })
	ctx.OnEnvelopeFrom(func(_ *context.ClientContext, from string, _ protocol.Parameters) protocol.Status {
		return event("envelope-from", "%s", from)
	})
	ctx.OnEnvelopeRecipient(func(_ *context.ClientContext, to string, _ protocol.Parameters) protocol.Status {
		return event("envelope-recipient", "%s", to)
	})
	ctx.OnData(func(*context.ClientContext) protocol.Status { return event("data", "") })
	ctx.OnUnknown(func(_ *context.ClientContext, line string) protocol.Status { return event("unknown", "%s", line) })
	ctx.OnHeader(func(_ *context.ClientContext, name, value string) protocol.Status {
		return event("header", "%s: %s", name, value)
	})
	ctx.OnEndOfHeader(func(*context.ClientContext) protocol.Status { return event("end-of-header", "") })
	ctx.OnBody(func(_ *context.ClientContext, chunk []byte) protocol.Status { return event("body", "%d", len(chunk)) })
	ctx.OnEndOfMessage(func(_ *context.ClientContext, chunk []byte) protocol.Status {
		return event("end-of-message", "%d", len(chunk))
	})
	recordEnds(ctx, j)
}

// recordEnds registers handlers for the events about ends.
func recordEnds(ctx *context.ClientContext, j *journal) {
	ctx.OnAbort(func(_ *context.ClientContext, state context.State) protocol.Status {
		j.add("abort %v", state)
		return protocol.StatusContinue
	})
	ctx.OnMessageProcessed(func(_ *context.ClientContext, r *context.MessageResult) {
		j.add("processed %v at %v", r.Status, r.State)
	})
	ctx.OnTimeout(func(*context.ClientContext) { j.add("timeout") })
	ctx.OnError(func(_ *context.ClientContext, err error) { j.add("error %v", errorClass(err)) })
	ctx.OnFinished(func(ctx *context.ClientContext) { j.add("finished %v", errorClass(stdcontext.Cause(ctx))) })
}

// errorClass returns the sentinel that err wraps.
func errorClass(err error) string {
	for _, s := range []struct {
		name string
		err  error
	}{
		{"ErrPanic", context.ErrPanic}, {"ErrProtocol", context.ErrProtocol}, {"ErrTimeout", context.ErrTimeout},
		{"ErrReplyTimeout", context.ErrReplyTimeout}, {"ErrNoReplyDue", context.ErrNoReplyDue}, {"ErrClosed", context.ErrClosed},
		{"ErrInvalidState", context.ErrInvalidState}, {"ErrInvalidAction", context.ErrInvalidAction},
		{"ErrInvalidArgument", context.ErrInvalidArgument}, {"ErrInvalidStatus", context.ErrInvalidStatus},
		{"ErrFinished", context.ErrFinished},
	} {
		if errors.Is(err, s.err) {
			return s.name
		}
	}
	if err == nil {
		return "none"
	}
	return "other: " + err.Error()
}

type netAddr = net.Addr

// onNegotiate registers a handler that only returns status.
func onNegotiate(ctx *context.ClientContext, status protocol.Status) {
	ctx.OnNegotiate(func(*context.ClientContext, *option.Option, *option.MacroRequests) protocol.Status { return status })
}

// progressAt records every event and answers late at those named.
func progressAt(names ...string) func(*context.ClientContext, *journal) {
	return statusAt(protocol.StatusProgress, names...)
}

// statusAt records every event and answers status at those named, continue elsewhere.
func statusAt(status protocol.Status, names ...string) func(*context.ClientContext, *journal) {
	return func(ctx *context.ClientContext, j *journal) {
		record(ctx, j, func(event string) protocol.Status {
			for _, name := range names {
				if name == event {
					return status
				}
			}
			return protocol.StatusContinue
		})
	}
}

// eomMsgs are the commands of a whole mail.
func eomMsgs() []protocol.Message {
	return []protocol.Message{connectMsg, heloMsg, mailMsg, rcptMsg, dataMsg, headerMsg, eohMsg, bodyMsg, eomMsg}
}

func count(lines []string, line string) int {
	n := 0
	for _, l := range lines {
		if l == line {
			n++
		}
	}
	return n
}
