//go:build interop

package interop_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// An mta is a private instance of a mail server. It has several ports, each with
// a milter of its own, and delivers everything to the sink.
type mta interface {
	name() string
	// start writes the configuration into dir and starts it. Settings of a port
	// are in the MTA's own words.
	start(t *testing.T, dir string, out *sink, ports []*port)
	// submit hands it a mail on its own machine, without SMTP over a socket, and
	// returns what was said about it.
	submit(t *testing.T, from, mail string, to ...string) string
	// queued reports whether a mail is on its way, not in quarantine.
	queued(id string) bool
	// held returns what the queue says of a mail in quarantine; "" if it is not.
	held(t *testing.T, id string) string
	// release lets a mail out of quarantine.
	release(t *testing.T, id string)
}

// A port is where an MTA listens, with the milter that is attached there.
type port struct {
	title    string
	spec     string // where the milter listens; default: the loopback, any port
	milter   *milter
	settings []string // main.cf settings for Postfix, equates of the filter for Sendmail
	next     string   // title of the port whose milter is asked after this one's; "" for none
	number   int

	mta   mta
	judge *judge
	sink  *sink
}

func (p *port) address() string { return fmt.Sprintf("127.0.0.1:%d", p.number) }

// dial opens an SMTP session, the milter being set up before.
func (p *port) dial(t *testing.T) *smtpClient {
	t.Helper()
	return dial(t, p.address())
}

// A fate is what has become of a mail that the MTA has accepted.
type fate int

const (
	delivered fate = iota
	inQuarantine
	discarded
)

func (f fate) String() string { return []string{"delivered", "in quarantine", "discarded"}[f] }

// fate waits until it is known.
func (p *port) fate(t *testing.T, id string) (f fate) {
	t.Helper()
	eventually(t, "mail "+id+" is delivered", func() bool {
		if p.mta.queued(id) {
			return false
		}
		switch {
		case p.sink.has(id):
			f = delivered
		case p.mta.held(t, id) != "":
			f = inQuarantine
		default:
			f = discarded
		}
		return true
	})
	return f
}

// endpoint returns the milter's address for a configuration: the path of a unix
// socket, or host and port.
func (p *port) endpoint(t *testing.T) (path, host, number string) {
	t.Helper()
	switch addr := p.milter.client.Addrs()[0].(type) {
	case *net.UnixAddr:
		return addr.Name, "", ""
	case *net.TCPAddr:
		return "", addr.IP.String(), fmt.Sprint(addr.Port)
	default:
		t.Fatalf("milter on %v", addr)
		return "", "", ""
	}
}

// startMTA starts m with its ports and waits until it answers on all of them. It
// is stopped at the end of the test.
func startMTA(t *testing.T, j *judge, m mta, ports []*port) {
	t.Helper()
	dir := temporary(t)
	out := newSink(t)
	for _, p := range ports {
		p.mta, p.judge, p.sink = m, j, out
		if p.milter == nil {
			spec := p.spec
			switch spec {
			case "":
				spec = fmt.Sprintf("inet:%d@127.0.0.1", freePort(t)) // it is bound again and again
			case "unix":
				spec = "unix:" + filepath.Join(dir, p.title)
			}
			p.milter = newMilter(t, spec)
		}
		p.number = freePort(t)
	}
	m.start(t, dir, out, ports)
	for _, p := range ports {
		eventually(t, m.name()+" listens", func() bool {
			conn, err := net.Dial("tcp", p.address())
			if err != nil {
				return false
			}
			defer conn.Close()
			_, err = conn.Read(make([]byte, 1)) // the banner comes when the milter was asked
			return err == nil
		})
		p.milter.idle(t)
	}
}

// temporary returns a new folder that the users of an MTA can enter.
func temporary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "interop")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if *keep {
			t.Logf("kept: %s", dir)
			return
		}
		os.RemoveAll(dir)
	})
	return dir
}

// freePort returns a port that nobody listens on. It lies below those that systems
// give to outgoing connections: one of these could take it before the MTA does.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		n := 10000 + rand.IntN(6000)
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", n))
		if err != nil {
			continue
		}
		l.Close()
		if _, taken := ports.LoadOrStore(n, true); !taken {
			return n
		}
	}
	t.Fatal("no free port")
	return 0
}

// ports are those that freePort has given away.
var ports sync.Map

// daemon starts a program in the foreground, in a process group of its own, which
// gets a SIGTERM at the end of the test, and a SIGKILL if that does not help.
func daemon(t *testing.T, log, name string, args ...string) {
	t.Helper()
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		if said, _ := os.ReadFile(log); t.Failed() && len(said) > 0 {
			t.Logf("%s said:\n%s", name, said)
		}
		for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			_ = syscall.Kill(-cmd.Process.Pid, signal)
			select {
			case <-done:
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // children that outlived it
				return
			case <-time.After(5 * time.Second):
			}
		}
	})
}

// output runs a command and returns what it printed.
func output(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out.String())
	}
	return out.String()
}

func mkdir(t *testing.T, path string, mode os.FileMode, uid int) {
	t.Helper()
	if err := os.MkdirAll(path, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, uid, -1); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
