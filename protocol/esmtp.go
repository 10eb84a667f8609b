package protocol

import "strings"

// Parameters are the ESMTP parameters of a MAIL FROM or RCPT TO, each as the
// client typed it: "SIZE=1000", "BODY=8BITMIME", "SMTPUTF8".
type Parameters []string

// Get returns the value of the parameter called keyword, in any case, and
// whether it is there. A parameter without "=" has the value "". If there are
// several, the last one counts.
func (p Parameters) Get(keyword string) (value string, ok bool) {
	for _, parameter := range p {
		if k, v, _ := strings.Cut(parameter, "="); strings.EqualFold(k, keyword) {
			value, ok = v, true
		}
	}
	return value, ok
}

// String returns the parameters joined by blanks, as they stand in the command.
func (p Parameters) String() string { return strings.Join(p, " ") }
