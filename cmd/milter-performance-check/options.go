package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/milter-go/milter/client/cli"
	"github.com/milter-go/milter/cmd/internal/console"
	"github.com/milter-go/milter/cmd/internal/mta"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

const name = "milter-performance-check"

// options are what the command line says.
type options struct {
	command *cli.Command

	spec    string
	target  mta.Target
	timeout time.Duration
	offer   option.Option

	sessions, messages, messagesPerSession int
	newConnection                          bool
	duration                               time.Duration
	warmUp                                 time.Duration // below 0 until parse, if it was not given

	headers, recipients, bodySize, bodyChunk, seed int
	macros                                         string

	idle, idleMessages, idleBodySize int // a body size below 0 stands for bodySize
	hold                             time.Duration

	expect         uint // a bit for each protocol.Status
	expectName     string
	changes        int // below 0 for those of the first message
	varyingChanges bool

	pid        int
	format     string
	noProgress bool
}

func newOptions() *options {
	o := &options{
		timeout:      10 * time.Second,
		offer:        option.All(),
		sessions:     1,
		duration:     10 * time.Second,
		warmUp:       -1,
		headers:      20,
		recipients:   1,
		bodySize:     4096,
		bodyChunk:    protocol.MaxChunk,
		seed:         1,
		macros:       "postfix",
		idleBodySize: -1,
		hold:         5 * time.Second,
		expect:       1<<protocol.StatusAccept | 1<<protocol.StatusContinue,
		changes:      -1,
		format:       "table",
	}
	o.command = &cli.Command{
		Name:  name,
		Usage: "-s SPEC [OPTION]...",
		Summary: "Plays messages to a milter as fast as it takes them, as many MTAs would, and prints\n" +
			"what they cost. Every reply is checked.",
		Groups: []cli.Group{
			{Title: "Connection", Options: o.connectionOptions()},
			{Title: "Load", Options: o.loadOptions()},
			{Title: "Message", Options: o.messageOptions()},
			{Title: "Idle sessions, instead of a load", Options: o.idleOptions()},
			{Title: "What the milter has to do", Options: o.expectOptions()},
			{Title: "Output", Options: o.outputOptions()},
		},
		Notes: notes,
	}
	return o
}

func (o *options) connectionOptions() []cli.Option {
	return []cli.Option{
		mta.SpecOption(&o.spec),
		{Long: "timeout", Arg: "TIME", Value: cli.Duration(&o.timeout),
			Help: "fail when a connection or a reply does not come within TIME; 0 means never"},
		{Long: "offer", Arg: "A|B|...", Value: console.Parsed(&o.offer.Steps, orAll(option.AllSteps, option.ParseStep)),
			Help: "offer these steps only, as in 'no-body|skip', all, or none (default: all, as Postfix does)"},
		{Long: "actions", Arg: "A|B|...", Value: console.Parsed(&o.offer.Actions, orAll(option.AllActions, option.ParseAction)),
			Help: "offer these actions only, as in 'add-headers|quarantine', all, or none (default: all)"},
	}
}

func (o *options) loadOptions() []cli.Option {
	return []cli.Option{
		{Long: "sessions", Short: 'c', Arg: "N", Value: cli.Int(&o.sessions, 1, 2_000_000_000),
			Help: "play N sessions at once"},
		{Long: "messages", Short: 'n', Arg: "N", Value: cli.Int(&o.messages, 0, math.MaxInt),
			Help: "measure N messages in all (default: until --duration is over)"},
		{Long: "messages-per-session", Arg: "N", Value: cli.Int(&o.messagesPerSession, 0, math.MaxInt),
			Help: "quit after N messages and make a new connection (default: never)"},
		{Long: "new-connection", Value: cli.Bool(&o.newConnection),
			Help: "make a new connection for each message, as --messages-per-session=1"},
		{Long: "duration", Arg: "TIME", Value: cli.Duration(&o.duration),
			Help: "measure for TIME, unless --messages says how many"},
		{Long: "warm-up", Arg: "TIME", Value: console.Parsed(&o.warmUp, cli.ParseDuration),
			Help: "send messages for TIME before measuring (default: 1s; none with --messages)"},
	}
}

func (o *options) messageOptions() []cli.Option {
	return []cli.Option{
		{Long: "headers", Arg: "N", Value: cli.Int(&o.headers, 0, 1e6), Help: "header fields of each message"},
		{Long: "recipients", Arg: "N", Value: cli.Int(&o.recipients, 1, 1e6), Help: "recipients of each message"},
		{Long: "body-size", Arg: "BYTES", Value: bytesValue(&o.bodySize), Help: "size of the body (default: 4k)"},
		{Long: "body-chunk", Arg: "BYTES", Value: cli.Int(&o.bodyChunk, 1, protocol.MaxChunk),
			Help: "size of the packets that the body is sent in"},
		{Long: "macros", Arg: "WHICH", Value: oneOf(&o.macros, "postfix", "none"),
			Help: "postfix: those that Postfix sends, with nearly each command; or none (default: postfix)"},
		{Long: "seed", Arg: "N", Value: cli.Int(&o.seed, 0, math.MaxInt),
			Help: "make up another text"},
	}
}

func (o *options) idleOptions() []cli.Option {
	return []cli.Option{
		{Long: "idle", Arg: "N", Value: cli.Int(&o.idle, 0, 2_000_000_000),
			Help: "open N sessions, as many at once as --sessions says, and hold them idle"},
		{Long: "idle-messages", Arg: "N", Value: cli.Int(&o.idleMessages, 0, math.MaxInt),
			Help: "send N messages in each before (default: none)"},
		{Long: "idle-body-size", Arg: "BYTES", Value: bytesValue(&o.idleBodySize),
			Help: "size of the body of these (default: that of --body-size)"},
		{Long: "hold", Arg: "TIME", Value: cli.Duration(&o.hold),
			Help: "hold them for TIME, after the time of --warm-up"},
	}
}

func (o *options) expectOptions() []cli.Option {
	return []cli.Option{
		{Long: "expect", Arg: "VERDICT", Value: cli.Func(o.setExpect),
			Help: "the reply to end of message: accept, continue, reject, tempfail, discard or any " +
				"(default: accept or continue)"},
		{Long: "changes", Arg: "N", Value: cli.Func(o.setChanges),
			Help: "packets with changes at end of message (default: those of the first message)"},
		{Long: "varying-changes", Value: cli.Bool(&o.varyingChanges),
			Help: "let the changes differ from message to message; else all bytes must be those of the first one"},
	}
}

func (o *options) outputOptions() []cli.Option {
	return []cli.Option{
		{Long: "pid", Arg: "PID", Value: cli.Int(&o.pid, 1, math.MaxInt32>>4),
			Help: "measure the CPU time, memory, reads and writes of this process, the milter's (Linux)"},
		{Long: "format", Arg: "FORMAT", Value: oneOf(&o.format, "table", "json", "csv"),
			Help: "table, json or csv; times in the latter two are in seconds (default: table)"},
		{Long: "no-progress", Value: cli.Bool(&o.noProgress),
			Help: "show no progress; it is shown on a terminal only"},
	}
}

var notes = []cli.Note{
	{Title: "Notes", Text: "" +
		"TIME is a number of seconds or such as 100ms, 5m; BYTES is a number, or one of KiB or MiB as\n" +
		"in 64k, 1m. What the milter need not answer is joined with what follows; a message costs one\n" +
		"write for each reply that is awaited. Events that the milter does not want are not sent. A\n" +
		"message that the milter decides on before its end is over there, and counts. The latency is\n" +
		"that from MAIL to the last reply.\n" +
		"\n" +
		"A milter fails when it sends what it may not: a reply that is not allowed or was not\n" +
		"negotiated, a change before end of message, a reply to a step without one, anything behind\n" +
		"the last reply, a malformed packet, nothing in time.\n" +
		"\n" +
		"With --pid the CPU time is that of the process and all its threads, ended ones too, not that\n" +
		"of its children. Reads and writes are the system calls that Linux counts in /proc/PID/io:\n" +
		"read, write and their relatives, not recv and send. Memory per idle session is the growth\n" +
		"since before the sessions were opened, divided by their number. A signal ends the measuring;\n" +
		"the figures up to then are printed."},
	{Title: "Exit status", Text: "" +
		"0 when the milter did all that it should; 1 when it did not or could not be reached, and the\n" +
		"figures up to then are printed; 2 when the command line is wrong."},
}

func (o *options) parse(args []string) (err error) {
	if _, err := o.command.Parse(args); err != nil {
		return err
	}
	if o.target, err = mta.ParseTarget(o.spec); err != nil {
		return err
	}
	if o.newConnection {
		if o.messagesPerSession > 1 {
			return cli.Usagef("--new-connection and --messages-per-session=%d exclude each other", o.messagesPerSession)
		}
		o.messagesPerSession = 1
	}
	return o.parseRun()
}

// parseRun checks what depends on the kind of the run.
func (o *options) parseRun() error {
	switch {
	case o.idle > 0 && (o.messages > 0 || o.messagesPerSession > 0):
		return cli.Usagef("--idle=%d and options for messages exclude each other: say --idle-messages", o.idle)
	case o.idle == 0 && (o.idleMessages > 0 || o.idleBodySize >= 0):
		return cli.Usagef("--idle-messages and --idle-body-size need --idle")
	case o.idle == 0 && o.messages == 0 && o.duration == 0:
		return cli.Usagef("--duration=0 needs --messages: there is nothing to measure")
	case o.idle > 0:
		o.sessions = min(o.sessions, o.idle)
		if o.idleBodySize >= 0 {
			o.bodySize = o.idleBodySize
		}
	case o.messages > 0:
		o.sessions = min(o.sessions, o.messages)
	}
	if o.warmUp < 0 {
		o.warmUp = time.Second
		if o.messages > 0 {
			o.warmUp = 0
		}
	}
	return nil
}

func (o *options) setExpect(text string) error {
	const accept, cont, reject, tempfail, discard = 1 << protocol.StatusAccept, 1 << protocol.StatusContinue,
		1 << protocol.StatusReject, 1 << protocol.StatusTemporaryFailure, 1 << protocol.StatusDiscard
	switch text {
	case "accept":
		o.expect = accept
	case "continue":
		o.expect = cont
	case "reject":
		o.expect = reject
	case "tempfail", "temporary-failure":
		o.expect, text = tempfail, "tempfail"
	case "discard":
		o.expect = discard
	case "any":
		o.expect = accept | cont | reject | tempfail | discard
	default:
		return errors.New("should be accept, continue, reject, tempfail, discard or any")
	}
	o.expectName = text
	return nil
}

// expectText says which bytes --expect means.
func (o *options) expectText() string {
	switch o.expectName {
	case "accept":
		return "'a'"
	case "continue":
		return "'c'"
	case "reject":
		return "'r', or 'y' with 5xx"
	case "tempfail":
		return "'t', or 'y' with 4xx"
	case "discard":
		return "'d'"
	}
	return "'a' or 'c'"
}

// orAll returns parse, of a set of steps or actions, with "all" as another word.
func orAll[T any](all T, parse func(string) (T, error)) func(string) (T, error) {
	return func(text string) (T, error) {
		if text == "all" {
			return all, nil
		}
		return parse(text)
	}
}

// oneOf puts the value, one of some words, into *p.
func oneOf(p *string, words ...string) cli.Value {
	return cli.Func(func(text string) error {
		if !slices.Contains(words, text) {
			last := len(words) - 1
			return fmt.Errorf("should be %s or %s", strings.Join(words[:last], ", "), words[last])
		}
		*p = text
		return nil
	})
}

// bytesValue puts a number of bytes into *p: "4096", "64k", "1m".
func bytesValue(p *int) cli.Value {
	return cli.Func(func(text string) error {
		const most = 1 << 30
		digits, unit := text, 1
		switch {
		case strings.HasSuffix(text, "k"), strings.HasSuffix(text, "K"):
			digits, unit = text[:len(text)-1], 1<<10
		case strings.HasSuffix(text, "m"), strings.HasSuffix(text, "M"):
			digits, unit = text[:len(text)-1], 1<<20
		}
		n, err := strconv.ParseUint(digits, 10, 32)
		switch {
		case errors.Is(err, strconv.ErrRange), err == nil && n > uint64(most/unit):
			return fmt.Errorf("must be at most %d", most)
		case err != nil:
			return errors.New(`not a number of bytes, such as "4096", "64k" or "1m"`)
		}
		*p = int(n) * unit
		return nil
	})
}

func (o *options) setChanges(text string) error {
	n, err := strconv.ParseUint(text, 10, 31)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return errors.New("too large a number")
	case err != nil:
		return errors.New("not a whole number from 0 on")
	}
	o.changes = int(n)
	return nil
}
