//go:build interop

package interop_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

// An smtpClient is the sender's end of an SMTP session. It takes every answer as
// it comes and records the dialogue.
type smtpClient struct {
	t        *testing.T
	conn     io.ReadWriteCloser
	in       *bufio.Reader
	dialogue strings.Builder
}

// closed stands for the answer of an MTA that has hung up.
const closed = answer("closed")

// An answer is an SMTP reply, its lines joined by LF.
type answer string

func (a answer) code() string {
	if len(a) < 3 {
		return ""
	}
	return string(a[:3])
}

// queueIDs finds the queue id in the answers of both MTAs to a mail.
var queueIDs = regexp.MustCompile(`^250 2\.0\.0 (?:Ok: queued as )?(\w+)(?: Message accepted for delivery)?$`)

// queueID returns the queue id of a mail that was accepted; "" if it was not.
func (a answer) queueID() string {
	if m := queueIDs.FindStringSubmatch(string(a)); m != nil {
		return m[1]
	}
	return ""
}

// dial connects. The banner is read by the caller.
func dial(t *testing.T, address string) *smtpClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(3 * deadline))
	return newSMTPClient(t, conn)
}

func newSMTPClient(t *testing.T, conn io.ReadWriteCloser) *smtpClient {
	c := &smtpClient{t: t, conn: conn, in: bufio.NewReader(conn)}
	t.Cleanup(func() {
		conn.Close()
		if t.Failed() {
			t.Logf("SMTP dialogue:\n%s", &c.dialogue)
		}
	})
	return c
}

// read returns the next answer.
func (c *smtpClient) read() answer {
	c.t.Helper()
	var lines []string
	for {
		line, err := c.in.ReadString('\n')
		if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
			c.t.Fatalf("no answer from the MTA within %v", 3*deadline)
		}
		if err != nil {
			fmt.Fprintf(&c.dialogue, "S: (closed: %v)\n", err)
			return closed
		}
		fmt.Fprintf(&c.dialogue, "S: %q\n", shorten(line))
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasSuffix(line, "\r") {
			c.t.Errorf("a line of an answer does not end in CRLF: %q", line)
		}
		line = strings.TrimSuffix(line, "\r")
		if !answerLines.MatchString(line) || len(lines) > 0 && line[:3] != lines[0][:3] {
			c.t.Fatalf("not a line of an answer: %q after %q", line, lines)
		}
		lines = append(lines, line)
		if len(line) == 3 || line[3] == ' ' {
			return answer(strings.Join(lines, "\n"))
		}
	}
}

var answerLines = regexp.MustCompile(`^[245]\d\d|^354`)

// write sends lines as they are.
func (c *smtpClient) write(text string) {
	fmt.Fprintf(&c.dialogue, "C: %q\n", shorten(text))
	_, _ = c.conn.Write([]byte(text)) // an error shows in the answer
}

// command sends a line and returns the answer to it.
func (c *smtpClient) command(line string) answer {
	c.t.Helper()
	c.write(line + "\r\n")
	return c.read()
}

// must is command, and fails unless the answer has the code.
func (c *smtpClient) must(line, code string) answer {
	c.t.Helper()
	a := c.command(line)
	if a.code() != code {
		c.t.Fatalf("%s: want %s, got %s", shorten(line), code, a)
	}
	return a
}

// hello reads the banner and greets.
func (c *smtpClient) hello() {
	c.t.Helper()
	if a := c.read(); a.code() != "220" {
		c.t.Fatalf("banner: want 220, got %s", a)
	}
	c.must("EHLO client.test", "250")
}

// content sends a mail, in LF or CRLF lines, with the final dot, and returns the
// answer to it.
func (c *smtpClient) content(mail string) answer {
	c.t.Helper()
	mail = strings.ReplaceAll(mail, "\r\n", "\n")
	if mail != "" && !strings.HasSuffix(mail, "\n") {
		mail += "\n"
	}
	mail = strings.ReplaceAll(mail, "\n", "\r\n")
	mail = strings.ReplaceAll(mail, "\r\n.", "\r\n..")
	if strings.HasPrefix(mail, ".") {
		mail = "." + mail
	}
	c.write(mail + ".\r\n")
	return c.read()
}

// send plays a whole mail, and returns its queue id. Every step must succeed.
func (c *smtpClient) send(from, mail string, to ...string) string {
	c.t.Helper()
	c.must("MAIL FROM:"+from, "250")
	for _, rcpt := range to {
		c.must("RCPT TO:"+rcpt, "250")
	}
	c.must("DATA", "354")
	a := c.content(mail)
	id := a.queueID()
	if id == "" {
		c.t.Fatalf("the mail was not accepted: %s", a)
	}
	return id
}

// quit ends the session in order.
func (c *smtpClient) quit() {
	c.t.Helper()
	c.must("QUIT", "221")
	c.conn.Close()
}

func shorten(s string) string {
	if len(s) > 300 {
		return fmt.Sprintf("%s…(%d bytes)", s[:300], len(s))
	}
	return s
}
