package context

import (
	"fmt"
	"slices"
	"strings"

	"github.com/milter-go/milter/protocol"
)

// Parameters of the envelope are checked more strictly than addresses. Sendmail
// 8.17.1 ends the process that serves the SMTP client when a parameter it knows
// has no value, and writes debugging text into the SMTP dialogue when it refuses a
// recipient with parameters, or one of the parameters.

// maxPath is how long a path may be (RFC 5321 section 4.5.3.1.3).
const maxPath = 256

// checkFromParameters refuses parameters of a sender that are not ESMTP's, and
// those that must have a value and do not.
func checkFromParameters(parameters string) error {
	_, list, err := protocol.ParseMailFrom("<> " + parameters)
	if err != nil {
		return err
	}
	for _, p := range list {
		keyword, _, hasValue := strings.Cut(p, "=")
		switch strings.ToUpper(keyword) {
		case "SIZE", "BODY", "RET", "ENVID", "AUTH", "BY":
			if !hasValue {
				return fmt.Errorf("parameter %q should have a value: %q", p, parameters)
			}
		}
	}
	return nil
}

// checkRecipientParameters refuses a recipient with parameters that is no address,
// and parameters other than one NOTIFY and one ORCPT (RFC 3461 section 4), the only
// ones that MTAs take.
func checkRecipientParameters(recipient, parameters string) error {
	path := recipient
	if !strings.HasPrefix(path, "<") {
		path = "<" + path + ">"
	}
	if len(path) > maxPath {
		return fmt.Errorf("address should have at most %d bytes: %d", maxPath, len(path))
	}
	for _, c := range []byte(path) {
		if c >= 0x80 { // some of these bytes mean something else to Sendmail (its metacharacters)
			return fmt.Errorf("address with parameters should be ASCII: %q", recipient)
		}
	}
	_, list, err := protocol.ParseRcptTo(path + " " + parameters)
	if err != nil {
		return err
	}
	var seen []string
	for _, p := range list {
		keyword, value, _ := strings.Cut(p, "=")
		keyword = strings.ToUpper(keyword)
		valid := false
		switch keyword {
		case "NOTIFY":
			valid = isNotify(value)
		case "ORCPT":
			kind, xtext, _ := strings.Cut(value, ";")
			_, err := protocol.DecodeXtext(xtext)
			valid = kind != "" && xtext != "" && err == nil
		}
		if !valid {
			return fmt.Errorf("parameter of a recipient should be NOTIFY or ORCPT with a value of RFC 3461: %q", p)
		}
		if slices.Contains(seen, keyword) {
			return fmt.Errorf("parameter should be there once: %q", parameters)
		}
		seen = append(seen, keyword)
	}
	return nil
}

// isNotify is the rule notify-esmtp-value of RFC 3461 section 4.1.
func isNotify(value string) bool {
	if strings.EqualFold(value, "NEVER") {
		return true
	}
	for _, word := range strings.Split(value, ",") {
		switch strings.ToUpper(word) {
		case "SUCCESS", "FAILURE", "DELAY":
		default:
			return false
		}
	}
	return true
}
