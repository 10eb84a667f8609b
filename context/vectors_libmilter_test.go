package context_test

import (
	"slices"
	"testing"
)

// libmilterVectors returns the exchanges with libmilter.
func libmilterVectors(t *testing.T) []vectorTest {
	t.Helper()
	type recording struct {
		Steps []struct {
			In             int
			Out            []vectorWire
			Callbacks      []string
			ClosedByFilter bool `json:"closed_by_filter"`
		}
		AfterClose []string `json:"callbacks_after_mta_close"`
	}
	var vectors []struct {
		recording
		Name     string
		Config   vectorConfig `json:"filter_config"`
		In       []vectorWire `json:"in_hex"`
		Upstream *recording   `json:"upstream_threads_build"`
	}
	readVectors(t, "libmilter.json", &vectors)
	var tests []vectorTest
	for _, v := range vectors {
		r := v.recording
		if v.Upstream != nil {
			r = *v.Upstream
		}
		test := vectorTest{name: v.Name, config: v.Config, in: v.In, after: r.AfterClose}
		for i, s := range r.Steps {
			if s.In != i {
				t.Fatalf("%s: step %d sends input %d", v.Name, i, s.In)
			}
			test.want = append(test.want, vectorStep{s.Callbacks, slices.Concat(s.Out...), s.ClosedByFilter})
		}
		tests = append(tests, test)
	}
	return tests
}

// vectorDifferences are the exchanges that do not come out as recorded, on
// purpose, with the reason.
var vectorDifferences = map[string]string{
	// The negotiation.
	"neg-zero-masks-need-more":       clampedOffer,
	"neg-action-unsatisfied":         clampedOffer,
	"neg-protocol-unsatisfied-noeoh": clampedOffer,
	"neg-cb-skip-not-offered":        clampedOffer,
	"neg-cb-reject":                  "The MTA is told that the milter refuses the session; libmilter just closes.",
	"neg-symlist-dup-and-bad": "MacroRequests.Set replaces the list of a stage; libmilter refuses a second one. " +
		"Go has no NULL: no list is an empty one.",

	// Commands out of order.
	"neg-cb-nr-but-reject":     outOfOrder,
	"neg-after-connect":        outOfOrder,
	"no-neg-connect-first":     outOfOrder,
	"rcpt-before-mail":         outOfOrder,
	"body-after-header-no-eoh": outOfOrder,
	"body-after-data":          outOfOrder,
	"eom-after-headers":        outOfOrder,
	"quit-nc-in-mail": "QUIT_NC ends the session wherever it comes and the next one begins; " +
		"libmilter ignores it within a mail, and the CONNECT after it as well.",

	// What the MTA does not know as a command.
	"unknown-after-neg":              unknownChangesNothing,
	"unknown-after-rcpt-then-header": unknownChangesNothing,
	"unknown-in-data":                unknownChangesNothing,
	"ret-unknown-REJECT":             abortOutsideMail,
	"ret-unknown-DISCARD":            abortOutsideMail + " " + statusNotAllowed,

	// Malformed commands.
	"helo-no-nul":    malformedCommand,
	"unknown-no-nul": malformedCommand + " (libmilter reads on behind the end of the packet.)",
	"mail-no-nul": "A MAIL that cannot be read begins no mail transaction: the milter was not told of one " +
		"that could be aborted.",
	"connect-inet-short-form": "An IPv4 address has four numbers; no MTA sends one with fewer, and libmilter's inet_aton takes it.",
	"connect-unix-longpath":   "A path of a unix socket may be of any length; libmilter has 108 bytes for it.",
	"macro-odd-strings":       "A macro without a value has the empty value; with libmilter it is as if it were not there. No MTA sends one.",

	// Sizes.
	"body-65536":    largePayload,
	"bad-len-65537": largePayload + " The rest of this packet is waited for.",

	// Statuses.
	"ret-helo-DISCARD":      statusNotAllowed,
	"ret-helo-ALL_OPTS":     statusNotAllowed,
	"ret-helo-99":           statusNotAllowed,
	"ret-helo--1":           statusNotAllowed,
	"ret-eom-99":            statusNotAllowed,
	"ret-connect-SKIP":      skipIsForBody,
	"ret-helo-SKIP":         skipIsForBody,
	"ret-envrcpt-SKIP":      skipIsForBody,
	"header-skip":           skipIsForBody,
	"body-skip":             "SKIP was not negotiated: the MTA gets continue, and the library swallows the rest of the body.",
	"noreply-without-nr":    noReplyNotNegotiated,
	"ret-envrcpt-NOREPLY":   noReplyNotNegotiated,
	"ret-data-NOREPLY":      noReplyNotNegotiated,
	"ret-header-NOREPLY":    noReplyNotNegotiated,
	"ret-body-NOREPLY":      noReplyNotNegotiated,
	"eom-with-payload":      endOfMessageChunk,
	"eom-with-payload-skip": endOfMessageChunk + " libmilter answers twice.",

	// After the final answer to a mail.
	"rcpt-accept":             sameDecision,
	"header-accept-then-more": sameDecision,
	"rcpt-tempfail-discard": "DISCARD for a recipient discards the mail, as Sendmail takes it; what still comes of the mail " +
		"is answered with it. libmilter goes on with the mail.",

	// Macros, changes, replies.
	"macro-abort-keeps":            "The macros of a mail go with it, also when it is aborted; with libmilter they are there in the next one.",
	"mod-addheader-null":           "Go has no NULL: no value is the empty value, with which a header can be added.",
	"mod-addheader-multiline-crlf": "CRLF in a header value becomes LF, which is what MTAs take.",
	"mod-chgfrom":                  "No parameters are the empty string; libmilter sends an empty second string for that.",
	"progress-outside-eom":         "Progress is sent only while a reply to end-of-message is due: Sendmail drops a milter that sends it elsewhere.",
	"reply-crlf":                   severalLines,
	"mlreply-crlf":                 severalLines,
	"reply-persists-across-stages": "The reply belongs to the event it was set in; libmilter keeps it for the next refusal.",

	"timeout-0": "A timeout of 0 means none; with libmilter the session ends at once.",
}

// Reasons that hold for several exchanges.
const (
	clampedOffer          = "What was not offered is dropped from the answer, and the milter works with what there is; libmilter closes."
	outOfOrder            = "A command out of order ends the session with an error; libmilter drops it in silence, and the MTA waits."
	unknownChangesNothing = "An unknown SMTP command changes nothing about what may follow; libmilter forgets where it is and drops the next commands."
	abortOutsideMail      = "There is no mail to abort; libmilter does not know after an unknown SMTP command."
	malformedCommand      = "A malformed command ends the session with an error; libmilter lets it pass."
	largePayload          = "A payload of up to 1 MiB is taken: Postfix sends headers above 64 KiB. libmilter closes."
	statusNotAllowed      = "A status that the event does not allow is reported and answered with continue; libmilter sends it, or nothing, and the MTA waits."
	skipIsForBody         = "SKIP is an answer to body chunks: elsewhere MTAs lose their way. It is reported and answered with continue."
	noReplyNotNegotiated  = "NO_REPLY was not negotiated: the MTA gets continue. libmilter sends nothing, and the MTA waits."
	endOfMessageChunk     = "Data in the end-of-message packet is given to OnEndOfMessage; libmilter calls the body callback first."
	sameDecision          = "What still comes of a mail after its final answer is answered with that answer; libmilter drops it in silence."
	severalLines          = "SetReply does the work of setreply and setmlreply: a line end in the text begins a new line. libmilter refuses it."
)
