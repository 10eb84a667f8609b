//go:build interop

package interop_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// sendmailRoot is where interop/run has unpacked Sendmail.
func sendmailRoot() string {
	if root := os.Getenv("INTEROP_SENDMAIL"); root != "" {
		return root
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "milter-interop", "sendmail")
}

// findSendmail returns its version, or why there is none.
func findSendmail() (version, skip string) {
	if skip := os.Getenv("INTEROP_SKIP_SENDMAIL"); skip != "" {
		return "", skip
	}
	name, args := named(sendmailRoot()+"/usr/libexec/sendmail/sendmail", "-C", "/dev/null", "-d0.1", "-bt")
	out, _ := exec.Command(name, args...).CombinedOutput()
	if m := regexp.MustCompile(`Version ([\w.]+)`).FindSubmatch(out); m != nil {
		return string(m[1]), ""
	}
	return "", "Sendmail is not unpacked; interop/run does that"
}

// named returns the command that runs a program where the host name is a qualified
// one: with another one Sendmail sleeps for a minute first.
func named(program string, args ...string) (string, []string) {
	return "unshare", append([]string{"--uts", "sh", "-c", `hostname mta.test.local && exec "$@"`, "sh", program}, args...)
}

// A sendmail is an instance of Sendmail.
type sendmail struct{ program, cf, queue string }

func (s *sendmail) name() string { return "sendmail" }

// The settings beside the milters say: this machine only, everything to the sink,
// unchanged, and whatever the load of the machine is.
const sendmailMc = "divert(-1)dnl\n" +
	"define(`_USE_ETC_MAIL_', `')dnl\n" +
	"divert(0)dnl\n" +
	"OSTYPE(`linux')dnl\n" +
	"define(`QUEUE_DIR', `%[1]s/mqueue')dnl\n" +
	"define(`STATUS_FILE', `%[1]s/statistics')dnl\n" +
	"define(`confPID_FILE', `%[1]s/pid')dnl\n" +
	"define(`confCW_FILE', `%[1]s/domains')dnl\n" +
	"define(`confHOSTS_FILE', `/etc/hosts')dnl\n" +
	"define(`confDOMAIN_NAME', `mta.test.local')dnl\n" +
	"define(`confTRUSTED_USER', `root')dnl\n" +
	"define(`confDEF_USER_ID', `65534:65534')dnl\n" +
	"define(`confDONT_BLAME_SENDMAIL', `AssumeSafeChown,GroupWritableDirPathSafe,TrustStickyBit,ClassFileInUnsafeDirPath')dnl\n" +
	"define(`confDELIVERY_MODE', `interactive')dnl\n" +
	"define(`confPRIVACY_FLAGS', `noexpn')dnl\n" +
	"define(`confTO_IDENT', `0')dnl\n" +
	"define(`confQUEUE_LA', `1000')dnl\n" +
	"define(`confREFUSE_LA', `1000')dnl\n" +
	"define(`confMAX_HEADERS_LENGTH', `1000000')dnl\n" +
	"define(`SMART_HOST', `relay:[127.0.0.1]')dnl\n" +
	"define(`RELAY_MAILER_ARGS', `TCP $h %[2]d')dnl\n" +
	"define(`RELAY_MAILER_LL', `0')dnl\n" +
	"define(`SMTP_MAILER_MAXRCPTS', `2000')dnl\n" +
	"define(`confINPUT_MAIL_FILTERS', `local')dnl\n" +
	"FEATURE(`no_default_msa')dnl\n" +
	"FEATURE(`use_cw_file')dnl\n" +
	"FEATURE(`nocanonify')dnl\n" +
	"FEATURE(`accept_unresolvable_domains')dnl\n" +
	"FEATURE(`accept_unqualified_senders')dnl\n"

func (s *sendmail) start(t *testing.T, dir string, out *sink, ports []*port) {
	t.Helper()
	root := sendmailRoot()
	s.program, s.cf, s.queue = root+"/usr/libexec/sendmail/sendmail", dir+"/sendmail.cf", dir+"/mqueue"
	mkdir(t, s.queue, 0o700, 0)
	writeFile(t, dir+"/domains", "local.test\n")
	writeFile(t, dir+"/aliases", "")
	writeFile(t, dir+"/switch", "hosts files\naliases files\npasswd files\n")

	mc := fmt.Sprintf(sendmailMc, dir, out.port())
	for _, port := range ports {
		equates := "S="
		if path, host, number := port.endpoint(t); path != "" {
			equates += "unix:" + path
		} else {
			equates += "inet:" + number + "@" + host
		}
		for _, setting := range port.settings {
			equates += ", " + setting
		}
		mc += fmt.Sprintf("MAIL_FILTER(`%s', `%s')dnl\n", port.title, equates)
		filters := port.title
		if port.next != "" {
			filters += ";" + port.next
		}
		mc += fmt.Sprintf("DAEMON_OPTIONS(`Name=%s, Addr=127.0.0.1, Port=%d, Family=inet, InputMailFilters=%s')dnl\n", port.title, port.number, filters)
	}
	mc += "MAILER(`local')dnl\nMAILER(`smtp')dnl\n"
	writeFile(t, dir+"/sendmail.mc", mc)

	m4 := exec.Command("m4", "-D_CF_DIR_="+root+"/usr/share/sendmail/cf/", "../m4/cf.m4", dir+"/sendmail.mc")
	m4.Dir = root + "/usr/share/sendmail/cf/cf"
	var fault bytes.Buffer
	m4.Stderr = &fault
	cf, err := m4.Output()
	if err != nil {
		t.Fatalf("m4: %v\n%s", err, &fault)
	}
	text := regexp.MustCompile(`(?m)^#?O ServiceSwitchFile=.*`).ReplaceAllString(string(cf), "O ServiceSwitchFile="+dir+"/switch")
	text = regexp.MustCompile(`(?m)^#?O AliasFile=.*`).ReplaceAllString(text, "O AliasFile=text:"+dir+"/aliases")
	text = regexp.MustCompile(`(?m)^O ResolverOptions=.*`).ReplaceAllString(text, "#$0")
	writeFile(t, s.cf, text)

	name, args := named(s.program, "-C", s.cf, "-bD", "-X", dir+"/traffic")
	daemon(t, dir+"/out", name, args...)
}

// submit speaks SMTP on standard input, as mail readers on the same machine do.
func (s *sendmail) submit(t *testing.T, from, mail string, to ...string) string {
	t.Helper()
	name, args := named(s.program, "-C", s.cf, "-bs")
	cmd := exec.Command(name, args...)
	in, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := newSMTPClient(t, pipes{in, out})
	c.hello()
	c.send(from, mail, to...)
	c.must("QUIT", "221")
	if err := cmd.Wait(); err != nil {
		t.Errorf("sendmail -bs: %v", err)
	}
	return c.dialogue.String()
}

// pipes are the two ends of a program's standard input and output.
type pipes struct {
	io.Reader
	io.WriteCloser
}

func (s *sendmail) queued(id string) bool { return exists(filepath.Join(s.queue, "qf"+id)) }

// held returns the queue file.
func (s *sendmail) held(t *testing.T, id string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.queue, "hf"+id))
	if err != nil {
		return ""
	}
	return string(text)
}

func (s *sendmail) release(t *testing.T, id string) {
	t.Helper()
	for _, args := range [][]string{{"-qQ", "-qI" + id, "-Q"}, {"-qI" + id}} {
		name, args := named(s.program, append([]string{"-C", s.cf}, args...)...)
		output(t, "", name, args...)
	}
}
