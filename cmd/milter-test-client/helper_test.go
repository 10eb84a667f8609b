package main

import (
	"bytes"
	stdcontext "context"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/cmd/internal/cmdtest"
	"github.com/milter-go/milter/protocol"
)

// Short names for what the tests say often.
var must, golden = cmdtest.Must, cmdtest.Golden

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

// A transcript is output that can be waited for.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed at the next write
}

func (tr *transcript) Write(p []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.changed != nil {
		close(tr.changed)
		tr.changed = nil
	}
	return tr.text.Write(p)
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.String()
}

// await waits until the output fits pattern and returns its groups.
func (tr *transcript) await(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(patience)
	for {
		tr.mu.Lock()
		found := re.FindStringSubmatch(tr.text.String())
		if tr.changed == nil {
			tr.changed = make(chan struct{})
		}
		changed := tr.changed
		tr.mu.Unlock()
		if found != nil {
			return found
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("no %q in the output:\n%s", pattern, tr)
		}
	}
}

// A program is the milter, running in this process.
type program struct {
	spec           string
	stdout, stderr *transcript
	signals        chan os.Signal
	status         chan int
}

// start runs the milter on a free port of the loopback.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{stdout: new(transcript), stderr: new(transcript), signals: make(chan os.Signal, 2), status: make(chan int, 1)}
	args = append([]string{"-s", "inet:0@127.0.0.1"}, args...)
	go func() {
		p.status <- run(args, system{p.stdout, p.stderr, func(string) string { return "" }, p.signals})
	}()
	p.spec = p.stdout.await(t, `(?m)^listen: <(.*)>$`)[1]
	return p
}

// stop ends the milter and returns its output without the line about the port.
func (p *program) stop(t *testing.T) (stdout, stderr string) {
	t.Helper()
	p.signals <- os.Interrupt
	if status := p.wait(t); status != 0 {
		t.Errorf("exit status %d after a signal, want 0; stderr:\n%s", status, p.stderr)
	}
	_, stdout, _ = strings.Cut(p.stdout.String(), "\n")
	stderr = strings.ReplaceAll(p.stderr.String(),
		"milter-test-client: interrupt: waiting up to 30s for mails in progress; a second signal ends at once\n", "")
	return stdout, stderr
}

func (p *program) wait(t *testing.T) int {
	t.Helper()
	select {
	case status := <-p.status:
		return status
	case <-time.After(patience):
		t.Fatalf("the milter does not end; stderr:\n%s", p.stderr)
		return 0
	}
}

func (p *program) dial(t *testing.T) *miltertest.Session {
	t.Helper()
	s, err := miltertest.Dial(stdcontext.Background(), p.spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func sampleMail() miltertest.Mail {
	return miltertest.Mail{
		From:           "<sender@example.com>",
		FromParameters: protocol.Parameters{"SIZE=100", "BODY=8BITMIME"},
		Recipients: []miltertest.Recipient{
			{Path: "<receiver@example.org>"},
			{Path: "<Nobody@example.com>", Parameters: protocol.Parameters{"NOTIFY=NEVER"}},
		},
		Headers: []protocol.Header{
			{Name: "Subject", Value: " a folded\n\tsubject"},
			{Name: "X-Number", Value: " 1"},
			{Name: "X-Number", Value: "2"},
		},
		Body: []byte("first line\r\nsecond line\r\n"),
	}
}
