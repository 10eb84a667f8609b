// Package context is one milter session: its state, its events, the answers to
// them, and the changes to a mail. ([ClientContext] is also a standard
// context.Context; a file that needs both packages imports the standard one as
// stdcontext.)
//
// A session is set up in a client's OnConnectionEstablished: handlers are
// registered for the events that matter, and that is also what the MTA is asked
// to send. A handler returns a [protocol.Status]. To answer later it returns
// StatusProgress, and any goroutine makes the event's Response call when it knows
// the answer; [ClientContext.Later] does both.
//
// # Order
//
// The events of one session come strictly one after the other, from one goroutine
// at a time; sessions run in parallel. The next event waits until the last one
// has been answered. What ends a message or the session does not wait: an abort,
// a quit or a hang-up makes the reply that is due void. A hang-up is noticed while
// a late reply is due, not while a handler runs.
//
// Each mail transaction ends exactly once: answered, or with OnAbort. After it
// OnMessageProcessed runs, and the data of the transaction is cleared: shelf,
// PerMessage values, macros from MAIL on, quarantine reason. OnFinished is the
// last event of each session and runs exactly once.
//
// # Concurrency
//
// All methods of ClientContext are safe to call from any goroutine and from
// within handlers. Handlers are registered before Serve or Feed, or by a handler.
// No lock is held while a handler runs, so a handler may call everything but
// Serve. A handler that blocks keeps its own session waiting and no
// other.
//
// # Ownership
//
// The chunk of a body event is valid until the handler returns. Strings may be
// kept; one that is kept for long, in a cache say, is better cloned (strings.Clone),
// for it may share up to 1 KiB of memory with others that came with it. Bytes given
// to a call may be reused when it has returned.
//
// # What leaves
//
// Each reply leaves in one write. At end of message the changes are held back and
// leave in the same write as the reply, as long as they fit the packet buffer, so
// that an MTA never has changes without a verdict. Arguments are checked before
// anything is sent; what cannot be sent safely is refused with an error that
// quotes it.
package context
