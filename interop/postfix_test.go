//go:build interop

package interop_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// findPostfix returns its version, or why there is none.
func findPostfix() (version, skip string) {
	if skip := os.Getenv("INTEROP_SKIP_POSTFIX"); skip != "" {
		return "", skip
	}
	out, err := exec.Command("/usr/sbin/postconf", "-dh", "mail_version").Output()
	if err != nil {
		return "", "Postfix is not installed; interop/run installs it"
	}
	return strings.TrimSpace(string(out)), ""
}

// A postfix is an instance of Postfix.
type postfix struct{ etc, spool, log string }

func (p *postfix) name() string { return "postfix" }

// The settings beside the milters say: this machine only, everything to the sink,
// unchanged, and no delays for a client that makes errors.
const mainCf = `compatibility_level = 3.6
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
queue_directory = %[1]s/spool
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
myhostname = mta.test.local
mydomain = test.local
myorigin = test.local
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
alias_maps =
alias_database =
local_recipient_maps =
virtual_alias_domains = local.test
virtual_alias_maps =
relayhost = [127.0.0.1]:%[2]d
smtp_line_length_limit = 0
smtp_destination_recipient_limit = 2000
smtpd_recipient_limit = 2000
message_size_limit = 50000000
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 100000
smtpd_hard_error_limit = 100000
smtp_connection_cache_on_demand = no
in_flow_delay = 0
milter_default_action = tempfail
`

const masterCf = `postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
showq unix n - n - - showq
`

func (p *postfix) start(t *testing.T, dir string, out *sink, ports []*port) {
	t.Helper()
	account, err := user.Lookup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	p.etc, p.spool, p.log = dir+"/etc", dir+"/spool", dir+"/log"
	mkdir(t, p.etc, 0o755, 0)
	mkdir(t, p.spool, 0o755, 0)
	mkdir(t, dir+"/data", 0o755, uid)

	main := fmt.Sprintf(mainCf, dir, out.port())
	master := masterCf
	milters := make(map[string]string) // by the title of their port
	for _, port := range ports {
		if path, host, number := port.endpoint(t); path != "" {
			milters[port.title] = "unix:" + path
		} else {
			milters[port.title] = fmt.Sprintf("inet:%s:%s", host, number)
		}
	}
	for _, port := range ports {
		milter := milters[port.title]
		if port.title == "local" {
			main += "non_smtpd_milters = " + milter + "\n"
		}
		if port.next != "" {
			milter += "," + milters[port.next]
		}
		master += fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd\n  -o smtpd_milters=%s\n", port.number, milter)
		for _, setting := range port.settings {
			master += "  -o " + setting + "\n"
		}
	}
	writeFile(t, p.etc+"/main.cf", main)
	writeFile(t, p.etc+"/master.cf", master)
	output(t, "", "/usr/sbin/postfix", "-c", p.etc, "check")
	// The log is written by postlogd: nothing of it would be seen on the terminal.
	t.Cleanup(func() {
		if log, err := os.ReadFile(p.log); err == nil && t.Failed() {
			lines := strings.SplitAfter(grep(string(log), "warning: ", "fatal: ", "panic: "), "\n")
			t.Logf("the last warnings of Postfix (see -keep for all):\n%s", strings.Join(lines[max(0, len(lines)-30):], ""))
		}
	})
	daemon(t, dir+"/out", "/usr/sbin/postfix", "-c", p.etc, "start-fg")
	t.Cleanup(func() { _ = exec.Command("/usr/sbin/postfix", "-c", p.etc, "stop").Run() })
}

func (p *postfix) submit(t *testing.T, from, mail string, to ...string) string {
	t.Helper()
	return output(t, mail, "/usr/sbin/sendmail", append([]string{"-C", p.etc, "-f", from}, to...)...)
}

func (p *postfix) queued(id string) bool {
	// In the order in which a mail passes them.
	for _, queue := range []string{"incoming", "active", "deferred/" + id[:1]} {
		if exists(filepath.Join(p.spool, queue, id)) {
			return true
		}
	}
	return false
}

// held returns the mail's envelope records, which do not have the reason.
func (p *postfix) held(t *testing.T, id string) string {
	t.Helper()
	if !exists(filepath.Join(p.spool, "hold", id)) {
		return ""
	}
	return output(t, "", "/usr/sbin/postcat", "-c", p.etc, "-eq", id)
}

func (p *postfix) release(t *testing.T, id string) {
	t.Helper()
	output(t, "", "/usr/sbin/postsuper", "-c", p.etc, "-H", id)
	output(t, "", "/usr/sbin/postqueue", "-c", p.etc, "-i", id)
}

// grep returns the lines that have one of the words.
func grep(text string, words ...string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		for _, w := range words {
			if strings.Contains(line, w) {
				out.WriteString(line)
				break
			}
		}
	}
	return out.String()
}
