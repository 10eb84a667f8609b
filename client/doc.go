// Package client serves milter sessions: it listens where an MTA (Sendmail,
// Postfix) will connect, accepts its connections, and runs one session
// ([context.ClientContext]) on each.
//
//	c := client.New()
//	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
//		ctx.OnEnvelopeRecipient(recipient)
//	})
//	if err := c.ListenAndServe("inet:10025@127.0.0.1"); err != nil {
//		log.Fatal(err)
//	}
//
// # Configuration
//
// A [Client] is made by [New] and configured by its fields: the limits of every
// session, which are those of [context.Config], and what concerns the sockets.
// Where to listen is a connection spec, see [ParseSpec]. Nothing may be changed
// after Listen or Run was called. No state is shared by two clients.
//
// # Concurrency and order
//
// Each connection has a goroutine of its own, which may be another one after a
// pause between two mails. It calls the handlers given to
// OnConnectionEstablished, in the order they were registered, and then delivers
// the events of that session one after the other; see package context. Sessions
// run in parallel, so what handlers share must be safe for that. All methods of
// Client may be called from any goroutine, handlers included, at any time:
// before Run, while it runs and after it. No handler is called with a lock
// held.
//
// # Ownership
//
// The client owns its listeners, those it was given too, and closes them. It
// owns every connection it has accepted or was given by [Client.ServeConn], and
// closes it after the last handler of its session has returned. Only a session
// that is ended by force loses its connection before.
//
// # The end
//
// [Client.Shutdown] ends a client without hurting a mail: no connection is
// accepted any more, idle sessions end at once, the others after the
// transaction they are in. [Client.Close] ends everything now. Either makes
// [Client.Run] return nil, and a client that has ended cannot be run again.
// Signals are handled only if [Client.ShutdownOnSignal] asks for it.
//
// # Failures
//
// A panic in a handler ends its session only. When the system is short of file
// descriptors or memory, accepting is tried again until it works, after 5 ms at
// first and every second at last. A client never gives up a listener for a fault
// that can pass. While there is no descriptor left, connections that wait are
// closed: so the MTA does at once what it is told to do without a milter. For that
// the client holds one descriptor back from Listen on. [Client.Statistics] counts all of
// this.
//
// # Security
//
// The milter protocol has neither encryption nor authentication: whoever can
// connect can play MTA. Listen on a unix socket or on a loopback address, or
// keep others out of the port; see AllowRemote in [Client].
package client
