// External lets a command decide about each mail. The command gets the mail on
// its standard input, with CRLF line ends, and its exit status is the answer: 0
// lets the mail pass, 1 refuses it, and anything else, a crash included, refuses
// it for now. It is started as it is, without a shell. When the MTA does not wait
// any more, or for two minutes in vain, the command is killed, on Unix with the
// processes it has started. Run it, and attach Postfix:
//
//	go run ./examples/external grep -qi '^message-id:'
//
//	postconf smtpd_milters=inet:127.0.0.1:10025
//	postfix reload
package main

import (
	"bytes"
	stdcontext "context"
	"errors"
	"flag"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

func main() {
	spec := flag.String("spec", "inet:10025@127.0.0.1", "where to listen")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("usage: external [-spec SPEC] COMMAND [ARGUMENT...]")
	}
	c := newClient(flag.Args())
	c.ShutdownOnSignal() // after the mails that are under way; a second signal ends it at once
	if err := c.ListenAndServe(*spec); err != nil {
		log.Fatal(err)
	}
}

func newClient(argv []string) *client.Client {
	c := client.New()
	c.KeepAlive = 7 * time.Second    // Sendmail waits ten for the next sign of life
	c.ReplyTimeout = 2 * time.Minute // then the mail is refused for now, and the command killed
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		ctx.WatchHeader(func(ctx *context.ClientContext, name, value string) {
			keep(ctx, []byte(name+": "+strings.ReplaceAll(value, "\n", "\r\n")+"\r\n"))
		})
		ctx.WatchEndOfHeader(func(ctx *context.ClientContext) { keep(ctx, []byte("\r\n")) })
		ctx.WatchBody(keep)
		ctx.OnEndOfMessage(command(argv).endOfMessage)
		ctx.OnMessageProcessed(forget)
	})
	return c
}

const inMemory = 1 << 20 // bytes of a mail; a larger one goes to a temporary file

type mail struct {
	memory []byte
	file   *os.File // nil for a mail that is in memory
	err    error    // the mail could not be kept
}

// keep appends text to the mail.
func keep(ctx *context.ClientContext, text []byte) {
	m := context.PerMessage[mail](ctx)
	switch {
	case m.err != nil:
	case m.file != nil:
		_, m.err = m.file.Write(text)
	case len(m.memory)+len(text) <= inMemory:
		m.memory = append(m.memory, text...)
	default:
		if m.file, m.err = os.CreateTemp("", "mail-"); m.err != nil {
			return
		}
		_, m.err = m.file.Write(append(m.memory, text...))
		m.memory = nil
	}
}

// forget removes the temporary file of a mail that was answered or aborted.
func forget(ctx *context.ClientContext, _ *context.MessageResult) {
	if file := context.PerMessage[mail](ctx).file; file != nil {
		file.Close()
		os.Remove(file.Name())
	}
}

// stdin returns the mail, to be read from its beginning.
func (m *mail) stdin() (io.Reader, error) {
	if m.err != nil || m.file == nil {
		return bytes.NewReader(m.memory), m.err
	}
	_, err := m.file.Seek(0, io.SeekStart)
	return m.file, err
}

type command []string

func (argv command) endOfMessage(ctx *context.ClientContext, chunk []byte) protocol.Status {
	keep(ctx, chunk)
	m := context.PerMessage[mail](ctx)
	late := ctx.Late() // a reply set by it is for this mail and for no other
	return ctx.Later(func(wanted stdcontext.Context) protocol.Status {
		err := argv.run(wanted, m)
		var exit *exec.ExitError
		switch {
		case err == nil:
			return protocol.StatusContinue
		case errors.As(err, &exit) && exit.ExitCode() == 1:
			return late.Reject(554, "5.7.1", "The mail is not wanted here")
		case wanted.Err() == nil: // else the command was killed on purpose
			ctx.Logger().Error("no answer from the command", "command", argv, "error", err)
		}
		return late.TemporaryFailure(451, "4.3.0", "The mail cannot be checked now, try again later")
	})
}

// run runs the command until it ends, or until ctx does and it is killed.
func (argv command) run(ctx stdcontext.Context, m *mail) (err error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if cmd.Stdin, err = m.stdin(); err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second // for what the command leaves behind with our end of a pipe
	killGroup(cmd)
	return cmd.Run()
}
