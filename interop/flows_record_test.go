//go:build interop

package interop_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/protocol"
)

// A scenario is an SMTP session that is recorded with each MTA.
type scenario struct {
	name   string // with the MTA's before it, that of the flow
	title  string
	milter string // in flowMilters
	play   func(c *smtpClient)
	submit bool // in the place of play: a mail from the MTA's own machine
}

const flowMail = `From: Alice <alice@client.test>
To: one@test.local
Subject: a flow,
	folded
X-Two: first
X-Two:  second
X-Tight:no blank
Date: Mon, 1 Jan 2024 00:00:00 +0000
Message-ID: <flow@client.test>

Hello,
.a line with a dot

last line
`

// flowRefuse is flowMail that asks the milter refuse to do something.
func flowRefuse(how string) string { return "X-Refuse: " + how + "\n" + flowMail }

var scenarios = []scenario{
	{name: "plain", title: "one mail", milter: "plain", play: func(c *smtpClient) {
		c.send("<from@client.test> SIZE=500 BODY=8BITMIME", flowMail, "<one@test.local> NOTIFY=FAILURE,DELAY")
	}},
	{name: "two-mails", title: "two mails, the second one from the null sender and to two recipients", milter: "plain", play: func(c *smtpClient) {
		c.send("<from@client.test>", flowMail, "<one@test.local>")
		c.send("<>", "Subject: short\n"+flowMail, "<one@test.local>", "<two@test.local>")
	}},
	{name: "changes", title: "a mail in which everything is changed", milter: "changes", play: func(c *smtpClient) {
		c.send("<from@client.test>", flowMail, "<one@test.local>", "<two@test.local>")
	}},
	{name: "late", title: "late answers, the last one after progress; two mails", milter: "late", play: func(c *smtpClient) {
		c.send("<from@client.test>", flowMail, "<one@test.local>")
		c.send("<from@client.test>", flowMail, "<one@test.local>")
	}},
	{name: "reset", title: "RSET and EHLO in the middle of mails, commands that nobody knows, then a mail", milter: "plain", play: func(c *smtpClient) {
		c.must("RSET", "250")
		c.must("MAIL FROM:<a@client.test>", "250")
		c.must("RSET", "250")
		c.must("MAIL FROM:<b@client.test>", "250")
		c.must("RCPT TO:<one@test.local>", "250")
		c.command("XYZZY plugh")
		c.must("RSET", "250")
		c.must("MAIL FROM:<c@client.test>", "250")
		c.must("RCPT TO:<one@test.local>", "250")
		c.must("EHLO again.test", "250")
		c.command("XYZZY")
		c.send("<d@client.test>", flowMail, "<one@test.local>")
	}},
	{name: "refuse", title: "a refused sender, refused recipients, refused mails, one that is discarded", milter: "refuse", play: func(c *smtpClient) {
		c.must("MAIL FROM:<bad@client.test>", "550")
		c.must("MAIL FROM:<from@client.test>", "250")
		c.must("RCPT TO:<bad@test.local>", "550")
		c.must("RCPT TO:<slow@test.local>", "450")
		c.must("RCPT TO:<plain@test.local>", "550")
		c.must("RCPT TO:<one@test.local>", "250")
		c.must("DATA", "354")
		if a := c.content(flowMail); a.queueID() == "" {
			c.t.Errorf("the mail was not accepted: %s", a)
		}
		for _, refused := range []struct{ how, code string }{{"header", "55"}, {"end", "451"}, {"discard", "250"}} {
			c.must("MAIL FROM:<from@client.test>", "250")
			c.must("RCPT TO:<one@test.local>", "250")
			c.must("DATA", "354")
			if a := c.content(flowRefuse(refused.how)); !strings.HasPrefix(a.code(), refused.code) {
				c.t.Errorf("%s: got %s, want %s", refused.how, a, refused.code)
			}
		}
		c.must("MAIL FROM:<from@client.test>", "250")
		c.must("RCPT TO:<bad@test.local>", "550")
	}},
	{name: "no-reply", title: "no answer but at the end of a mail", milter: "watch", play: func(c *smtpClient) {
		c.send("<from@client.test>", flowMail, "<one@test.local>", "<two@test.local>")
		c.must("MAIL FROM:<from@client.test>", "250")
		c.must("RSET", "250")
		c.command("XYZZY")
		c.send("<from@client.test>", flowMail, "<one@test.local>")
	}},
	{name: "macros", title: "macros asked for at each stage; two mails", milter: "macros", play: func(c *smtpClient) {
		c.send("<from@client.test>", flowMail, "<one@test.local>", "<two@test.local>")
		c.send("<from@client.test>", flowMail, "<one@test.local>")
	}},
	{name: "spaces", title: "leading spaces, and recipients that the MTA refuses", milter: "spaces", play: func(c *smtpClient) {
		c.must("MAIL FROM:<from@client.test>", "250")
		c.must("RCPT TO:<nosuchuser@local.test>", "550")
		c.must("RCPT TO:<one@test.local>", "250")
		c.must("DATA", "354")
		if a := c.content(flowMail); a.queueID() == "" {
			c.t.Errorf("the mail was not accepted: %s", a)
		}
	}},
	{name: "big-body", title: "a body of several chunks", milter: "plain", play: func(c *smtpClient) {
		c.send("<from@client.test>", flowMail+strings.Repeat("a line of thirty-two characters\n", 4500), "<one@test.local>")
	}},
	{name: "skip", title: "a body of several chunks, of which the milter wants the first", milter: "skip", play: func(c *smtpClient) {
		c.send("<from@client.test>", flowMail+strings.Repeat("a line of thirty-two characters\n", 6500), "<one@test.local>")
	}},
	{name: "end-only", title: "a milter that listens to the end of mails only", milter: "end", play: func(c *smtpClient) {
		c.send("<from@client.test>", flowMail, "<one@test.local>")
		c.must("MAIL FROM:<from@client.test>", "250")
		c.must("RSET", "250")
	}},
	{name: "hang-up", title: "a mail, then the SMTP client goes away in the next one", milter: "plain", play: func(c *smtpClient) {
		c.send("<from@client.test>", flowMail, "<one@test.local>")
		c.must("MAIL FROM:<from@client.test>", "250")
		c.must("RCPT TO:<one@test.local>", "250")
		c.must("DATA", "354")
		c.write("Subject: never ends\r\n\r\n")
		c.conn.Close()
	}},
	{name: "submission", title: "a mail from the MTA's own machine", milter: "plain", submit: true},
}

// TestRecord plays the scenarios with real MTAs, a proxy between them and the
// milter. With -update it writes the flows; else what is said must be the same as
// in the flows, but for what is different every time.
func TestRecord(t *testing.T) {
	t.Run("postfix", func(t *testing.T) {
		t.Parallel()
		version, skip := findPostfix()
		j := newJudge(t, "postfix, recorded", version, skip)
		recordFlows(t, j, new(postfix), newProxy(t, "tcp", "127.0.0.1:0"), nil)
	})
	t.Run("sendmail", func(t *testing.T) {
		t.Parallel()
		version, skip := findSendmail()
		j := newJudge(t, "sendmail, recorded", version, skip)
		recordFlows(t, j, new(sendmail), newProxy(t, "unix", filepath.Join(temporary(t), "proxy")), []string{"F=T", "T=S:30s;R:30s;E:1m"})
	})
}

func recordFlows(t *testing.T, j *judge, m mta, between *proxy, settings []string) {
	// The MTA is told the proxy's address: this client has it, and serves nobody.
	front := client.New()
	front.SetListener(between.listener)
	if err := front.Listen(); err != nil {
		t.Fatal(err)
	}
	p := &port{title: "local", settings: settings, milter: &milter{client: front}}
	if addr := between.listener.Addr(); addr.Network() == "unix" {
		if err := os.Chmod(addr.String(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	between.use(serveFlow(t, "plain"))
	startMTA(t, j, m, []*port{p})
	for _, sc := range scenarios {
		j.run(t, sc.name, func(t *testing.T) {
			between.use(serveFlow(t, sc.milter))
			if sc.submit {
				m.submit(t, "from@client.test", flowMail, "one@test.local")
			} else {
				c := p.dial(t)
				c.hello()
				sc.play(c)
				if sc.name != "hang-up" {
					c.quit()
				}
			}
			f := &flow{session: sc.title, mta: m.name() + " " + j.version, milter: sc.milter, connections: between.recorded(t)}
			f.findVolatile(p.sink)
			keepFlow(t, m.name()+"-"+sc.name, f)
		})
	}
}

// serveFlow starts a milter of flowMilters and returns where it listens.
func serveFlow(t *testing.T, name string) string {
	t.Helper()
	c := flowClient(t, name)
	if err := c.SetConnectionSpec("inet:0@127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run() }()
	t.Cleanup(func() {
		_ = c.Close()
		<-ended
	})
	return client.SpecOf(c.Addrs()[0])
}

// keepFlow writes a flow, or compares it with its file.
func keepFlow(t *testing.T, name string, got *flow) {
	t.Helper()
	if *update {
		if !t.Failed() {
			writeFile(t, filepath.Join(flowDir, name+".flow"), got.String())
		}
		return
	}
	want := readFlow(t, name)
	if want.mta != got.mta {
		t.Logf("not compared: the flow was recorded with %s, this is %s", want.mta, got.mta)
		return
	}
	if diff := cmp.Diff(want.steady(), got.steady()); diff != "" {
		t.Errorf("%s says something else than in the flow (-want +got):\n%s", got.mta, diff)
	}
}

// findVolatile lists what will be different next time: queue ids, the port of the
// client, and that of the sink, which is part of macros. (The mails bring a Date
// and a Message-ID, so that the MTA makes none.)
func (f *flow) findVolatile(out *sink) {
	add := func(kind, text string) {
		if v := (flowValue{kind, text}); text != "" && !slices.Contains(f.volatile, v) {
			f.volatile = append(f.volatile, v)
		}
	}
	sinkPort := strconv.Itoa(out.port())
	for _, packets := range f.connections {
		for _, p := range packets {
			if bytes.Contains(p.payload, []byte("]:"+sinkPort)) {
				add("sink-port", sinkPort)
			}
			if !p.toMilter {
				continue
			}
			m, err := protocol.Decode(protocol.Packet{Letter: p.letter, Payload: p.payload})
			if err != nil {
				continue // TestFlowPackets tells of it
			}
			switch m := m.(type) {
			case protocol.Connect:
				if m.Port != 0 {
					add("port", strconv.Itoa(int(m.Port)))
				}
			case protocol.DefineMacro:
				for _, macro := range m.Macros {
					if macro.Name == "i" {
						add("queue-id", macro.Value)
					}
				}
			}
		}
	}
}

// steady returns the lines of the flow, with what is volatile replaced by its
// kind.
func (f *flow) steady() []string {
	var lines []string
	for _, packets := range f.connections {
		lines = append(lines, "connection")
		for _, p := range packets {
			for _, v := range f.volatile {
				text, kind := []byte(v.text), []byte("("+v.kind+")")
				if v.kind == "port" {
					if !p.toMilter || p.letter != byte(protocol.CommandConnect) {
						continue
					}
					number, _ := strconv.Atoi(v.text)
					text = []byte{byte(protocol.FamilyInet), byte(number >> 8), byte(number)}
				}
				p.payload = bytes.ReplaceAll(p.payload, text, kind)
			}
			lines = append(lines, p.String())
		}
	}
	return lines
}
