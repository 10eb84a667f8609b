//go:build interop

package interop_test

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A luaCase is a script for miltertest and the milter that it plays against:
// milter-test-client with options.
type luaCase struct {
	script  string
	name    string   // besides that of the script
	milter  []string // options
	defines []string // variables for the script, as NAME=VALUE
	want    []string // lines that the milter prints, in this order; others may stand between
	fails   string   // what miltertest complains of; "" if it must not
}

const golden = "--add-header=X-Golden: added value"

// late delays the answer to every event.
func late(delay string) (options []string) {
	for _, event := range events {
		options = append(options, "--delay", event+"="+delay)
	}
	return options
}

func luaCases() []luaCase {
	cases := []luaCase{
		{script: "happy", milter: []string{golden}, want: []string{
			"connect: host=<client.example>, address=<inet:12345@[192.0.2.1]>", "helo: <client.example>",
			"envelope-from: <<from@example.com>>, parameters=<SIZE=10>", "envelope-recipient: <<to@example.net>>", "data",
			"header: <Subject: one>", "header: <Subject: two>", "end-of-header", "end-of-message", "finished"}},
		{script: "changes", milter: []string{"--status=end-of-message=accept", `--add-header=X-Added: a fold\n\tand more`, "--insert-header=1:X-Inserted: inserted",
			"--change-header=Subject: other", "--delete-header=Subject[2]", "--add-recipient=<new@example.net>",
			"--delete-recipient=<to@example.net>", `--replace-body=new text\nin two lines\n`, "--quarantine=a reason"}},
		{script: "changes", name: "each at once", milter: []string{"--packet-buffer-size=0", "--status=end-of-message=accept",
			"--quarantine=a reason", `--replace-body=new text\nin two lines\n`,
			"--delete-recipient=<to@example.net>", "--add-recipient=<new@example.net>", "--delete-header=Subject[2]", "--change-header=Subject: other",
			"--insert-header=1:X-Inserted: inserted", `--add-header=X-Added: a fold\n\tand more`}},
		{script: "recipients", milter: []string{`--reply=envelope-recipient:bad@example.net=550 5.7.1 go\naway`,
			"--status=envelope-recipient:slow@example.net=temporary-failure"},
			want: []string{"envelope-recipient: <<bad@example.net>>", "envelope-recipient: <<good@example.net>>", "envelope-recipient: <<bad@example.net>>",
				"envelope-recipient: <<slow@example.net>>", "envelope-recipient: <<another@example.net>>, parameters=<NOTIFY=NEVER>", "end-of-message"}},
		{script: "abort", milter: []string{golden, "-v"}, want: []string{
			"aborted: state=<envelope-from-replied>", "aborted: state=<envelope-recipient-replied>", "aborted: state=<data-replied>",
			"aborted: state=<header-replied>", "aborted: state=<end-of-header-replied>", "aborted: state=<body-replied>",
			"message-processed: status=<continue>, state=<end-of-message>, body-size=<25>"}},
		{script: "messages", milter: []string{golden, "--status=envelope-from:bad@example.com=reject"}},
		{script: "negotiation", milter: []string{golden, "--no-event=helo", "--no-event=unknown", "--no-reply=header", "--no-reply=body"},
			want: []string{"header: <Subject: no reply to it>", "header: <Subject: nor to this>", "end-of-header", "end-of-message"}},
		{script: "versions", milter: []string{golden, "--status=body=skip", "-v"}, want: []string{"body: <text",
			"message-processed: status=<continue>, state=<end-of-message>, body-size=<17>"}},
		{script: "macros", want: []string{
			"connect: host=<client.example>, address=<inet:12345@[192.0.2.1]>", "macros:", "  daemon_name=MTA", "  j=mta.example",
			"helo: <client.example>", "macros:", "  tls_version=TLSv1.3",
			"envelope-from: <<from@example.com>>", "macros:", "  auth_authen=", "  i=ID1",
			"envelope-recipient: <<to@example.net>>", "macros:", "  rcpt_addr=to@example.net",
			"envelope-from: <<from@example.com>>", "macros:", "  i=ID2"}},
		{script: "late", milter: append(late("20ms"), golden, "--status=end-of-message=accept")},
		{script: "late", name: "with progress", milter: []string{golden, "--status=end-of-message=accept", "--delay=end-of-message=120ms", "--progress=20ms"}},
		{script: "bodies", milter: []string{"--no-report-request"}},
		{script: "hangup", milter: []string{"-v"}, want: []string{"aborted: state=<data-replied>", "aborted: state=<data-replied>", "aborted: state=<data-replied>",
			"aborted: state=<data-replied>", "aborted: state=<data-replied>", "message-processed: status=<continue>, state=<end-of-message>, body-size=<25>"}},
		{script: "addresses", want: []string{
			"connect: host=<client.example>, address=<inet:12345@[192.0.2.1]>", `envelope-from: <<"a b"@example.com>>, parameters=<SIZE=10 BODY=8BITMIME>`,
			"connect: host=<client.example>, address=<inet6:12345@[2001:db8::1]>", "connect: host=<client.example>, address=<unknown>"}},
		{script: "defaults", milter: []string{golden}},
		{script: "skip", milter: []string{"--status=body=skip"}},
		// Or else the scripts could not fail.
		{script: "happy", name: "without the header field", fails: "FAIL: not so: X-Golden added\n"},
		{script: "skip", name: "without skip", fails: "FAIL: body: the reply is c, want s\n"},
	}
	for _, event := range events {
		for _, answer := range []struct{ letter, option, value string }{
			{"r", "--status", "=reject"}, {"t", "--status", "=temporary-failure"},
			{"y", "--reply", "=550 5.7.1 100% no"}, {"y", "--reply", `=451 4.7.1 one\ntwo\n3 three`},
		} {
			letter := answer.letter
			if strings.HasPrefix(answer.value, "=451") && event == "end-of-message" {
				continue // the script looks for the other text
			}
			cases = append(cases, luaCase{script: "refused", name: event + answer.value,
				milter: []string{answer.option, event + answer.value}, defines: []string{"event=" + event, "letter=" + letter}})
		}
		if event != "unknown" {
			cases = append(cases, luaCase{script: "refused", name: event + "=accept",
				milter: []string{"--status", event + "=accept"}, defines: []string{"event=" + event, "letter=a"}})
		}
		if !slices.Contains([]string{"connect", "helo", "unknown"}, event) {
			cases = append(cases, luaCase{script: "refused", name: event + "=discard",
				milter: []string{"--status", event + "=discard"}, defines: []string{"event=" + event, "letter=d"}})
		}
	}
	return cases
}

// TestMiltertest lets the miltertest of OpenDKIM judge milters of ours.
func TestMiltertest(t *testing.T) {
	skip := missing("INTEROP_SKIP_MILTERTEST", "miltertest")
	var release string
	if skip == "" {
		release = strings.TrimPrefix(version("miltertest", "-V"), "miltertest: OpenDKIM milter test facility v")
	}
	j := newJudge(t, "miltertest", release, skip)
	program := build(t, "milter-test-client")
	for _, tt := range luaCases() {
		j.run(t, strings.TrimSpace(tt.script+" "+tt.name), func(t *testing.T) {
			m := launch(t, program, append([]string{"-s", "inet:0@127.0.0.1"}, tt.milter...)...)
			port := regexp.MustCompile(`^listen: <inet:(\d+)@`).FindStringSubmatch(m.line())
			if port == nil {
				t.Fatal("the milter did not say where it listens")
			}
			args := []string{"-D", "sock=inet:" + port[1] + "@127.0.0.1", "-D", "common=peers/miltertest/common.lua", "-s", "peers/miltertest/" + tt.script + ".lua"}
			for _, d := range tt.defines {
				args = append([]string{"-D", d}, args...)
			}
			judge := exec.Command("miltertest", args...)
			// It has no limit of its own for the whole script.
			timer := time.AfterFunc(deadline, func() { _ = judge.Process.Kill() })
			defer timer.Stop()
			out, err := judge.CombinedOutput()
			if tt.fails == "" && (err != nil || string(out) != "done\n") {
				t.Errorf("miltertest: %v\n%s", err, out)
			}
			if tt.fails != "" && (err == nil || string(out) != tt.fails) {
				t.Errorf("miltertest: %v\n%s\nwant a failure with\n%s", err, out, tt.fails)
			}
			m.interrupt()
			if m.stderr.String() != "milter-test-client: interrupt: waiting up to 30s for mails in progress; a second signal ends at once\n" {
				t.Errorf("the milter complained:\n%s", &m.stderr)
			}
			missing := tt.want
			for _, line := range m.seen {
				if len(missing) > 0 && strings.TrimSuffix(line, "\r") == missing[0] {
					missing = missing[1:]
				}
			}
			if len(missing) > 0 {
				t.Errorf("the milter did not print %q after the lines before it", missing[0])
			}
		})
	}
}
