package protocol

import (
	"encoding/hex"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"
)

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

// ParseMailFrom splits what follows "MAIL FROM:" in an SMTP command, such as
// "<user@example.com> SIZE=10", into the path and the ESMTP parameters: the
// fields of an [EnvelopeFrom]. The path keeps its angle brackets and its source
// route; "<>" is the null sender.
//
// The grammar is the one of RFC 5321 section 4.1.2 with the UTF-8 of RFC 6531
// section 3.3. What stands in an address literal may be anything but brackets
// and blanks; a backslash in it quotes the next character. Several blanks
// between parameters and blanks at the end are allowed. An error says what was
// expected and quotes the argument, with "|@|" at the place of the fault.
func ParseMailFrom(argument string) (path string, params Parameters, err error) {
	return parseArgument("MAIL FROM", argument, func(a *argumentParser) {
		if !a.take("<>") {
			a.path()
		}
	})
}

// ParseRcptTo is [ParseMailFrom] for what follows "RCPT TO:". There is no null
// recipient, and "<Postmaster>", in any case, needs no domain (RFC 5321 section
// 4.1.1.3).
func ParseRcptTo(argument string) (path string, params Parameters, err error) {
	return parseArgument("RCPT TO", argument, func(a *argumentParser) {
		const postmaster = "<postmaster>"
		if len(argument) >= len(postmaster) && strings.EqualFold(argument[:len(postmaster)], postmaster) {
			a.pos = len(postmaster)
		} else {
			a.path()
		}
	})
}

func parseArgument(command, argument string, parsePath func(*argumentParser)) (string, Parameters, error) {
	a := argumentParser{text: argument}
	parsePath(&a)
	path := argument[:a.pos]
	params := a.parameters()
	if a.fault != "" {
		return "", nil, fmt.Errorf("protocol: %s argument: %s: %q", command, a.fault, mark(argument, a.pos))
	}
	return path, params, nil
}

// mark returns text with "|@|" in front of the byte at pos.
func mark(text string, pos int) string { return text[:pos] + "|@|" + text[pos:] }

// An argumentParser reads text from pos on. Its methods carry the names of the
// rules of RFC 5321 section 4.1.2. The first fault stops it where it is.
type argumentParser struct {
	text  string
	pos   int
	fault string
}

func (a *argumentParser) fail(fault string) {
	if a.fault == "" {
		a.fault = fault
	}
}

func (a *argumentParser) ended() bool { return a.fault != "" || a.pos == len(a.text) }

// take reads s if it comes next.
func (a *argumentParser) take(s string) bool {
	if a.fault != "" || !strings.HasPrefix(a.text[a.pos:], s) {
		return false
	}
	a.pos += len(s)
	return true
}

func (a *argumentParser) expect(s, where string) {
	if !a.take(s) {
		a.fail(fmt.Sprintf("%q is expected %s", s, where))
	}
}

// run reads the characters that belong to a class, UTF-8 beyond ASCII included,
// and reports whether there were any.
func (a *argumentParser) run(class func(c byte) bool) bool {
	start := a.pos
	for !a.ended() {
		c := a.text[a.pos]
		if c < utf8.RuneSelf && !class(c) {
			break
		}
		a.character()
	}
	return a.pos > start
}

// character reads one character, whatever it is.
func (a *argumentParser) character() {
	r, size := utf8.DecodeRuneInString(a.text[a.pos:])
	if r == utf8.RuneError && size == 1 {
		a.fail("text is not UTF-8")
		return
	}
	a.pos += size
}

// path = "<" [ At-domain *( "," At-domain ) ":" ] Mailbox ">"
func (a *argumentParser) path() {
	a.expect("<", "at the beginning")
	if a.take("@") {
		a.domain()
		for a.take(",") {
			a.expect("@", "in front of a domain of the source route")
			a.domain()
		}
		a.expect(":", "behind the source route")
	}
	if a.take(`"`) {
		a.quotedString()
	} else {
		a.dotString()
	}
	a.expect("@", "behind the local part")
	a.domain()
	a.expect(">", "behind the address")
}

func (a *argumentParser) dotString() {
	for {
		if !a.run(isAtext) {
			a.fail("a character of the local part is expected")
		}
		if !a.take(".") {
			return
		}
	}
}

// quotedString reads what follows the first quote.
func (a *argumentParser) quotedString() {
	for a.run(func(c byte) bool { return isPrintable(c) && c != '"' && c != '\\' }) || a.take(`\`) {
		if a.text[a.pos-1] == '\\' {
			a.quotedCharacter()
		}
	}
	a.expect(`"`, "at the end of the quoted local part")
}

// quotedCharacter reads what follows a backslash.
func (a *argumentParser) quotedCharacter() {
	if a.ended() || !isPrintable(a.text[a.pos]) && a.text[a.pos] < utf8.RuneSelf {
		a.fail("a printable character is expected behind the backslash")
		return
	}
	a.character()
}

// domain = ( sub-domain *( "." sub-domain ) ) / address-literal
func (a *argumentParser) domain() {
	if a.take("[") {
		a.addressLiteral()
		return
	}
	for {
		if !a.run(isLetterOrDigit) {
			a.fail("a letter or a digit is expected in the domain")
		}
		if a.run(isLetterDigitOrHyphen) && a.text[a.pos-1] == '-' {
			a.fail("a letter or a digit is expected behind the hyphen")
		}
		if !a.take(".") {
			return
		}
	}
}

// addressLiteral reads what follows the first bracket.
func (a *argumentParser) addressLiteral() {
	start := a.pos
	for a.run(func(c byte) bool { return isGraphic(c) && (c < '[' || c > ']') }) || a.take(`\`) {
		if a.text[a.pos-1] == '\\' {
			a.quotedCharacter()
		}
	}
	if a.pos == start {
		a.fail("an address is expected between the square brackets")
	}
	a.expect("]", "at the end of the address literal")
}

// parameters = *( 1*SP esmtp-keyword [ "=" esmtp-value ] ) *SP
func (a *argumentParser) parameters() (p Parameters) {
	for !a.ended() {
		a.expect(" ", "in front of a parameter")
		for a.take(" ") {
		}
		if a.ended() {
			return p
		}
		start := a.pos
		if !isLetterOrDigit(a.text[a.pos]) {
			a.fail("a letter or a digit is expected at the beginning of the parameter")
		}
		for !a.ended() && isLetterDigitOrHyphen(a.text[a.pos]) {
			a.pos++
		}
		if a.take("=") && !a.run(func(c byte) bool { return isGraphic(c) && c != '=' }) {
			a.fail("a value is expected behind the equals sign")
		}
		p = append(p, a.text[start:a.pos])
	}
	return p
}

func isLetterOrDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isLetterDigitOrHyphen(c byte) bool { return isLetterOrDigit(c) || c == '-' }

func isGraphic(c byte) bool { return '!' <= c && c <= '~' }

func isPrintable(c byte) bool { return isGraphic(c) || c == ' ' }

// isAtext is the rule atext of RFC 5322 section 3.2.3.
func isAtext(c byte) bool {
	return isLetterOrDigit(c) || c != 0 && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// Address returns the bare address of a path as it comes with MAIL and RCPT
// events: without angle brackets, without the source route (RFC 5321 appendix C
// says to ignore it), and without blanks or parameters around the brackets. A
// path without brackets is returned as it is, but for a source route; "" and
// "<>" give "". Address never fails: what is no path gives some part of it.
func Address(path string) string {
	address := strings.Trim(path, " \t")
	if strings.HasPrefix(address, "<") {
		address = address[1:]
		for i, c := range unquoted(address) {
			if c == '>' {
				address = address[:i]
				break
			}
		}
	}
	if strings.HasPrefix(address, "@") {
		for i, c := range unquoted(address) {
			if c == ':' {
				return address[i+1:]
			}
		}
	}
	return address
}

// SplitAddress splits an address as [Address] returns it at its last "@" that
// is not quoted. The local part keeps its quotes, the domain the brackets of an
// address literal. Without an "@" all is local part: "Postmaster", "".
func SplitAddress(address string) (local, domain string) {
	at := -1
	for i, c := range unquoted(address) {
		if c == '@' {
			at = i
		}
	}
	if at < 0 {
		return address, ""
	}
	return address[:at], address[at+1:]
}

// unquoted yields the bytes of address outside quoted strings and address
// literals, with their places.
func unquoted(address string) iter.Seq2[int, byte] {
	return func(yield func(int, byte) bool) {
		var end byte // ends the quoted string or literal; 0 outside of them
		for i := 0; i < len(address); i++ {
			switch c := address[i]; {
			case c == '\\':
				i++
			case end != 0:
				if c == end {
					end = 0
				}
			case c == '"':
				end = '"'
			case c == '[' && i > 0 && address[i-1] == '@':
				end = ']'
			case !yield(i, c):
				return
			}
		}
	}
}

// EncodeXtext returns s as xtext (RFC 3461 section 4), the form in which the
// parameters ENVID and ORCPT carry a text: "+", "=", blanks, control characters
// and all bytes beyond ASCII become "+" and two hexadecimal digits.
func EncodeXtext(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(s) {
		if isXchar(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'+', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// DecodeXtext is the inverse of [EncodeXtext]. Small hexadecimal digits are
// taken as well. A byte that xtext may not contain and a "+" without two digits
// are errors, which quote s with "|@|" at the place of the fault.
//
// In ORCPT the type of the address and a semicolon stand in front of the xtext:
// "rfc822;user+2Btag@example.com".
func DecodeXtext(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isXchar(c):
			b.WriteByte(c)
		case c == '+':
			v, err := hex.DecodeString(s[i+1 : min(i+3, len(s))])
			if err != nil || len(v) != 1 {
				return "", fmt.Errorf("protocol: xtext: two hexadecimal digits are expected: %q", mark(s, i+1))
			}
			b.WriteByte(v[0])
			i += 2
		default:
			return "", fmt.Errorf("protocol: xtext: %q is not allowed: %q", s[i:i+1], mark(s, i))
		}
	}
	return b.String(), nil
}

func isXchar(c byte) bool { return isGraphic(c) && c != '+' && c != '=' }
