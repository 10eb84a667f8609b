package main

import "strings"

// The other columns of the comparison are recorded: their versions were attacked
// by one script, with the same inputs, over loopback and with default settings.
var peers = []struct{ name, version string }{
	{"phalaaxx", "github.com/phalaaxx/milter 8304fd4"},
	{"mschneider", "github.com/mschneider82/milter d8e0672"},
	{"emersion, old", "github.com/emersion/go-milter 572e724 (May 2024)"},
	{"emersion 0.5.0", "github.com/emersion/go-milter v0.5.0 (November 2026)"},
	{"d--j", "github.com/d--j/go-milter 7483ed5 (July 2026)"},
	{"C libmilter", "libmilter of Sendmail 8.17.1.9 (Debian), with a filter in C"},
	{"milter manager", "milter manager 0f0e09fd, its milter-test-client"},
}

// A comparedRow is a row of the comparison. ids name the rows of ours that it is
// made of.
type comparedRow struct {
	attack string
	ids    []string
	peers  [7]string
}

const crash = "CRASH"

func comparison() []comparedRow {
	ok7 := [7]string{"ok", "ok", "ok", "ok", "ok", "ok", "ok"}
	return []comparedRow{
		{"packet length 0", []string{"length-0"}, [7]string{crash, crash, crash, "ok", crash, "ok", "ok"}},
		{"CONNECT without NUL", []string{"connect-no-nul"}, [7]string{crash, crash, crash, "ok", crash, "ok", "ok"}},
		{"CONNECT, name only", []string{"connect-name-only"}, [7]string{crash, crash, crash, "ok", crash, "ok", "ok"}},
		{"MAIL without NUL", []string{"mail-no-nul"}, [7]string{"ok", "ok", "ok", "ok", crash, "ok", "ok"}},
		{"empty macro packet", []string{"macro-empty"}, [7]string{crash, crash, crash, "ok", "ok", "ok", "ok"}},
		{"odd macro list", []string{"macro-odd"}, [7]string{crash, crash, "ok", "ok", "ok", "ok", "ok"}},
		{"header with one string or without NUL, short negotiation, unknown command, `GET /`, TLS hello",
			[]string{"header-one-string", "header-no-nul", "negotiate-short", "unknown-command", "get", "tls"}, ok7},
		{"20 × length 0xFFFFFFFF: VmSize, MiB", []string{"length-20"},
			[7]string{"1489→83574", "→83502", "→83533", "flat", "flat", "flat", "flat"}},
		{"one packet of 500 MiB: RSS, MiB", []string{"packet-500"},
			[7]string{"4→205", "4→205", "4→205", "closed, 4", "4→205", "closed, 1", "4→204"}},
		{"a handler panics", []string{"panic-now", "panic-later"},
			[7]string{crash, "CRASH, unless handlers are set", crash, "survives", crash, "does not apply", "does not apply"}},
		{"no descriptor left (40 allowed, 80 connect)", []string{"emfile"},
			[7]string{"Serve returns, dead", "survives, 1 % CPU", "dead", "dead", "dead", "survives, 100 % CPU", "survives, 99 % CPU, 26 MB of log in 3 s"}},
		{"3 bytes of a length, then silence for 20 s", []string{"slow"},
			[7]string{"open", "open", "open", "open", "closed after 1 s (fixed)", "open", "open"}},
		{"200 sessions cut by RST", []string{"rst-200"},
			[7]string{"ok", "ok", "ok", "ok", "ok", "ok", "killed by SIGPIPE, 3 runs of 3, after 99, 41, 175"}},
		{"a header value with CRLF and a forged field, on the wire", []string{"inject-header"},
			[7]string{"as given", "as given", "CRLF→LF, still injected", "CRLF→LF, still injected", "CRLF→LF, still injected", "as given", "not tried"}},
		{"CR, LF in the text of a reply", []string{"inject-reply"},
			[7]string{"not tried", "not tried", "not tried", "not tried", "not tried", "refused", "not tried"}},
		{"descriptors before and after 400 aborted sessions", []string{"abort-400"},
			[7]string{"8/8", "8/8", "8/8", "8/8", "8/8", "6/6", "died"}},
		{"`-u nobody` as root", nil,
			[7]string{"no option", "no option", "no option", "no option", "no option", "the program's job", "Uid 65534, Gid 0, Groups kept (0 4 27)"}},
	}
}

// markdownComparison returns the comparison, with our column made of rows.
func markdownComparison(rows []row) string {
	byID := make(map[string]row)
	for _, r := range rows {
		byID[r.id] = r
	}
	var b strings.Builder
	head, rule := []string{"", "this library, measured"}, []string{"---", "---"}
	for _, p := range peers {
		head, rule = append(head, p.name), append(rule, "---")
	}
	writeLine(&b, head...)
	writeLine(&b, rule...)
	for _, c := range comparison() {
		writeLine(&b, append([]string{c.attack, ourCell(byID, c.ids)}, c.peers[:]...)...)
	}
	b.WriteString("\nVersions of the others:\n\n")
	for _, p := range peers {
		b.WriteString("- " + p.name + ": " + p.version + "\n")
	}
	return b.String()
}

// ourCell returns what the rows ids came to: the figure of a single one, "ok" for
// several, or the first outcome that is not as required. Without ids there is
// nothing to be attacked.
func ourCell(byID map[string]row, ids []string) string {
	if len(ids) == 0 {
		return "no option"
	}
	figure := "ok"
	for _, id := range ids {
		r, ok := byID[id]
		switch {
		case !ok:
			return "not run"
		case !r.ok:
			return "**" + r.outcome + "**"
		case len(ids) == 1 && r.figure != "":
			figure = "ok; " + r.figure
		}
	}
	return figure
}
