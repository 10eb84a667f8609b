package context_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/milter-go/milter/context"
)

// TestEnvelopeParameters has the parameters that Sendmail 8.17.1 answers with the
// end of the connection, or with debugging text in the SMTP dialogue.
func TestEnvelopeParameters(t *testing.T) {
	const to, from = "<c@example.com>", "<from@example.com>"
	for _, tt := range []struct {
		name                string
		recipient           bool
		address, parameters string
		want                bool // it is sent
	}{
		{"notify", true, to, "NOTIFY=NEVER", true},
		{"all of notify, in any case", true, to, "notify=success,Failure,DELAY", true},
		{"original recipient", true, to, "ORCPT=rfc822;user+2Btag@example.com", true},
		{"both, with blanks", true, to, " NOTIFY=DELAY  ORCPT=utf-8;x ", true},
		{"no brackets", true, "c@example.com", "NOTIFY=NEVER", true},
		{"quoted local part", true, `<"a b"@example.com>`, "NOTIFY=NEVER", true},
		{"another parameter", true, to, "FOO=bar", false},
		{"notify without value", true, to, "NOTIFY", false},
		{"notify with an empty value", true, to, "NOTIFY=", false},
		{"notify with another word", true, to, "NOTIFY=SOMETIMES", false},
		{"notify with never and others", true, to, "NOTIFY=SUCCESS,NEVER", false},
		{"notify with a comma at its end", true, to, "NOTIFY=SUCCESS,", false},
		{"original recipient without value", true, to, "ORCPT", false},
		{"original recipient without type", true, to, "ORCPT=x", false},
		{"original recipient with an empty type", true, to, "ORCPT=;x", false},
		{"original recipient that is no xtext", true, to, "ORCPT=rfc822;x+y", false},
		{"original recipient twice", true, to, "ORCPT=rfc822;x ORCPT=rfc822;y", false},
		{"no parameter", true, to, "=", false},
		{"address with a blank", true, "<c d@example.com>", "NOTIFY=NEVER", false},
		{"address without domain", true, "c@", "NOTIFY=NEVER", false},
		{"address with an empty label", true, "c@example..com", "NOTIFY=NEVER", false},
		{"address with two at-signs", true, "<a@b@c>", "NOTIFY=NEVER", false},
		{"address of 257 bytes", true, "<c@" + strings.Repeat("x", 253) + ">", "NOTIFY=NEVER", false},
		{"address beyond ASCII", true, "<a@\u2028example.test>", "NOTIFY=SUCCESS,DELAY", false},
		{"the same without parameters", true, "<a@\u2028example.test>", "", true},
		{"two addresses", true, "<a@b,c@d>", "NOTIFY=NEVER", false},
		{"brackets that do not fit", true, "c@example.com>", "NOTIFY=NEVER", false},
		{"odd address without parameters", true, "<a@b@c>", "", true},
		{"sender", false, from, "RET=HDRS ENVID=abc SIZE=10 BODY=8BITMIME AUTH=<>", true},
		{"sender with a parameter without value", false, from, "SMTPUTF8", true},
		{"sender with an empty value", false, from, "ENVID=", false},
		{"sender, ENVID alone", false, from, "ENVID", false},
		{"sender, RET alone", false, from, "ret", false},
		{"sender, SIZE alone", false, from, "X=1 SIZE", false},
		{"sender, BODY alone", false, from, "BODY", false},
		{"sender, AUTH alone", false, from, "AUTH", false},
		{"sender, BY alone", false, from, "BY", false},
		{"sender with something else", false, from, "<x>", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, w := atEndOfMessage(t, context.Config{})
			before := w.Len()
			var err error
			if tt.recipient {
				err = ctx.AddRecipient(tt.address, tt.parameters)
			} else {
				err = ctx.ChangeFrom(tt.address, tt.parameters)
			}
			if sent := w.Len() > before; sent != tt.want || tt.want != (err == nil) {
				t.Errorf("sent: %t, error: %v; want it sent: %t", sent, err, tt.want)
			}
			if err != nil && !errors.Is(err, context.ErrInvalidArgument) {
				t.Errorf("want ErrInvalidArgument, got %v", err)
			}
		})
	}
}
