//go:build interop

package interop_test

import "testing"

// TestPostfix and TestSendmail run at the same time: the same suite, each with an
// instance of its own.
func TestPostfix(t *testing.T) {
	t.Parallel()
	version, skip := findPostfix()
	j := newJudge(t, "postfix", version, skip)
	suite(t, j, new(postfix), map[string]*port{
		"main":        {},
		"life":        {},
		"negotiation": {},
		"hostile":     {},
		"unix":        {spec: "unix"},
		"local":       {}, // also for mail from the sendmail command
		"proxied":     {spec: "unix"},
		"forged":      {},
		"chain":       {next: "chained"},
		"chained":     {},
		"idle":        {},
		"cost":        {spec: "unix"},
		"slow":        {settings: []string{"milter_command_timeout=3", "milter_content_timeout=3"}},
		"version2":    {settings: []string{"milter_protocol=2"}},
		"version3":    {settings: []string{"milter_protocol=3"}},
		"version4":    {settings: []string{"milter_protocol=4"}},
		"accept":      {settings: []string{"milter_default_action=accept"}},
		"reject":      {settings: []string{"milter_default_action=reject"}},
		"tempfail":    {settings: []string{"milter_default_action=tempfail"}},
		"quarantine":  {settings: []string{"milter_default_action=quarantine"}},
	})
}

func TestSendmail(t *testing.T) {
	t.Parallel()
	version, skip := findSendmail()
	j := newJudge(t, "sendmail", version, skip)
	const patient = "T=S:30s;R:30s;E:1m"
	suite(t, j, new(sendmail), map[string]*port{
		// Over TCP Sendmail is slow: it sends macros and command in two writes, and
		// its kernel waits with the second for the acknowledgement of the first.
		"main":        {spec: "unix", settings: []string{"F=T", patient}},
		"life":        {spec: "unix", settings: []string{"F=T", patient}},
		"negotiation": {spec: "unix", settings: []string{"F=T", patient}},
		"hostile":     {spec: "unix", settings: []string{"F=T", patient}},
		"inet":        {settings: []string{"F=T", patient}},
		"local":       {spec: "unix", settings: []string{"F=T", patient}}, // also for sendmail -bs
		"proxied":     {spec: "unix", settings: []string{"F=T", patient}},
		"forged":      {spec: "unix", settings: []string{"F=T", patient}},
		"chain":       {spec: "unix", settings: []string{"F=T", patient}, next: "chained"},
		"chained":     {spec: "unix", settings: []string{"F=T", patient}},
		"idle":        {settings: []string{"F=T", patient}},
		"cost":        {spec: "unix", settings: []string{"F=T", patient}},
		"slow":        {spec: "unix", settings: []string{"F=T", "T=S:3s;R:3s;E:9s"}},
		"none":        {spec: "unix", settings: []string{patient}},
		"R":           {spec: "unix", settings: []string{"F=R", patient}},
		"T":           {spec: "unix", settings: []string{"F=T", patient}},
		"4":           {spec: "unix", settings: []string{"F=4", patient}},
	})
}

// suite is what both MTAs judge. The cases of a port run one after the other;
// the slow ones, which have ports of their own, at the same time as the rest.
func suite(t *testing.T, j *judge, m mta, ports map[string]*port) {
	var list []*port
	for title, p := range ports {
		p.title = title
		list = append(list, p)
	}
	startMTA(t, j, m, list)
	group := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t)
		})
	}
	group("smoke", func(t *testing.T) {
		for _, title := range []string{"unix", "inet"} {
			if p := ports[title]; p != nil {
				j.run(t, title, func(t *testing.T) { testSmoke(t, p) })
			}
		}
	})
	group("main", func(t *testing.T) {
		p := ports["main"]
		j.run(t, "smoke", func(t *testing.T) { testSmoke(t, p) })
		t.Run("verdicts", func(t *testing.T) { testVerdicts(t, p) })
		t.Run("changes", func(t *testing.T) { testChanges(t, p) })
		t.Run("late", func(t *testing.T) { testLate(t, p) })
	})
	group("slow", func(t *testing.T) { testSlow(t, ports["slow"]) })
	group("life", func(t *testing.T) { testLife(t, ports["life"]) })
	group("local", func(t *testing.T) { testLocal(t, ports["local"]) })
	group("negotiation", func(t *testing.T) {
		testNegotiation(t, ports["negotiation"])
		for version, title := range []string{2: "version2", 3: "version3", 4: "version4"} {
			if p := ports[title]; p != nil {
				j.run(t, title, func(t *testing.T) { testVersion(t, p, uint32(version)) })
			}
		}
	})
	group("proxied", func(t *testing.T) {
		testRoundTrips(t, ports["proxied"])
		testEnough(t, ports["proxied"])
		testHalfClose(t, ports["proxied"])
	})
	group("forged", func(t *testing.T) { testForged(t, ports["forged"]) })
	group("chain", func(t *testing.T) { testForgedChain(t, ports["chain"], ports["chained"]) })
	group("idle", func(t *testing.T) { testIdle(t, ports["idle"]) })
	group("cost", func(t *testing.T) { j.run(t, "cost", func(t *testing.T) { testCost(t, ports["cost"]) }) })
	group("hostile", func(t *testing.T) { testHostile(t, ports["hostile"]) })
	group("failures", func(t *testing.T) { testFailures(t, ports) })
}

// testSmoke sends one mail that nothing is done to.
func testSmoke(t *testing.T, p *port) {
	r := p.milter.use(t, nil)
	c := p.dial(t)
	c.hello()
	id := c.send("<from@client.test>", sample, "<a@test.local>")
	c.quit()
	p.milter.idle(t)
	d := p.sink.wait(t, id)
	if want, got := "from <from@client.test>\nto <a@test.local>", d.envelope(); got != want {
		t.Errorf("envelope: want %q, got %q", want, got)
	}
	if want, got := received+sample, normal(t, d); got != want {
		t.Errorf("mail:\n%s", firstDifference(want, got))
	}
	r.saw(t, "C H M R T L N B E F")
	r.clean(t)
}

// sample is a mail that no MTA needs to add anything to.
const sample = `From: sender <from@client.test>
To: a@test.local
Subject: sample
Date: Mon, 01 Jan 2024 00:00:00 +0000
Message-ID: <sample@client.test>
X-Dup: one
X-Other: between
X-Dup: two
X-Dup: three

line one
.line two begins with a dot
line three
`
