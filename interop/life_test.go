//go:build interop

package interop_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
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
	p.judge.run(t, "odd addresses", func(t *testing.T) { testOddAddresses(t, p) })
	p.judge.run(t, "one session at a time", func(t *testing.T) { testMaxConnections(t, p) })
}

// testOddBytes sends a body with NUL bytes and the like.
func testOddBytes(t *testing.T, p *port) {
	mail := sample + "NUL \x00 and \x01\x1b\x7f\xff\n"
	var body strings.Builder
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnBody(func(_ *context.ClientContext, chunk []byte) protocol.Status {
			body.Write(chunk)
			return protocol.StatusContinue
		})
	})
	c := p.dial(t)
	c.hello()
	id := c.send("<from@client.test>", mail, "<a@test.local>")
	c.quit()
	d := p.sink.wait(t, id)
	if want, got := received+mail, normal(t, d); got != want {
		t.Errorf("mail:\n%s", firstDifference(want, got))
	}
	p.milter.idle(t)
	_, want, _ := strings.Cut(mail, "\n\n")
	if got := strings.ReplaceAll(body.String(), "\r\n", "\n"); got != want {
		t.Errorf("the milter's body:\n%s", firstDifference(want, got))
	}
	r.clean(t)
}

// testLongHeader sends a header field of 100 KB, more than libmilter takes.
func testLongHeader(t *testing.T, p *port) {
	field := "X-Long: v" + strings.Repeat("\n "+strings.Repeat("w", 98), 1000)
	mail := field + "\n" + sample
	longest := 0
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnHeader(func(_ *context.ClientContext, name, value string) protocol.Status {
			longest = max(longest, len(name)+2+len(value))
			return protocol.StatusContinue
		})
	})
	c := p.dial(t)
	c.hello()
	c.must("MAIL FROM:<from@client.test>", "250")
	c.must("RCPT TO:<a@test.local>", "250")
	c.must("DATA", "354")
	a := c.content(mail)
	c.quit()
	p.milter.idle(t)
	r.clean(t)
	if p.mta.name() == "sendmail" {
		// It cannot send such a packet, and the milter has failed for it.
		if want := answer("451 4.3.2 Please try again later"); a != want || longest != 0 {
			t.Errorf("want %s, got %s; the milter's longest header: %d", want, a, longest)
		}
		return
	}
	// Postfix cuts it, for the milter and in the mail.
	got := normal(t, p.sink.wait(t, a.queueID()))
	if longest < 59800 || longest > 60000 || len(got) > len(received+sample)+60000 {
		t.Errorf("the milter's longest header is %d, the mail has %d bytes", longest, len(got))
	}
}

// testParameters looks at the ESMTP parameters that a milter gets.
func testParameters(t *testing.T, p *port) {
	var seen []string
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnEnvelopeFrom(func(_ *context.ClientContext, from string, parameters protocol.Parameters) protocol.Status {
			seen = append(seen, fmt.Sprintf("from %s %v", from, parameters))
			return protocol.StatusContinue
		})
		ctx.OnEnvelopeRecipient(func(_ *context.ClientContext, to string, parameters protocol.Parameters) protocol.Status {
			seen = append(seen, fmt.Sprintf("to %s %v", to, parameters))
			return protocol.StatusContinue
		})
	})
	c := p.dial(t)
	c.hello()
	id := c.send("<from@client.test> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=abc", sample,
		"<a@test.local> NOTIFY=FAILURE,DELAY ORCPT=rfc822;old@client.test", "<b@test.local> NOTIFY=NEVER")
	c.quit()
	p.sink.wait(t, id)
	p.milter.idle(t)
	want := []string{
		"from <from@client.test> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=abc",
		"to <a@test.local> NOTIFY=FAILURE,DELAY ORCPT=rfc822;old@client.test",
		"to <b@test.local> NOTIFY=NEVER",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("want %q\ngot  %q", want, seen)
	}
	r.clean(t)
}

// testOddAddresses looks at addresses as a milter gets them: as the client typed
// them.
func testOddAddresses(t *testing.T, p *port) {
	var seen []string
	r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
		ctx.OnEnvelopeRecipient(func(_ *context.ClientContext, to string, _ protocol.Parameters) protocol.Status {
			seen = append(seen, to)
			return protocol.StatusContinue
		})
	})
	typed := []string{"<a@test.local>", "a@test.local", "<@relay.test:a@test.local>", `<"a b"@test.local>`, "<A.B+c@Test.Local>"}
	c := p.dial(t)
	c.hello()
	c.must("MAIL FROM:<from@client.test>", "250")
	for _, to := range typed {
		c.must("RCPT TO:"+to, "250")
	}
	c.must("RSET", "250")
	c.quit()
	p.milter.idle(t)
	if !slices.Equal(seen, typed) {
		t.Errorf("want %q\ngot  %q", typed, seen)
	}
	r.clean(t)
}

// testMaxConnections lets the second session wait until the first has ended.
func testMaxConnections(t *testing.T, p *port) {
	p.milter.with(t, func(c *client.Client) { c.MaxConnections = 1 })
	p.milter.use(t, nil)
	first := p.dial(t)
	first.hello()
	second := p.dial(t)
	p.sink.wait(t, first.send("<from@client.test>", sample, "<a@test.local>"))
	first.quit()
	second.hello()
	p.sink.wait(t, second.send("<from@client.test>", sample, "<a@test.local>"))
	second.quit()
}

// testLocal submits mail without SMTP over a socket.
func testLocal(t *testing.T, p *port) {
	submit := func(t *testing.T, from, to string) (delivery, []string) {
		t.Helper()
		var seen []string
		r := p.milter.only(t, func(ctx *context.ClientContext, r *record) {
			r.all(ctx)
			at(ctx, "end-of-message", func(ctx *context.ClientContext) protocol.Status {
				result := ctx.MessageResult()
				seen = append([]string{result.From}, result.Recipients...)
				r.add("id=" + ctx.Macro("i"))
				if err := ctx.AddHeader("X-Seen", "yes"); err != nil {
					r.fault(err)
				}
				return protocol.StatusContinue
			})
		})
		said := p.mta.submit(t, from, sample, to)
		eventually(t, "the milter sees the mail", func() bool { return r.count("F") > 0 })
		p.milter.idle(t)
		id := ""
		for _, word := range strings.Fields(r.String()) {
			if v, ok := strings.CutPrefix(word, "id="); ok {
				id = v
			}
		}
		if id == "" {
			t.Fatalf("no end of message, no queue id; events %s; the MTA said: %s", r, said)
		}
		r.saw(t, "C H M R T L N B E id="+id+" F")
		r.clean(t)
		return p.sink.wait(t, id), seen
	}
	for _, from := range []string{"<from@client.test>", "<>"} {
		p.judge.run(t, "from "+from, func(t *testing.T) {
			typed, to := from, "<a@test.local>"
			want := []string{from, to}
			if p.mta.name() == "postfix" { // its sendmail command takes bare addresses, and passes them on so
				typed, to = strings.Trim(from, "<>"), strings.Trim(to, "<>")
				want = []string{typed, to}
			}
			d, seen := submit(t, typed, to)
			if !slices.Equal(seen, want) {
				t.Errorf("the milter's envelope: want %q, got %q", want, seen)
			}
			if want, got := "from "+from+"\nto <a@test.local>", d.envelope(); got != want {
				t.Errorf("envelope: want %q, got %q", want, got)
			}
			if got := d.data; !strings.Contains(got, "\r\nX-Seen: yes\r\n") {
				t.Errorf("the header was not added:\n%s", got)
			}
		})
	}
}
