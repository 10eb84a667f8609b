package context

import "github.com/milter-go/milter/protocol"

// emitBody runs the handlers of a piece of body. Unlike a decision, StatusSkip is
// for the handler that returned it: the others go on getting the body, and the MTA
// is told when all have had enough. mu is held, and released while they run.
func (ctx *ClientContext) emitBody(handlers []any, e *arrival) (protocol.Status, error) {
	m := ctx.theMail()
	decided, stop := protocol.StatusNotChange, false
	for i, f := range handlers {
		asked := decides(f)
		if m.enough.has(i) || stop && asked {
			continue
		}
		if asked {
			m.bodyHandler = i
		}
		status, err := ctx.dispatch(handlers[i:i+1], e)
		switch {
		case err != nil:
			return decided, err
		case !asked || stop:
		case status == protocol.StatusSkip:
			m.enough.add(i)
		default:
			decided, stop = combine(decided, status)
		}
	}
	if !stop && ctx.allHadEnough() {
		decided = protocol.StatusSkip
	}
	return decided, nil
}

// skipLate is for a late answer StatusSkip: it counts for the handler that was
// asked last. It returns the answer for all of them.
func (ctx *ClientContext) skipLate() protocol.Status {
	if m := ctx.mail; m != nil {
		m.enough.add(m.bodyHandler)
	}
	if ctx.allHadEnough() {
		return protocol.StatusSkip
	}
	return protocol.StatusContinue
}

// allHadEnough reports whether nobody wants the rest of the body. One that only
// watches the body wants all of it.
func (ctx *ClientContext) allHadEnough() bool {
	for i := range ctx.handlers.of(eventBody) {
		if ctx.mail == nil || !ctx.mail.enough.has(i) {
			return false
		}
	}
	return true
}

// A set of small numbers. Those it has no room for are never in it.
type set uint64

func (s set) has(i int) bool { return i < 64 && s&(1<<i) != 0 }
func (s *set) add(i int) {
	if i < 64 {
		*s |= 1 << i
	}
}
