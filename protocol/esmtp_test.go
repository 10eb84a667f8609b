package protocol_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/protocol"
)

// paths are good for MAIL FROM and RCPT TO alike.
var paths = []struct{ name, path, address, local, domain string }{
	{"plain", "<user@example.com>", "user@example.com", "user", "example.com"},
	{"one label", "<user@localhost>", "user@localhost", "user", "localhost"},
	{"all of atext", "<a.b!#$%&'*+-/=?^_`{|}~9@x>", "a.b!#$%&'*+-/=?^_`{|}~9@x", "a.b!#$%&'*+-/=?^_`{|}~9", "x"},
	{"digits and hyphens", "<1@2-a.3--b.c4>", "1@2-a.3--b.c4", "1", "2-a.3--b.c4"},
	{"quoted", `<"a b"@c>`, `"a b"@c`, `"a b"`, "c"},
	{"quoted, empty", `<""@c>`, `""@c`, `""`, "c"},
	{"quoted specials", `<"@>,:; <("@c>`, `"@>,:; <("@c`, `"@>,:; <("`, "c"},
	{"quoted pairs", `<"a\"b\\\@\ c"@d>`, `"a\"b\\\@\ c"@d`, `"a\"b\\\@\ c"`, "d"},
	{"IPv4 literal", "<a@[192.0.2.1]>", "a@[192.0.2.1]", "a", "[192.0.2.1]"},
	{"IPv6 literal", "<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]"},
	{"literal with specials", `<a@[x:>@"\]\\]>`, `a@[x:>@"\]\\]`, "a", `[x:>@"\]\\]`},
	{"source route", "<@a.example:user@b>", "user@b", "user", "b"},
	{"long source route", "<@a,@[192.0.2.1],@[IPv6:::1]:user@[IPv6:::2]>", "user@[IPv6:::2]", "user", "[IPv6:::2]"},
	{"source route and quotes", `<@a,@b:"x:y@z"@c>`, `"x:y@z"@c`, `"x:y@z"`, "c"},
	{"UTF-8", "<ü.é@bücher.example>", "ü.é@bücher.example", "ü.é", "bücher.example"},
	{"UTF-8 quoted", `<"ü \é"@日本.example>`, `"ü \é"@日本.example`, `"ü \é"`, "日本.example"},
	{"postmaster of a domain", "<Postmaster@example.com>", "Postmaster@example.com", "Postmaster", "example.com"},
}

func TestParsePaths(t *testing.T) {
	for _, tt := range paths {
		t.Run(tt.name, func(t *testing.T) {
			for command, parse := range parsers {
				path, params, err := parse(tt.path)
				if path != tt.path || params != nil || err != nil {
					t.Errorf("%s:%s gives %q, %q, %v; want the path alone", command, tt.path, path, params, err)
				}
				path, params, err = parse(tt.path + " SIZE=1")
				if path != tt.path || params.String() != "SIZE=1" || err != nil {
					t.Errorf("%s:%s SIZE=1 gives %q, %q, %v; want both", command, tt.path, path, params, err)
				}
			}
			if got := protocol.Address(tt.path); got != tt.address {
				t.Errorf("Address(%q) = %q, want %q", tt.path, got, tt.address)
			}
			local, domain := protocol.SplitAddress(tt.address)
			if local != tt.local || domain != tt.domain {
				t.Errorf("SplitAddress(%q) = %q, %q; want %q, %q", tt.address, local, domain, tt.local, tt.domain)
			}
		})
	}
}

var parsers = map[string]func(string) (string, protocol.Parameters, error){
	"MAIL FROM": protocol.ParseMailFrom,
	"RCPT TO":   protocol.ParseRcptTo,
}

func TestParseSpecialPaths(t *testing.T) {
	for _, in := range []string{"<>", "<> SIZE=1"} {
		if path, _, err := protocol.ParseMailFrom(in); path != "<>" || err != nil {
			t.Errorf("MAIL FROM:%s gives %q, %v; want the null sender", in, path, err)
		}
	}
	for _, in := range []string{"<Postmaster>", "<postmaster>", "<POSTMASTER>"} {
		path, params, err := protocol.ParseRcptTo(in + " NOTIFY=NEVER")
		if path != in || params.String() != "NOTIFY=NEVER" || err != nil {
			t.Errorf("RCPT TO:%s NOTIFY=NEVER gives %q, %q, %v; want both", in, path, params, err)
		}
	}
}

func TestParseParameters(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     protocol.Parameters
	}{
		{"none", "<a@b>", nil},
		{"blanks at the end", "<a@b>  ", nil},
		{"one", "<a@b> SIZE=10", protocol.Parameters{"SIZE=10"}},
		{"without value", "<a@b> SMTPUTF8", protocol.Parameters{"SMTPUTF8"}},
		{"several", "<a@b> SIZE=10 BODY=8BITMIME SMTPUTF8", protocol.Parameters{"SIZE=10", "BODY=8BITMIME", "SMTPUTF8"}},
		{"several blanks", "<a@b>  SIZE=10   BODY=7BIT ", protocol.Parameters{"SIZE=10", "BODY=7BIT"}},
		{"keyword with digits and hyphens", "<a@b> 8-x-=y", protocol.Parameters{"8-x-=y"}},
		{"value with all that is graphic", "<a@b> X=!\"#$%&'()*+,-./0;<>?@[\\]^_`{|}~", protocol.Parameters{"X=!\"#$%&'()*+,-./0;<>?@[\\]^_`{|}~"}},
		{"value in UTF-8", "<a@b> ORCPT=utf-8;ü@example.com", protocol.Parameters{"ORCPT=utf-8;ü@example.com"}},
		{"the same twice", "<a@b> SIZE=1 size=2", protocol.Parameters{"SIZE=1", "size=2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, got, err := protocol.ParseMailFrom(tt.in)
			if path != "<a@b>" || err != nil {
				t.Errorf("ParseMailFrom(%q) = %q, %v; want <a@b>", tt.in, path, err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("parameters (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	const (
		atBeginning = `"<" is expected at the beginning`
		local       = `a character of the local part is expected`
		at          = `"@" is expected behind the local part`
		domain      = `a letter or a digit is expected in the domain`
		bracket     = `">" is expected behind the address`
		quote       = `"\"" is expected at the end of the quoted local part`
		hyphen      = `a letter or a digit is expected behind the hyphen`
		literal     = `"]" is expected at the end of the address literal`
		backslash   = `a printable character is expected behind the backslash`
		blank       = `" " is expected in front of a parameter`
		keyword     = `a letter or a digit is expected at the beginning of the parameter`
		value       = `a value is expected behind the equals sign`
		utf8        = `text is not UTF-8`
	)
	for _, tt := range []struct{ name, marked, fault string }{
		{"empty", "|@|", atBeginning},
		{"no bracket", "|@|a@b", atBeginning},
		{"blank in front", "|@| <a@b>", atBeginning},
		{"bracket alone", "<|@|", local},
		{"no local part", "<|@|.@b>", local},
		{"bracket closed", "<a@b|@|", bracket},
		{"dot at the end", "<a.|@|@b>", local},
		{"two dots", "<a.|@|.b@c>", local},
		{"blank in the local part", "<a|@| b@c>", at},
		{"no domain", "<a|@|>", at},
		{"postmaster elsewhere", "<postmasters|@|>", at},
		{"empty domain", "<a@|@|>", domain},
		{"domain begins with a hyphen", "<a@|@|-b>", domain},
		{"label ends with a hyphen", "<a@b-|@|.c>", hyphen},
		{"domain ends with a dot", "<a@b.|@|>", domain},
		{"underscore", "<a@b|@|_c>", bracket},
		{"quote is not closed", `<"a@b>|@|`, quote},
		{"control character in quotes", "<\"a|@|\tb\"@c>", quote},
		{"quotes within a local part", `<a|@|"b"@c>`, at},
		{"text behind quotes", `<"a"|@|b@c>`, at},
		{"backslash at the end", `<"a\|@|`, backslash},
		{"backslash and control character", "<\"a\\|@|\x01\"@c>", backslash},
		{"literal is empty", "<a@[|@|]>", "an address is expected between the square brackets"},
		{"literal is not closed", "<a@[192.0.2.1|@|", literal},
		{"literal with a blank", "<a@[192.0|@| .2.1]>", literal},
		{"literal with a bracket", "<a@[x|@|[]>", literal},
		{"literal ends with a backslash", `<a@[x\|@|`, backslash},
		{"text behind a literal", "<a@[x]|@|y>", bracket},
		{"source route without domain", "<@|@|:a@b>", domain},
		{"source route without colon", "<@a|@|>", `":" is expected behind the source route`},
		{"source route without at", "<@a,|@|b:c@d>", `"@" is expected in front of a domain of the source route`},
		{"source route alone", "<@a:|@|>", local},
		{"text behind the path", "<a@b>|@|SIZE=1", blank},
		{"newline behind the path", "<a@b>|@|\r\n", blank},
		{"tab behind the path", "<a@b>|@|\tSIZE=1", blank},
		{"NUL in the local part", "<a|@|\x00@b>", at},
		{"keyword begins with a hyphen", "<a@b> |@|-SIZE=1", keyword},
		{"keyword is empty", "<a@b> |@|=1", keyword},
		{"keyword in UTF-8", "<a@b> |@|Ü=1", keyword},
		{"keyword with other characters", "<a@b> SI|@|_ZE=1", blank},
		{"no value", "<a@b> SIZE=|@|", value},
		{"no value, and another one", "<a@b> SIZE=|@| BODY=7BIT", value},
		{"two equals signs", "<a@b> SIZE=1|@|=2", blank},
		{"control character in a value", "<a@b> SIZE=1|@|\x7f", blank},
		{"no UTF-8 in the local part", "<a|@|\xff@b>", utf8},
		{"no UTF-8 in quotes", "<\"a|@|\xff\"@b>", utf8},
		{"no UTF-8 behind a backslash", "<\"a\\|@|\xff\"@b>", utf8},
		{"no UTF-8 in the domain", "<a@|@|\xc3>", utf8},
		{"no UTF-8 in a value", "<a@b> X=|@|\xc3", utf8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := strings.Replace(tt.marked, "|@|", "", 1)
			for command, parse := range parsers {
				path, params, err := parse(in)
				if err == nil {
					t.Errorf("%s:%q gives %q, %q; want an error", command, in, path, params)
					continue
				}
				want := "protocol: " + command + " argument: " + tt.fault + ": " + quoted(tt.marked)
				if diff := cmp.Diff(want, err.Error()); diff != "" || path != "" || params != nil {
					t.Errorf("with %q, %q (-want +got):\n%s", path, params, diff)
				}
			}
		})
	}
}

func TestParseErrorsOfOneCommand(t *testing.T) {
	for _, tt := range []struct{ command, marked, fault string }{
		{"RCPT TO", "<|@|>", "a character of the local part is expected"},
		{"MAIL FROM", "<Postmaster|@|>", `"@" is expected behind the local part`},
		{"MAIL FROM", "<>|@|x", `" " is expected in front of a parameter`},
		{"RCPT TO", "<Postmaster>|@|x", `" " is expected in front of a parameter`},
	} {
		_, _, err := parsers[tt.command](strings.Replace(tt.marked, "|@|", "", 1))
		want := "protocol: " + tt.command + " argument: " + tt.fault + ": " + quoted(tt.marked)
		if err == nil || err.Error() != want {
			t.Errorf("%s:%s: error %v, want %s", tt.command, tt.marked, err, want)
		}
	}
}

func TestAddress(t *testing.T) {
	for _, tt := range []struct{ name, path, want string }{
		{"nothing", "", ""},
		{"null sender", "<>", ""},
		{"no brackets", "user@example.com", "user@example.com"},
		{"no brackets, source route", "@a,@b:user@c", "user@c"},
		{"no domain", "<Postmaster>", "Postmaster"},
		{"no domain, no brackets", "root", "root"},
		{"blanks around", " <a@b> ", "a@b"},
		{"parameters in the same string", "<a@b> SIZE=10 X=<y>", "a@b"},
		{"no bracket at the end", "<a@b", "a@b"},
		{"no bracket at the beginning", "a@b>", "a@b>"},
		{"quotes that do not end", `<"a@b>`, `"a@b>`},
		{"a backslash at the end", `<a\`, `a\`},
		{"source route without colon", "<@a>", "@a"},
		{"colon in a literal only", "<@[IPv6:::1]>", "@[IPv6:::1]"},
		{"a bracket in the local part", "<a[b@c>", "a[b@c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := protocol.Address(tt.path); got != tt.want {
				t.Errorf("Address(%q) = %q, want %q", tt.path, got, tt.want)
			}
		})
	}
}

func TestSplitAddress(t *testing.T) {
	for _, tt := range []struct{ name, address, local, domain string }{
		{"nothing", "", "", ""},
		{"no domain", "Postmaster", "Postmaster", ""},
		{"empty domain", "a@", "a", ""},
		{"empty local part", "@a", "", "a"},
		{"two", "a@b@c", "a@b", "c"},
		{"quoted", `"a@b"@c`, `"a@b"`, "c"},
		{"quoted only", `"a@b"`, `"a@b"`, ""},
		{"quotes that do not end", `"a@b`, `"a@b`, ""},
		{"behind a backslash", `a\@b`, `a\@b`, ""},
		{"in a literal", "a@[x@y]", "a", "[x@y]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			local, domain := protocol.SplitAddress(tt.address)
			if local != tt.local || domain != tt.domain {
				t.Errorf("SplitAddress(%q) = %q, %q; want %q, %q", tt.address, local, domain, tt.local, tt.domain)
			}
		})
	}
}

func TestParametersGet(t *testing.T) {
	params := protocol.Parameters{"SIZE=1", "SMTPUTF8", "auth=<>", "X=a=b", "size=2", ""}
	for _, tt := range []struct {
		name, keyword, want string
		ok                  bool
	}{
		{"the last one counts", "SIZE", "2", true},
		{"any case", "Auth", "<>", true},
		{"no value", "SMTPUTF8", "", true},
		{"equals sign in the value", "X", "a=b", true},
		{"not there", "BODY", "", false},
		{"beginning of a keyword", "SMTP", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := params.Get(tt.keyword)
			if got != tt.want || ok != tt.ok {
				t.Errorf("Get(%q) = %q, %t; want %q, %t", tt.keyword, got, ok, tt.want, tt.ok)
			}
		})
	}
	if got := protocol.Parameters(nil).String(); got != "" {
		t.Errorf("no parameters are %q, want nothing", got)
	}
}

func TestXtext(t *testing.T) {
	for _, tt := range []struct{ name, text, xtext string }{
		{"empty", "", ""},
		{"plain", "user@example.com", "user@example.com"},
		{"plus", "user+tag@example.com", "user+2Btag@example.com"},
		{"equals sign and blank", "a = b", "a+20+3D+20b"},
		{"ends of the range", "!~", "!~"},
		{"controls and bytes beyond ASCII", "\x00\x7f\xff\n", "+00+7F+FF+0A"},
		{"UTF-8", "ü", "+C3+BC"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := protocol.EncodeXtext(tt.text); got != tt.xtext {
				t.Errorf("EncodeXtext(%q) = %q, want %q", tt.text, got, tt.xtext)
			}
			if got, err := protocol.DecodeXtext(tt.xtext); got != tt.text || err != nil {
				t.Errorf("DecodeXtext(%q) = %q, %v; want %q", tt.xtext, got, err, tt.text)
			}
		})
	}
	if got, err := protocol.DecodeXtext("+2b+c3+Bc"); got != "+ü" || err != nil {
		t.Errorf("small digits: %q, %v; want them taken", got, err)
	}
}

func TestDecodeXtextErrors(t *testing.T) {
	const digits = "two hexadecimal digits are expected"
	for _, tt := range []struct{ marked, fault string }{
		{"a+|@|", digits},
		{"a+|@|2", digits},
		{"a+|@|2G", digits},
		{"a+|@|G2", digits},
		{"a+|@|+2B", digits},
		{"a|@|=b", `"=" is not allowed`},
		{"a|@| b", `" " is not allowed`},
		{"a|@|\x00", `"\x00" is not allowed`},
		{"a|@|\xff", `"\xff" is not allowed`},
	} {
		got, err := protocol.DecodeXtext(strings.Replace(tt.marked, "|@|", "", 1))
		want := "protocol: xtext: " + tt.fault + ": " + quoted(tt.marked)
		if got != "" || err == nil || err.Error() != want {
			t.Errorf("DecodeXtext = %q, %v; want error %s", got, err, want)
		}
	}
}
