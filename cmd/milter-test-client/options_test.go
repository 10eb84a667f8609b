package main

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBadOptions(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"operand", []string{"inet:1"}, `extra operand "inet:1"`},
		{"spec", []string{"-s", "foo"}, `spec doesn't have colon: "foo"; write "inet:PORT@HOST", "inet6:PORT@HOST" or "unix:PATH"`},
		{"port", []string{"-s", "inet:70000"}, `port number should be less than 65536: "inet:70000": "70000"`},
		{"no spec", []string{"-s"}, `option requires an argument -- 's'`},
		{"mode", []string{"--unix-socket-mode=9"}, `invalid value "9" for '--unix-socket-mode': mode must be 0-7: "9": "9"`},
		{"connections", []string{"--max-connections=many"}, `invalid value "many" for '--max-connections': not a whole number`},
		{"no limit", []string{"--refuse-at-limit"}, `--refuse-at-limit was given, but without --max-connections there is no limit`},
		{"timeout", []string{"--timeout=-5"}, `invalid value "-5" for '--timeout': must not be negative`},
		{"version", []string{"--negotiate-version=7"}, `invalid value "7" for '--negotiate-version': must be from 2 to 6`},
		{"event", []string{"--no-event=mail"}, `invalid value "mail" for '--no-event': unknown event "mail"`},
		{"event that cannot be left out", []string{"--no-event=end-of-message"},
			`invalid value "end-of-message" for '--no-event': end-of-message and its reply cannot be left out`},
		{"stage", []string{"--macro=body=i"}, `invalid value "body=i" for '--macro': unknown stage "body"`},
		{"macros", []string{"--macro=helo"}, `invalid value "helo" for '--macro': should be STAGE=NAMES`},
		{"status", []string{"--status=helo=refuse"}, `invalid value "helo=refuse" for '--status': unknown status "refuse"`},
		{"status, no event", []string{"--status=reject"}, `invalid value "reject" for '--status': should be EVENT=STATUS`},
		{"status, no pattern", []string{"--status=helo:=reject"}, `invalid value "helo:=reject" for '--status': there is no pattern behind "helo:"`},
		{"status that is not allowed", []string{"--status=connect=discard"},
			`invalid value "connect=discard" for '--status': connect allows only continue, reject, temporary-failure, progress, accept, no-reply and close`},
		{"answer to an event left out", []string{"--status=helo=reject", "--no-event=helo"},
			`an answer to helo was given, but --no-event helo means that there is none`},
		{"answer that nobody reads", []string{"--delay=helo=1", "--no-reply=helo"},
			`an answer to helo was given, but --no-reply helo means that there is none`},
		{"reply", []string{"--reply=helo=go away"}, `invalid value "helo=go away" for '--reply': should be EVENT=CODE [X.Y.Z] TEXT`},
		{"code", []string{"--reply=helo=250 fine"}, `invalid value "helo=250 fine" for '--reply': code should be 4XX or 5XX: 250`},
		{"classes", []string{"--reply=helo=550 4.1.1 no"},
			`invalid value "helo=550 4.1.1 no" for '--reply': extended code should have the class of the code: 550: "4.1.1"`},
		{"reply to the negotiation", []string{"--reply=negotiate=550 no"}, `invalid value "negotiate=550 no" for '--reply': negotiate has no SMTP reply`},
		{"delay", []string{"--delay=helo=later"},
			`invalid value "helo=later" for '--delay': "later": not a duration, such as "10" (seconds), "100ms" or "5m"`},
		{"header without colon", []string{"--add-header=X"}, `invalid value "X" for '--add-header': there is no colon behind the name of the header field`},
		{"header name", []string{"--add-header=X Y: z"}, `invalid value "X Y: z" for '--add-header': header name should not contain ' ': "X Y"`},
		{"header value", []string{"--change-header=X: a\\nb"},
			`invalid value "X: a\\nb" for '--change-header': each line of a header value after the first should begin with a space or tab: "a\nb"`},
		{"header place", []string{"--insert-header=X: y"}, `invalid value "X: y" for '--insert-header': should be 'INDEX:NAME: VALUE'`},
		{"negative place", []string{"--insert-header=-1:X: y"}, `invalid value "-1:X: y" for '--insert-header': header index should be from 0 to 2147483647: -1`},
		{"header index", []string{"--delete-header=X[1"}, `invalid value "X[1" for '--delete-header': "X[1" should be NAME[INDEX]`},
		{"address", []string{"--change-from= SIZE=1"}, `invalid value " SIZE=1" for '--change-from': address should not be empty`},
		{"parameters", []string{"--add-recipient=a b\n"}, `invalid value "a b\n" for '--add-recipient': parameters should not contain '\n': "b\n"`},
		{"recipient", []string{"--delete-recipient="}, `invalid value "" for '--delete-recipient': address should not be empty`},
		{"file", []string{"--replace-body=@/does/not/exist"},
			`invalid value "@/does/not/exist" for '--replace-body': open /does/not/exist: no such file or directory`},
		{"reason", []string{"--quarantine="}, `invalid value "" for '--quarantine': reason should not be empty`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			// If the options were taken, the milter would end with status 1.
			args := append([]string{"-s", "unix:/does/not/exist/m"}, tt.args...)
			if status := run(args, system{&stdout, &stderr, func(string) string { return "" }, nil}); status != 2 {
				t.Errorf("exit status %d, want 2", status)
			}
			want := "milter-test-client: " + tt.want + "\nTry 'milter-test-client --help' for more information.\n"
			if diff := cmp.Diff(want, stderr.String()); diff != "" || stdout.Len() > 0 {
				t.Errorf("stdout %q, stderr (-want +got):\n%s", stdout.String(), diff)
			}
		})
	}
}

// Whether the client warns is its own affair, and tested there; here nothing
// listens where others may reach it.
func TestAllowRemote(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want bool
	}{
		{"default", nil, false},
		{"allowed", []string{"--allow-remote"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOptions(func(string) string { return "" })
			must(t, o.parse(append(tt.args, "-s", "inet:10025")))
			c, err := o.client(&printer{})
			must(t, err)
			if c.AllowRemote != tt.want {
				t.Errorf("AllowRemote is %t, want %t", c.AllowRemote, tt.want)
			}
		})
	}
}
