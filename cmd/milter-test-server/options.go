package main

import (
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/client/cli"
	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/cmd/internal/console"
	"github.com/milter-go/milter/cmd/internal/mta"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

const name = "milter-test-server"

// options are what the command line says.
type options struct {
	command *cli.Command

	spec   string
	target mta.Target
	name   string

	version int
	actions option.Action
	steps   option.Step

	host       string
	address    net.Addr
	helo       string
	unknown    string
	macros     map[protocol.Command][]protocol.Macro // besides the usual ones
	from       string
	recipients []string
	headers    []string
	chunks     []string
	mailFile   string
	mail       miltertest.Mail // by readMail

	outputMessage   bool
	verbose         bool
	color           string
	verdictAsStatus bool

	connectionTimeout, readingTimeout, writingTimeout, endOfMessageTimeout time.Duration

	threads, sessions, messages int
}

func newOptions() *options {
	o := &options{
		name:                name,
		version:             int(option.Version),
		actions:             option.AllActions,
		steps:               option.AllSteps,
		host:                "mx.example.net",
		address:             &net.TCPAddr{IP: net.IPv4(192, 168, 123, 123), Port: 50443},
		helo:                "delian",
		macros:              make(map[protocol.Command][]protocol.Macro),
		color:               "auto",
		connectionTimeout:   5 * time.Minute,
		readingTimeout:      10 * time.Second,
		writingTimeout:      10 * time.Second,
		endOfMessageTimeout: 5 * time.Minute,
		threads:             1,
		messages:            1,
	}
	o.command = &cli.Command{
		Name:  name,
		Usage: "-s SPEC [OPTION]...",
		Summary: "Plays SMTP sessions against a milter, as an MTA does, and prints what the milter\n" +
			"decided and changed.",
		Groups: []cli.Group{
			{Title: "Connection", Options: o.connectionOptions()},
			{Title: "SMTP client", Options: o.clientOptions()},
			{Title: "Mail", Options: o.mailOptions()},
			{Title: "Macros, besides those that MTAs usually send; each may be repeated", Options: o.macroOptions()},
			{Title: "Load", Options: o.loadOptions()},
			{Title: "Output", Options: o.outputOptions()},
		},
		Notes: notes,
	}
	return o
}

func (o *options) connectionOptions() []cli.Option {
	return []cli.Option{
		mta.SpecOption(&o.spec),
		{Long: "negotiate-version", Arg: "N", Value: cli.Int(&o.version, 0, math.MaxInt32),
			Help: "offer version N of the protocol, with the actions and steps it has"},
		{Long: "offer-actions", Arg: "A|B|...", Value: console.Parsed(&o.actions, option.ParseAction),
			Help: "offer these actions only, as in 'add-headers|quarantine', or none"},
		{Long: "offer-steps", Arg: "A|B|...", Value: console.Parsed(&o.steps, option.ParseStep),
			Help: "offer these steps only, as in 'no-body|skip', or none"},
		{Long: "connection-timeout", Arg: "TIME", Value: cli.Duration(&o.connectionTimeout),
			Help: "give up connecting after TIME"},
		{Long: "reading-timeout", Arg: "TIME", Value: cli.Duration(&o.readingTimeout),
			Help: "give up waiting for an answer after TIME"},
		{Long: "writing-timeout", Arg: "TIME", Value: cli.Duration(&o.writingTimeout),
			Help: "give up sending a command after TIME"},
		{Long: "end-of-message-timeout", Arg: "TIME", Value: cli.Duration(&o.endOfMessageTimeout),
			Help: "give up waiting for the final answer to a mail after TIME"},
		{Long: "all-timeouts", Arg: "TIME", Value: cli.Func(o.setTimeouts),
			Help: "set all these timeouts; 0 means never"},
	}
}

func (o *options) clientOptions() []cli.Option {
	return []cli.Option{
		{Long: "connect-host", Arg: "HOST", Value: cli.String(&o.host), Help: "host name of the SMTP client"},
		{Long: "connect-address", Arg: "SPEC", Value: cli.Func(o.setAddress),
			Help: "its address: inet:PORT@ADDRESS, inet6:PORT@ADDRESS, unix:PATH or unknown " +
				"(default: inet:50443@192.168.123.123)"},
		{Long: "helo-fqdn", Arg: "NAME", Value: cli.String(&o.helo), Help: "what it says in HELO"},
		{Long: "unknown", Arg: "COMMAND", Value: cli.String(&o.unknown),
			Help: "an unknown SMTP command that it sends before DATA"},
		{Long: "authenticated-name", Arg: "NAME", Value: o.macro(protocol.CommandEnvelopeFrom, "{auth_authen}"),
			Help: "the name it has authenticated with"},
		{Long: "authenticated-type", Arg: "TYPE", Value: o.macro(protocol.CommandEnvelopeFrom, "{auth_type}"),
			Help: "how it has authenticated, such as PLAIN"},
		{Long: "authenticated-author", Arg: "NAME", Value: o.macro(protocol.CommandEnvelopeFrom, "{auth_author}"),
			Help: "the author of the mail, which it gave with MAIL"},
	}
}

func (o *options) mailOptions() []cli.Option {
	return []cli.Option{
		{Long: "envelope-from", Short: 'f', Arg: "'ADDRESS [PARAMETERS]'", Value: cli.String(&o.from),
			Help: "the sender; <> is the null sender (default: that of the mail file, or " + defaultFrom + ")"},
		{Long: "envelope-recipient", Short: 'r', Arg: "'ADDRESS [PARAMETERS]'", Value: cli.Strings(&o.recipients),
			Help: "a recipient; may be repeated (default: those of the mail file, or " + defaultRecipient + ")"},
		{Long: "header", Short: 'h', Arg: "'NAME: VALUE'", Value: cli.Func(o.addHeader),
			Help: "a header field at the end of the others; may be repeated"},
		{Long: "body", Short: 'b', Arg: "CHUNK", Value: cli.Strings(&o.chunks),
			Help: "the body, as it is; may be repeated, each CHUNK is a packet of its own"},
		{Long: "mail-file", Short: 'm', Arg: "PATH", Value: cli.String(&o.mailFile),
			Help: "take the mail from a file; - is standard input"},
		{Long: "from", Arg: "ADDRESS", Value: cli.String(&o.from), Hidden: true},
		{Long: "recipient", Arg: "ADDRESS", Value: cli.Strings(&o.recipients), Hidden: true},
	}
}

func (o *options) loadOptions() []cli.Option {
	return []cli.Option{
		{Long: "threads", Short: 't', Arg: "N", Value: cli.Int(&o.threads, 1, math.MaxInt),
			Help: "play N sessions at once"},
		{Long: "sessions", Arg: "N", Value: cli.Int(&o.sessions, 1, math.MaxInt),
			Help: "play N sessions in all (default: as many as --threads)"},
		{Long: "messages", Arg: "N", Value: cli.Int(&o.messages, 1, math.MaxInt),
			Help: "send the mail N times in each session"},
	}
}

func (o *options) outputOptions() []cli.Option {
	return []cli.Option{
		{Long: "output-message", Value: cli.Bool(&o.outputMessage),
			Help: "print the mail, with - and + before what the milter removed and added"},
		{Long: "color", Arg: "WHEN", Value: cli.Func(o.setColor), Implied: "yes",
			Help: "print it in color: yes, no or auto, which is on a terminal (default: auto)"},
		{Long: "verbose", Short: 'v', Value: cli.Bool(&o.verbose), Help: "print every packet"},
		{Long: "verdict-as-status", Value: cli.Bool(&o.verdictAsStatus),
			Help: "let the exit status say what the milter decided, see below"},
		{Long: "name", Arg: "NAME", Value: cli.String(&o.name),
			Help: "what the MTA calls itself in the macro {daemon_name}"},
	}
}

var notes = []cli.Note{
	{Title: "Notes", Text: "" +
		"TIME is a number of seconds or such as 100ms, 5m. PARAMETERS are those of ESMTP, such as\n" +
		"SIZE=1000. Addresses get angle brackets if they have none. With several sessions a summary\n" +
		"is printed instead of each result. A milter that closes the connection after its last answer,\n" +
		"without waiting for quit, is noted but did nothing wrong: one that is shut down does that."},
	{Title: "Exit status", Text: "" +
		"0 when all sessions went as the protocol wants, whatever the milter decided; 1 when one of\n" +
		"them did not, or the milter could not be reached; 2 when the command line is wrong. With\n" +
		"--verdict-as-status, in the place of 0:\n" +
		"\n" +
		"   0  the mail passed or was accepted\n" +
		"  10  it was rejected\n" +
		"  11  it was refused for now (temporary-failure)\n" +
		"  12  it was discarded\n" +
		"  13  it passed and was put on hold (quarantine)\n" +
		"\n" +
		"With several mails it is the lowest of these numbers that is not 0."},
}

func (o *options) parse(args []string) (err error) {
	if _, err := o.command.Parse(args); err != nil {
		return err
	}
	if o.target, err = mta.ParseTarget(o.spec); err != nil {
		return err
	}
	if o.sessions == 0 {
		o.sessions = o.threads
	}
	o.threads = min(o.threads, o.sessions)
	return nil
}

func (o *options) setTimeouts(text string) error {
	d, err := cli.ParseDuration(text)
	if err == nil {
		o.connectionTimeout, o.readingTimeout, o.writingTimeout, o.endOfMessageTimeout = d, d, d, d
	}
	return err
}

func (o *options) setAddress(text string) error {
	if text == "unknown" {
		o.address = nil
		return nil
	}
	spec, err := client.ParseSpec(text)
	if err != nil {
		return console.Plain(err)
	}
	if spec.Network == "unix" {
		o.address = &net.UnixAddr{Name: spec.Address, Net: "unix"}
		return nil
	}
	addr, err := netip.ParseAddrPort(spec.Address)
	if err != nil {
		return errors.New("the host must be an IP address")
	}
	o.address = net.TCPAddrFromAddrPort(addr)
	return nil
}

func (o *options) addHeader(text string) error {
	if _, err := parseHeader(text); err != nil {
		return err
	}
	o.headers = append(o.headers, text)
	return nil
}

func (o *options) setColor(text string) error {
	switch text {
	case "yes", "true", "always":
		o.color = "yes"
	case "no", "false", "never":
		o.color = "no"
	case "auto":
		o.color = text
	default:
		return errors.New("should be yes, no or auto")
	}
	return nil
}

// useColor reports whether what goes to w is to be colored.
func (o *options) useColor(w io.Writer) bool {
	return o.color == "yes" || o.color == "auto" && console.IsTerminal(w)
}

// offer returns what the milter is offered.
func (o *options) offer() option.Option {
	actions, steps := versionHas(o.version)
	return option.Option{Version: uint32(o.version), Actions: o.actions & actions, Steps: o.steps & steps}
}

// versionHas returns what a version of the protocol has (libmilter mfdef.h).
func versionHas(version int) (option.Action, option.Step) {
	switch {
	case version >= 6:
		return option.AllActions, option.AllSteps
	case version >= 4:
		return 0x3f, 0x37f
	case version == 3:
		return 0x3f, 0x17f
	case version == 2:
		return 0x3f, 0x7f
	}
	return option.DefaultActions, option.DefaultSteps
}
