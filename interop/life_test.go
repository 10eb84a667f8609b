//go:build interop

package interop_test

import (
	"fmt"
	"strings"
	"testing"
)

// testLife leads the MTA through lives that a milter sees seldom.
func testLife(t *testing.T, p *port) {
	const from, to = "<from@client.test>", "<a@test.local>"
	deliver := func(t *testing.T, c *smtpClient, n int) {
		t.Helper()
		for range n {
			if want, got := received+sample, normal(t, p.sink.wait(t, c.send(from, sample, to))); got != want {
				t.Errorf("mail:\n%s", firstDifference(want, got))
			}
		}
	}
	sendmail := p.mta.name() == "sendmail"
	lives := []struct {
		name     string
		play     func(t *testing.T, c *smtpClient)
		want     string // events
		sendmail string // where Sendmail's are others
	}{
		{
			name: "nothing but QUIT", play: func(t *testing.T, c *smtpClient) {},
			want: "C H F",
		}, {
			name: "RSET after MAIL", play: func(t *testing.T, c *smtpClient) {
				c.must("MAIL FROM:"+from, "250")
				c.must("RSET", "250")
				deliver(t, c, 1)
			},
			want: "C H M A M R T L N B E F",
		}, {
			name: "RSET after RCPT", play: func(t *testing.T, c *smtpClient) {
				c.must("MAIL FROM:"+from, "250")
				c.must("RCPT TO:"+to, "250")
				c.must("RSET", "250")
				c.must("RSET", "250")
				deliver(t, c, 1)
			},
			want: "C H M R A M R T L N B E F",
		}, {
			name: "EHLO in the middle", play: func(t *testing.T, c *smtpClient) {
				c.must("MAIL FROM:"+from, "250")
				c.must("RCPT TO:"+to, "250")
				c.must("EHLO again.test", "250")
				deliver(t, c, 1)
			},
			want: "C H M R A H M R T L N B E F",
		}, {
			name: "HELO after a mail", play: func(t *testing.T, c *smtpClient) {
				deliver(t, c, 1)
				c.must("HELO again.test", "250")
				deliver(t, c, 1)
			},
			want: "C H M R T L N B E H M R T L N B E F",
		}, {
			name: "MAIL twice", play: func(t *testing.T, c *smtpClient) {
				c.must("MAIL FROM:"+from, "250")
				c.must("MAIL FROM:"+from, "503")
				c.must("RSET", "250")
				deliver(t, c, 1)
			},
			want: "C H M A M R T L N B E F",
		}, {
			name: "two mails", play: func(t *testing.T, c *smtpClient) { deliver(t, c, 2) },
			want: "C H M R T L N B E M R T L N B E F",
		}, {
			name: "twenty mails", play: func(t *testing.T, c *smtpClient) { deliver(t, c, 20) },
			want: "C H" + strings.Repeat(" M R T L N B E", 20) + " F",
		}, {
			name: "unknown commands everywhere", play: func(t *testing.T, c *smtpClient) {
				c.must("XONE", "500")
				c.must("MAIL FROM:"+from, "250")
				c.must("XTWO with words", "500")
				c.must("RCPT TO:"+to, "250")
				c.must("XTHREE", "500")
				c.must("DATA", "354")
				if want, got := received+sample, normal(t, p.sink.wait(t, c.content(sample).queueID())); got != want {
					t.Errorf("mail:\n%s", firstDifference(want, got))
				}
				c.must("XFOUR", "500")
				deliver(t, c, 1)
			},
			want:     "C H U M U R U T L N B E U M R T L N B E F",
			sendmail: "C H U M U R U T L N B E M R T L N B E F", // none between a mail and the next
		}, {
			name: "pipelining", play: func(t *testing.T, c *smtpClient) {
				for range 2 {
					c.write("MAIL FROM:" + from + "\r\nRCPT TO:" + to + "\r\nRCPT TO:<b@test.local>\r\nDATA\r\n")
					for _, want := range []string{"250", "250", "250", "354"} {
						if a := c.read(); a.code() != want {
							t.Fatalf("want %s, got %s", want, a)
						}
					}
					p.sink.wait(t, c.content(sample).queueID())
				}
			},
			want: "C H M R T L N B E M R T L N B E F",
		}, {
			name: "a refused recipient only", play: func(t *testing.T, c *smtpClient) {
				c.must("MAIL FROM:"+from, "250")
				c.must("RCPT TO:<nosuchuser@local.test>", "550")
				c.must("RSET", "250")
				deliver(t, c, 1)
			},
			want: "C H M A M R T L N B E F",
		}, {
			name: "null sender", play: func(t *testing.T, c *smtpClient) {
				if want, got := "from <>\nto "+to, p.sink.wait(t, c.send("<>", sample, to)).envelope(); got != want {
					t.Errorf("envelope: want %q, got %q", want, got)
				}
			},
			want: "C H M R T L N B E F",
		}, {
			name: "no body", play: func(t *testing.T, c *smtpClient) {
				header, _, _ := strings.Cut(sample, "\n\n")
				for _, mail := range []string{header + "\n", header + "\n\n"} {
					want := mail
					if sendmail {
						want = header + "\n\n" // always an empty line
					}
					if want, got := received+want, normal(t, p.sink.wait(t, c.send(from, mail, to))); got != want {
						t.Errorf("mail:\n%s", firstDifference(want, got))
					}
				}
			},
			want: "C H M R T L N E M R T L N E F",
		}, {
			name: "no header", play: func(t *testing.T, c *smtpClient) {
				if want, got := received+"\nonly a body\n", withoutOwnFields(normal(t, p.sink.wait(t, c.send(from, "\nonly a body\n", to)))); got != want {
					t.Errorf("mail:\n%s", firstDifference(want, got))
				}
			},
			// Postfix adds From, Date and Message-Id and shows them to the milter.
			want:     "C H M R T L N B E F",
			sendmail: "C H M R T N B E F",
		}, {
			name: "nothing at all", play: func(t *testing.T, c *smtpClient) {
				want := received
				if sendmail {
					want += "\n"
				}
				if got := withoutOwnFields(normal(t, p.sink.wait(t, c.send(from, "", to)))); got != want {
					t.Errorf("mail:\n%s", firstDifference(want, got))
				}
			},
			want:     "C H M R T L N E F",
			sendmail: "C H M R T N E F",
		}, {
			name: "a thousand recipients", play: func(t *testing.T, c *smtpClient) {
				var all []string
				for i := range 1000 {
					all = append(all, fmt.Sprintf("<r%04d@test.local>", i))
				}
				d := p.sink.wait(t, c.send(from, sample, all...))
				if want, got := "from "+from+"\nto "+strings.Join(all, "\nto "), d.envelope(); got != want {
					t.Errorf("envelope: %s", firstDifference(want, got))
				}
			},
			want: "C H M R T L N B E F",
		}, {
			name: "the client drops in mid-DATA", play: func(t *testing.T, c *smtpClient) {
				c.must("MAIL FROM:"+from, "250")
				c.must("RCPT TO:"+to, "250")
				c.must("DATA", "354")
				c.write("Subject: never\r\n\r\nto be")
				c.conn.Close()
			},
			want: "C H M R T A F",
		}, {
			name: "the client drops after RCPT", play: func(t *testing.T, c *smtpClient) {
				c.must("MAIL FROM:"+from, "250")
				c.must("RCPT TO:"+to, "250")
				c.conn.Close()
			},
			want: "C H M R A F",
		},
	}
	for _, life := range lives {
		p.judge.run(t, life.name, func(t *testing.T) {
			r := p.milter.use(t, nil)
			c := p.dial(t)
			c.hello()
			life.play(t, c)
			if !strings.Contains(life.name, "drops") {
				c.quit()
			}
			p.milter.idle(t)
			if sendmail && life.sendmail != "" {
				r.saw(t, life.sendmail)
			} else {
				r.saw(t, life.want)
			}
			r.clean(t)
			// Each transaction ends once, and the session once.
			if want, got := r.count("M"), len(r.messages()); got != want {
				t.Errorf("%d transactions, %d of them ended", want, got)
			}
			if n := r.count("F"); n != 1 {
				t.Errorf("the session ended %d times", n)
			}
		})
	}
	p.judge.run(t, "odd bytes", func(t *testing.T) { testOddBytes(t, p) })
	p.judge.run(t, "a header of 100 KB", func(t *testing.T) { testLongHeader(t, p) })
	p.judge.run(t, "parameters", func(t *testing.T) { testParameters(t, p) })
	p.judge.run(t, "unknown commands", func(t *testing.T) { testUnknownCommands(t, p) })
	p.judge.run(t, "odd addresses", func(t *testing.T) { testOddAddresses(t, p) })
	p.judge.run(t, "one session at a time", func(t *testing.T) { testMaxConnections(t, p) })
}
