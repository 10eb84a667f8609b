package client

import (
	stdcontext "context"
	"os"
	"os/signal"
	"syscall"

	"github.com/milter-go/milter/context"
)

// ListenAndServe serves sessions at spec with the defaults of [New]: setup is the
// OnConnectionEstablished handler of the client, and the process's interrupt and
// termination signals end it, see [Client.ShutdownOnSignal]. It is the whole
// program of a small milter. It returns nil after such a signal.
func ListenAndServe(spec string, setup func(ctx *context.ClientContext)) error {
	c := New()
	c.OnConnectionEstablished(setup)
	stop := c.ShutdownOnSignal()
	defer stop()
	return c.ListenAndServe(spec)
}

// ShutdownOnSignal lets the given signals, or os.Interrupt and SIGTERM if there
// are none, end the client in an orderly way: the first one as
// [Client.Shutdown] does, for as long as the mails that are under way take; the
// second one as [Client.Close] does. Until stop is called the signals do nothing
// else to the process, also when the client has ended.
//
// Until then SIGPIPE does not end the process either, as it would when somebody
// closes the pipe that stdout or stderr is: a line of the log is not worth a mail.
func (c *Client) ShutdownOnSignal(signals ...os.Signal) (stop func()) {
	if len(signals) == 0 {
		signals = []os.Signal{os.Interrupt, syscall.SIGTERM}
	}
	came := make(chan os.Signal, 2)
	ctx, cancel := stdcontext.WithCancel(stdcontext.Background())
	signal.Notify(came, signals...)
	// Not ignored, which the programs that a milter starts would inherit.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	go func() {
		select {
		case <-ctx.Done():
			return
		case <-came:
			go func() { _ = c.Shutdown(ctx) }()
		}
		select {
		case <-ctx.Done():
		case <-came:
			_ = c.Close()
		}
	}()
	return func() {
		signal.Stop(came)
		signal.Stop(broken)
		cancel()
	}
}
