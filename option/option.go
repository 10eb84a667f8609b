// Package option holds what the MTA and a milter agree on when a session
// begins: the protocol version, the changes the milter may make ([Action]),
// the steps of the dialogue that are left out or go without a reply ([Step]),
// and the macros the milter asks for ([MacroRequests]).
//
// All types are plain values: nothing here does I/O, knows a connection, or is
// safe to change from several goroutines at once.
package option

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is the newest protocol version that this library speaks. It is the
// version of Sendmail 8.14 and later and of Postfix 2.6 and later.
const Version uint32 = 6

// MinVersion is the oldest protocol version that this library serves, as in
// libmilter: an offer below it is refused.
const MinVersion uint32 = 2

// An Option is one side's idea of a session: the MTA offers one, the milter
// answers with what it takes of it.
type Option struct {
	Version uint32 // protocol version, 2 to 6
	Actions Action // changes the milter may make
	Steps   Step   // parts of the dialogue that are changed or left out
}

// All returns the option of an MTA that offers everything there is in the
// newest version, as Sendmail and Postfix do.
func All() Option { return Option{Version, AllActions, AllSteps} }

// Combine narrows o, an offer, to what answer takes of it: the version becomes
// the answer's, actions and steps are what both have. An answer that is newer
// than the offer is an error and leaves o as it was.
func (o *Option) Combine(answer Option) error {
	if o.Version < answer.Version {
		return fmt.Errorf("option: version %d was answered to an offer of version %d", answer.Version, o.Version)
	}
	o.Version = answer.Version
	o.Actions &= answer.Actions
	o.Steps &= answer.Steps
	return nil
}

// Merge widens o by another milter's answer, for somebody that speaks to an MTA
// for several milters: an action is wanted when one of them wants it, a step is
// left out only when all of them leave it out (see [Step.Merge]). The version
// stays; another one that is newer is an error and leaves o as it was.
func (o *Option) Merge(other Option) error {
	if o.Version < other.Version {
		return fmt.Errorf("option: version %d cannot be merged into version %d", other.Version, o.Version)
	}
	o.Actions |= other.Actions
	o.Steps = o.Steps.Merge(other.Steps)
	return nil
}

// String returns o as "version=6 actions=add-headers|quarantine steps=skip".
func (o Option) String() string {
	return fmt.Sprintf("version=%d actions=%v steps=%v", o.Version, o.Actions, o.Steps)
}

// An Action is a set of changes that a milter may make at end of message, the
// "actions" word of the negotiation (libmilter's SMFIF_ flags).
type Action uint32

// The actions. InsertHeader needs ActionAddHeaders as AddHeader does.
const (
	ActionAddHeaders                     Action = 0x001 // SMFIF_ADDHDRS
	ActionChangeBody                     Action = 0x002 // SMFIF_CHGBODY
	ActionAddEnvelopeRecipient           Action = 0x004 // SMFIF_ADDRCPT
	ActionDeleteEnvelopeRecipient        Action = 0x008 // SMFIF_DELRCPT
	ActionChangeHeaders                  Action = 0x010 // SMFIF_CHGHDRS
	ActionQuarantine                     Action = 0x020 // SMFIF_QUARANTINE
	ActionChangeEnvelopeFrom             Action = 0x040 // SMFIF_CHGFROM
	ActionAddEnvelopeRecipientParameters Action = 0x080 // SMFIF_ADDRCPT_PAR
	ActionSetSymbolList                  Action = 0x100 // SMFIF_SETSYMLIST

	// NoActions is the empty set.
	NoActions Action = 0
	// AllActions is every action of version 6.
	AllActions Action = 0x1ff
	// DefaultActions is what an offer of zero means: the actions of version 1
	// (libmilter engine.c).
	DefaultActions Action = 0x0f
)

var actionNames = []flagName{
	{0x001, "add-headers"},
	{0x002, "change-body"},
	{0x004, "add-envelope-recipient"},
	{0x008, "delete-envelope-recipient"},
	{0x010, "change-headers"},
	{0x020, "quarantine"},
	{0x040, "change-envelope-from"},
	{0x080, "add-envelope-recipient-with-parameters"},
	{0x100, "set-symbol-list"},
}

// Has reports whether every bit of b is set in a.
func (a Action) Has(b Action) bool { return a&b == b }

// String returns the names of the actions in a, joined by "|", bits without a
// name in hexadecimal, and "none" for the empty set.
func (a Action) String() string { return flagString(uint32(a), actionNames) }

// ParseAction is the inverse of [Action.String].
func ParseAction(s string) (Action, error) {
	v, err := parseFlags(s, "action", actionNames)
	return Action(v), err
}

// A Step is a set of agreements about the dialogue, the "steps" word of the
// negotiation (libmilter's SMFIP_ flags): events the milter does without,
// events it does not reply to, and three things it can do besides.
type Step uint32

// The steps.
const (
	StepNoConnect           Step = 0x000001 // SMFIP_NOCONNECT: the MTA sends no connect event
	StepNoHelo              Step = 0x000002 // SMFIP_NOHELO
	StepNoEnvelopeFrom      Step = 0x000004 // SMFIP_NOMAIL
	StepNoEnvelopeRecipient Step = 0x000008 // SMFIP_NORCPT
	StepNoBody              Step = 0x000010 // SMFIP_NOBODY
	StepNoHeaders           Step = 0x000020 // SMFIP_NOHDRS
	StepNoEndOfHeader       Step = 0x000040 // SMFIP_NOEOH
	StepNoUnknown           Step = 0x000100 // SMFIP_NOUNKNOWN
	StepNoData              Step = 0x000200 // SMFIP_NODATA

	StepNoReplyHeader            Step = 0x000080 // SMFIP_NR_HDR: the MTA awaits no reply to a header
	StepNoReplyConnect           Step = 0x001000 // SMFIP_NR_CONN
	StepNoReplyHelo              Step = 0x002000 // SMFIP_NR_HELO
	StepNoReplyEnvelopeFrom      Step = 0x004000 // SMFIP_NR_MAIL
	StepNoReplyEnvelopeRecipient Step = 0x008000 // SMFIP_NR_RCPT
	StepNoReplyData              Step = 0x010000 // SMFIP_NR_DATA
	StepNoReplyUnknown           Step = 0x020000 // SMFIP_NR_UNKN
	StepNoReplyEndOfHeader       Step = 0x040000 // SMFIP_NR_EOH
	StepNoReplyBody              Step = 0x080000 // SMFIP_NR_BODY

	StepSkip                        Step = 0x000400 // SMFIP_SKIP: the milter may answer a body chunk with SKIP
	StepEnvelopeRecipientRejected   Step = 0x000800 // SMFIP_RCPT_REJ: recipients that the MTA rejects are sent as well
	StepHeaderValueWithLeadingSpace Step = 0x100000 // SMFIP_HDR_LEADSPC: header values keep the space after the colon

	// NoSteps is the empty set.
	NoSteps Step = 0
	// AllSteps is every step of version 6.
	AllSteps Step = 0x1fffff
	// DefaultSteps is what an offer of zero means: the steps of version 1
	// (libmilter engine.c).
	DefaultSteps Step = 0x3f

	// NoEventSteps are the steps that leave an event out.
	NoEventSteps = StepNoConnect | StepNoHelo | StepNoEnvelopeFrom | StepNoEnvelopeRecipient |
		StepNoBody | StepNoHeaders | StepNoEndOfHeader | StepNoUnknown | StepNoData
	// NoReplySteps are the steps that leave a reply out.
	NoReplySteps = StepNoReplyHeader | StepNoReplyConnect | StepNoReplyHelo | StepNoReplyEnvelopeFrom |
		StepNoReplyEnvelopeRecipient | StepNoReplyData | StepNoReplyUnknown |
		StepNoReplyEndOfHeader | StepNoReplyBody
	// YesSteps are the steps that add something.
	YesSteps = StepSkip | StepEnvelopeRecipientRejected | StepHeaderValueWithLeadingSpace
)

var stepNames = []flagName{
	{0x000001, "no-connect"},
	{0x000002, "no-helo"},
	{0x000004, "no-envelope-from"},
	{0x000008, "no-envelope-recipient"},
	{0x000010, "no-body"},
	{0x000020, "no-headers"},
	{0x000040, "no-end-of-header"},
	{0x000080, "no-reply-header"},
	{0x000100, "no-unknown"},
	{0x000200, "no-data"},
	{0x000400, "skip"},
	{0x000800, "envelope-recipient-rejected"},
	{0x001000, "no-reply-connect"},
	{0x002000, "no-reply-helo"},
	{0x004000, "no-reply-envelope-from"},
	{0x008000, "no-reply-envelope-recipient"},
	{0x010000, "no-reply-data"},
	{0x020000, "no-reply-unknown"},
	{0x040000, "no-reply-end-of-header"},
	{0x080000, "no-reply-body"},
	{0x100000, "header-value-with-leading-space"},
}

// Has reports whether every bit of t is set in s.
func (s Step) Has(t Step) bool { return s&t == t }

// Merge returns the steps that suit both s and t: an event or a reply is left
// out only when both leave it out, and what one of them asks for is there.
func (s Step) Merge(t Step) Step {
	const no = NoEventSteps | NoReplySteps
	return s&t&no | (s|t)&YesSteps
}

// String returns the names of the steps in s, joined by "|", bits without a
// name in hexadecimal, and "none" for the empty set.
func (s Step) String() string { return flagString(uint32(s), stepNames) }

// ParseStep is the inverse of [Step.String].
func ParseStep(s string) (Step, error) {
	v, err := parseFlags(s, "step", stepNames)
	return Step(v), err
}

type flagName struct {
	bit  uint32
	name string
}

func flagString(v uint32, names []flagName) string {
	if v == 0 {
		return "none"
	}
	var b strings.Builder
	for _, f := range names {
		if v&f.bit == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('|')
		}
		b.WriteString(f.name)
		v &^= f.bit
	}
	if v != 0 {
		if b.Len() > 0 {
			b.WriteByte('|')
		}
		b.WriteString("0x" + strconv.FormatUint(uint64(v), 16))
	}
	return b.String()
}

func parseFlags(s, kind string, names []flagName) (uint32, error) {
	if s == "none" {
		return 0, nil
	}
	var v uint32
next:
	for word := range strings.SplitSeq(s, "|") {
		for _, f := range names {
			if f.name == word {
				v |= f.bit
				continue next
			}
		}
		n, err := strconv.ParseUint(strings.TrimPrefix(word, "0x"), 16, 32)
		if err != nil || !strings.HasPrefix(word, "0x") {
			return 0, fmt.Errorf("option: unknown %s %q", kind, word)
		}
		v |= uint32(n)
	}
	return v, nil
}
