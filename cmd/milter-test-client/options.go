package main

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/client/cli"
	"github.com/milter-go/milter/cmd/internal/console"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

const (
	name    = "milter-test-client"
	specEnv = "MILTER_DEFAULT_CONNECTION_SPEC"
)

// options are what the command line says.
type options struct {
	command *cli.Command

	specs           []string
	unixSocketMode  os.FileMode
	unixSocketGroup string
	maxConnections  int
	refuseAtLimit   bool
	allowRemote     bool

	config context.Config
	grace  time.Duration

	negotiateVersion   int
	noEvents           []protocol.Command
	noReplies          []protocol.Command
	macros             option.MacroRequests
	leadingSpace       bool
	rejectedRecipients bool

	answers []rule // the first that fits decides
	delays  []rule // the first that fits decides
	changes []change

	noReport, quiet, verbose, number bool
}

func newOptions(getenv func(string) string) *options {
	o := &options{
		specs:            []string{client.DefaultConnectionSpec},
		unixSocketMode:   0o660,
		config:           context.DefaultConfig(),
		grace:            30 * time.Second,
		negotiateVersion: int(option.Version),
	}
	if spec := getenv(specEnv); spec != "" {
		o.specs = []string{spec}
	}
	o.command = &cli.Command{
		Name: name,
		Summary: "A milter that prints every event with its arguments and macros. It lets all mail\n" +
			"through, unless options tell it to answer otherwise or to change something.",
		Groups: []cli.Group{
			{Title: "Connection", Options: o.connectionOptions()},
			{Title: "Output", Options: o.outputOptions()},
			{Title: "Negotiation", Options: o.negotiationOptions()},
			{Title: "Answers", Options: o.answerOptions()},
			{Title: "Changes at end of message, made in the order they are given in", Options: o.changeOptions()},
		},
		Notes: notes,
	}
	return o
}

func (o *options) connectionOptions() []cli.Option {
	return []cli.Option{
		{Long: "connection-spec", Short: 's', Arg: "SPEC", Value: cli.Strings(&o.specs),
			Help: "listen at SPEC: inet:PORT[@HOST], inet6:PORT[@HOST] or unix:PATH; may be repeated"},
		{Long: "unix-socket-mode", Arg: "MODE", Value: console.Parsed(&o.unixSocketMode, client.ParseMode),
			Help: "permissions of a unix socket, in octal digits (default: 660)"},
		{Long: "unix-socket-group", Arg: "GROUP", Value: cli.String(&o.unixSocketGroup),
			Help: "group of a unix socket, by name or number"},
		{Long: "max-connections", Arg: "N", Value: cli.Int(&o.maxConnections, 0, math.MaxInt),
			Help: "serve at most N connections at once, let others wait; 0 means no limit"},
		{Long: "refuse-at-limit", Value: cli.Bool(&o.refuseAtLimit),
			Help: "tell those above --max-connections of a temporary failure instead"},
		{Long: "allow-remote", Value: cli.Bool(&o.allowRemote),
			Help: "do not warn of a SPEC that other machines may reach"},
		{Long: "timeout", Arg: "TIME", Value: cli.Duration(&o.config.Timeout),
			Help: "end a session whose MTA is silent for TIME; 0 means never"},
		{Long: "packet-buffer-size", Arg: "BYTES", Value: cli.Int(&o.config.PacketBufferSize, 0, math.MaxInt),
			Help: "keep back that many bytes of changes for the final reply; 0 sends each at once"},
		{Long: "grace", Arg: "TIME", Value: cli.Duration(&o.grace),
			Help: "after SIGINT or SIGTERM, wait at most TIME for mails in progress"},
	}
}

func (o *options) outputOptions() []cli.Option {
	return []cli.Option{
		{Long: "no-report-request", Value: cli.Bool(&o.noReport), Help: "do not print events"},
		{Long: "quiet", Short: 'q', Value: cli.Bool(&o.quiet), Help: "print nothing but errors"},
		{Long: "verbose", Short: 'v', Value: cli.Bool(&o.verbose), Help: "print the answers as well, and how each mail ends"},
		{Long: "number", Short: 'n', Value: cli.Bool(&o.number), Help: "put the number of the session before each line"},
	}
}

func (o *options) negotiationOptions() []cli.Option {
	return []cli.Option{
		{Long: "no-event", Arg: "EVENT", Value: cli.Func(eventsInto(&o.noEvents)),
			Help: "do without EVENT; may be repeated"},
		{Long: "no-reply", Arg: "EVENT", Value: cli.Func(eventsInto(&o.noReplies)),
			Help: "get EVENT without replying to it; may be repeated"},
		{Long: "macro", Arg: "STAGE=NAMES", Value: cli.Func(o.requestMacros),
			Help: "ask for these macros at STAGE (connect, helo, envelope-from, envelope-recipient, data, " +
				"end-of-header, end-of-message), as in 'helo={tls_version} {cipher}'; may be repeated"},
		{Long: "leading-space", Value: cli.Bool(&o.leadingSpace),
			Help: "get header values with the space after the colon"},
		{Long: "rejected-recipients", Value: cli.Bool(&o.rejectedRecipients),
			Help: "get the recipients that the MTA refuses as well"},
		{Long: "negotiate-version", Arg: "N", Value: cli.Int(&o.negotiateVersion, int(option.MinVersion), int(option.Version)),
			Help: "speak version N of the protocol at most"},
	}
}

func (o *options) answerOptions() []cli.Option {
	return []cli.Option{
		{Long: "status", Arg: "EVENT=STATUS", Value: cli.Func(o.addStatus),
			Help: "answer EVENT with STATUS; may be repeated, the first that fits counts, together with --reply"},
		{Long: "reply", Arg: "EVENT=REPLY", Value: cli.Func(o.addReply),
			Help: "refuse EVENT with the SMTP reply 'CODE [X.Y.Z] TEXT', a code of 4xx for now, of 5xx for good"},
		{Long: "delay", Arg: "EVENT=TIME", Value: cli.Func(o.addDelay),
			Help: "answer EVENT after TIME, while other sessions go on; may be repeated, the first that fits counts"},
		{Long: "progress", Arg: "TIME", Value: cli.Duration(&o.config.KeepAlive),
			Help: "tell the MTA every TIME that end-of-message takes longer; 0 means never"},
		{Long: "reply-timeout", Arg: "TIME", Value: cli.Duration(&o.config.ReplyTimeout),
			Help: "answer temporary-failure when there is no answer after TIME; 0 means never"},
	}
}

func (o *options) changeOptions() []cli.Option {
	add := func(parse func(string) (change, error)) cli.Value {
		return cli.Func(func(text string) error {
			c, err := parse(text)
			if err == nil {
				err = c.check()
			}
			o.changes = append(o.changes, c)
			return err
		})
	}
	return []cli.Option{
		{Long: "add-header", Arg: "'NAME: VALUE'", Value: add(addHeader), Help: "add a header field"},
		{Long: "insert-header", Arg: "'INDEX:NAME: VALUE'", Value: add(insertHeader),
			Help: "add a header field at a place; 0 is the top"},
		{Long: "change-header", Arg: "'NAME[INDEX]: VALUE'", Value: add(changeHeader),
			Help: "change the header field, the INDEX-th of that name; without [INDEX] the first"},
		{Long: "delete-header", Arg: "'NAME[INDEX]'", Value: add(deleteHeader), Help: "delete the header field"},
		{Long: "change-from", Arg: "'ADDRESS [PARAMETERS]'", Value: add(changeFrom), Help: "change the envelope sender"},
		{Long: "add-recipient", Arg: "'ADDRESS [PARAMETERS]'", Value: add(addRecipient), Help: "add an envelope recipient"},
		{Long: "delete-recipient", Arg: "ADDRESS", Value: add(deleteRecipient), Help: "delete an envelope recipient"},
		{Long: "replace-body", Arg: "TEXT|@FILE", Value: add(replaceBody), Help: "replace the body; lines get CRLF ends"},
		{Long: "quarantine", Arg: "REASON", Value: add(quarantine), Help: "put the mail on hold"},
	}
}

var notes = []cli.Note{
	{Title: "Events and statuses", Text: "" +
		"EVENT is negotiate, connect, helo, envelope-from, envelope-recipient, data, unknown,\n" +
		"header, end-of-header, body or end-of-message. EVENT:PATTERN fits only where the\n" +
		"argument of the event, as it is printed between < and >, is PATTERN; letter case does not\n" +
		"matter and * stands for any text. Angle brackets around an address may be left out.\n" +
		"\n" +
		"STATUS is continue, accept, reject, temporary-failure, discard, skip (the rest of the body) or\n" +
		"no-reply, as far as EVENT allows it; progress (no answer at all) or close (end the\n" +
		"connection instead).\n" +
		"\n" +
		"  --status 'envelope-recipient:nobody@example.com=reject'\n" +
		"  --status 'header:Subject: *lottery*=discard'\n" +
		"  --reply 'envelope-from=450 4.7.1 greylisted\\ntry again later'\n" +
		"\n" +
		"TIME is a number of seconds or such as 100ms, 5m, 1h30m. In reply texts, header values and\n" +
		"TEXT, \\n is a line end, \\t a tab and \\\\ a backslash."},
	{Title: "Environment", Text: "  " + specEnv + "  where to listen without --connection-spec"},
	{Title: "Exit status", Text: "" +
		"0 after SIGINT or SIGTERM, 1 when it could not listen or had to cut off a mail, 2 when the\n" +
		"command line is wrong."},
}

func (o *options) parse(args []string) error {
	if _, err := o.command.Parse(args); err != nil {
		return err
	}
	if o.refuseAtLimit && o.maxConnections == 0 {
		return cli.Usagef("--refuse-at-limit was given, but without --max-connections there is no limit")
	}
	for _, r := range slices.Concat(o.answers, o.delays) {
		for _, list := range []struct {
			option string
			events []protocol.Command
		}{{"no-event", o.noEvents}, {"no-reply", o.noReplies}} {
			if slices.Contains(list.events, r.event) {
				return cli.Usagef("an answer to %v was given, but --%s %v means that there is none", r.event, list.option, r.event)
			}
		}
	}
	return nil
}

// client returns the client that the options describe.
func (o *options) client(out *printer) (*client.Client, error) {
	c := client.New()
	c.Config = o.config
	c.Logger = slog.New(slog.NewTextHandler(out.errors, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c.UnixSocketMode = o.unixSocketMode
	c.UnixSocketGroup = o.unixSocketGroup
	c.MaxConnections = o.maxConnections
	c.RefuseAtLimit = o.refuseAtLimit
	c.AllowRemote = o.allowRemote
	for _, spec := range o.specs {
		if err := c.AddConnectionSpec(spec); err != nil {
			return nil, cli.Usagef("%v", console.Plain(err))
		}
	}
	return c, nil
}

func (o *options) requestMacros(text string) error {
	stageName, names, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("should be STAGE=NAMES")
	}
	for stage := range option.MacroStage(option.NumMacroStages) {
		if stage.String() == stageName {
			split := func(r rune) bool { return r == ' ' || r == ',' }
			return console.Plain(o.macros.Set(stage, strings.FieldsFunc(names, split)...))
		}
	}
	return fmt.Errorf("unknown stage %q", stageName)
}
