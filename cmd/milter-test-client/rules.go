package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/milter-go/milter/client/cli"
	"github.com/milter-go/milter/cmd/internal/console"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// A rule says how an event is answered, or how late.
type rule struct {
	event   protocol.Command
	pattern string // of an argument; "" fits all
	status  protocol.Status
	close   bool // end the connection instead
	smtp    reply.SMTP
	delay   time.Duration
}

// find returns the first of rules that fits an event with these arguments.
func find(rules []rule, event protocol.Command, arguments []string) (rule, bool) {
	for _, r := range rules {
		if r.event != event {
			continue
		}
		if r.pattern == "" || slices.ContainsFunc(arguments, r.fits) {
			return r, true
		}
	}
	return rule{}, false
}

func (r rule) fits(argument string) bool {
	if fits(r.pattern, argument) {
		return true
	}
	bare, ok := strings.CutPrefix(argument, "<")
	if ok {
		bare, ok = strings.CutSuffix(bare, ">")
	}
	return ok && fits(r.pattern, bare)
}

// fits reports whether text is pattern, in any case; a * in pattern is any text.
func fits(pattern, text string) bool {
	pattern, text = strings.ToLower(pattern), strings.ToLower(text)
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	first, last := parts[0], parts[len(parts)-1]
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	if text, ok = strings.CutSuffix(text, last); !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		if _, text, ok = strings.Cut(text, part); !ok {
			return false
		}
	}
	return true
}

// events are the events that have an answer.
var events = []protocol.Command{
	protocol.CommandNegotiate, protocol.CommandConnect, protocol.CommandHelo, protocol.CommandEnvelopeFrom,
	protocol.CommandEnvelopeRecipient, protocol.CommandData, protocol.CommandUnknown, protocol.CommandHeader,
	protocol.CommandEndOfHeader, protocol.CommandBody, protocol.CommandEndOfMessage,
}

func parseEvent(text string) (protocol.Command, error) {
	for _, e := range events {
		if e.String() == text {
			return e, nil
		}
	}
	return 0, fmt.Errorf("unknown event %q", text)
}

// eventsInto returns a function that appends an event to *list, if it can be left
// out or left without a reply.
func eventsInto(list *[]protocol.Command) func(string) error {
	return func(text string) error {
		e, err := parseEvent(text)
		if err == nil && (e == protocol.CommandNegotiate || e == protocol.CommandEndOfMessage) {
			err = fmt.Errorf("%v and its reply cannot be left out", e)
		}
		*list = append(*list, e)
		return err
	}
}

// parseFit reads EVENT or EVENT:PATTERN.
func parseFit(text string) (r rule, err error) {
	event, pattern, hasPattern := strings.Cut(text, ":")
	if hasPattern && pattern == "" {
		return r, fmt.Errorf("there is no pattern behind %q", event+":")
	}
	r.pattern = pattern
	r.event, err = parseEvent(event)
	return r, err
}

// cutLast cuts EVENT:PATTERN=VALUE. PATTERN may contain "=", VALUE does not.
func cutLast(text, form string) (r rule, value string, err error) {
	i := strings.LastIndexByte(text, '=')
	if i < 0 {
		return r, "", errors.New("should be " + form)
	}
	r, err = parseFit(text[:i])
	return r, text[i+1:], err
}

func (o *options) addStatus(text string) error {
	r, name, err := cutLast(text, "EVENT=STATUS")
	if err != nil {
		return err
	}
	if name == "close" {
		r.close = true
	} else if r.status, err = protocol.ParseStatus(name); err != nil {
		return fmt.Errorf("unknown status %q", name)
	} else if allowed := statusesOf(r.event); !slices.Contains(allowed, r.status) {
		return fmt.Errorf("%v allows only %s and close", r.event, join(allowed))
	}
	o.answers = append(o.answers, r)
	return nil
}

// statusesOf returns the statuses that an event may be answered with.
func statusesOf(event protocol.Command) []protocol.Status {
	statuses := []protocol.Status{protocol.StatusContinue, protocol.StatusReject, protocol.StatusTemporaryFailure, protocol.StatusProgress}
	switch event {
	case protocol.CommandNegotiate:
		return append(statuses, protocol.StatusAccept)
	case protocol.CommandConnect, protocol.CommandHelo:
		return append(statuses, protocol.StatusAccept, protocol.StatusNoReply)
	case protocol.CommandUnknown:
		return append(statuses, protocol.StatusNoReply)
	case protocol.CommandBody:
		return append(statuses, protocol.StatusAccept, protocol.StatusDiscard, protocol.StatusNoReply, protocol.StatusSkip)
	case protocol.CommandEndOfMessage:
		return append(statuses, protocol.StatusAccept, protocol.StatusDiscard)
	}
	return append(statuses, protocol.StatusAccept, protocol.StatusDiscard, protocol.StatusNoReply)
}

func join(statuses []protocol.Status) string {
	var names []string
	for _, s := range statuses {
		names = append(names, s.String())
	}
	return strings.Join(names, ", ")
}

// replyStart is where the reply begins in EVENT:PATTERN=CODE TEXT: both PATTERN
// and TEXT may contain "=".
var replyStart = regexp.MustCompile(`=\d{3}( |$)`)

// extendedCode is the extended code at the beginning of a text.
var extendedCode = regexp.MustCompile(`^\d\.\d{1,3}\.\d{1,3}( |$)`)

func (o *options) addReply(text string) error {
	at := replyStart.FindStringIndex(text)
	if at == nil {
		return errors.New("should be EVENT=CODE [X.Y.Z] TEXT")
	}
	r, err := parseFit(text[:at[0]])
	if err != nil {
		return err
	}
	if r.event == protocol.CommandNegotiate {
		return errors.New("negotiate has no SMTP reply")
	}
	code, err := strconv.Atoi(text[at[0]+1 : at[0]+4])
	if err != nil {
		return err
	}
	text = text[at[1]:]
	extended := extendedCode.FindString(text)
	text = unescape(text[len(extended):])
	if r.smtp, err = reply.NewSMTP(code, strings.TrimSuffix(extended, " "), text); err != nil {
		return console.Plain(err)
	}
	r.status = protocol.StatusTemporaryFailure
	if code >= 500 {
		r.status = protocol.StatusReject
	}
	o.answers = append(o.answers, r)
	return nil
}

func (o *options) addDelay(text string) error {
	r, value, err := cutLast(text, "EVENT=TIME")
	if err != nil {
		return err
	}
	if r.delay, err = cli.ParseDuration(value); err != nil {
		return fmt.Errorf("%q: %w", value, err)
	}
	o.delays = append(o.delays, r)
	return nil
}

var escapes = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\\`, `\`)

func unescape(text string) string { return escapes.Replace(text) }
