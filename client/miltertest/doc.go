// Package miltertest is the MTA's end of a milter connection: it plays SMTP
// sessions against a milter, and tells what the milter answered and what became
// of the mail. It is for the tests of milters and for tools; no MTA is needed.
//
// A [Session] is one connection. [Serve] and [Start] make one to a milter in the
// same process, [Dial] one to a milter that listens somewhere, [New] one over
// any connection. [Session.Send] plays a whole mail as Sendmail would, and
// returns a [Result] with the status, the SMTP reply and the changed [Mail]. The
// other methods play one command each and return the milter's [Answer]. They
// follow no order: a test may play what no MTA would.
//
// # What is promised
//
// A Session is strict. What the protocol does not allow is a [ProtocolError]
// that names the event and what came, where a real MTA would often put up with
// it:
//
//   - an answer that the event does not allow: discard at connect or helo,
//     accept or discard at unknown, skip elsewhere than at a body chunk or
//     without having been negotiated
//   - a change of the mail or progress before end of message, a change that was
//     not negotiated, pieces of a new body with something in between
//   - a second answer, an answer to a command that has none, or to an event that
//     was negotiated to have none. It is found at the latest by [Session.Quit]
//   - a negotiation that asks for more than was offered, or for another version
//   - a malformed packet
//
// A Session sends what was negotiated and no more: an event that the milter does
// without is not sent, its macros are; no answer is awaited where the milter
// gives none.
//
// # Concurrency
//
// A Session is for one goroutine at a time. Only [Session.SendRaw],
// [Session.CloseWrite], [Session.Cut] and [Session.Close] may be called while
// another call waits for the milter. A goroutine of its own reads the
// connection, until it ends or the Session is closed. Everything works with
// net.Pipe and in a bubble of testing/synctest.
package miltertest
