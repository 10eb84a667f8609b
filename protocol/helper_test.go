package protocol_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/milter-go/milter/protocol"
)

// recorded are packets that were on the wire, in hexadecimal. The whole sessions
// are in testdata.
var recorded = []struct {
	name   string
	packet string
	want   protocol.Message
}{
	{
		"macros, Postfix", "00000010444c6900423638334239414332443300",
		protocol.DefineMacro{For: protocol.CommandHeader, Macros: []protocol.Macro{{Name: "i", Value: "B683B9AC2D3"}}},
	},
	{"macros, empty", "000000024448", protocol.DefineMacro{For: protocol.CommandHelo}},
	{
		"macros, an empty value", "0000003544527b726370745f6d61696c65727d006c6f63616c007b726370745f686f73747d00007b726370745f616464727d00757365723100",
		protocol.DefineMacro{For: protocol.CommandEnvelopeRecipient, Macros: []protocol.Macro{
			{Name: "{rcpt_mailer}", Value: "local"}, {Name: "{rcpt_host}"}, {Name: "{rcpt_addr}", Value: "user1"},
		}},
	},
	{
		"connect, Postfix", "0000001a435b3132372e302e302e315d0034ad003132372e302e302e3100",
		protocol.Connect{Host: "[127.0.0.1]", Family: protocol.FamilyInet, Port: 0xad00, Address: "127.0.0.1"},
	},
	{
		"connect, Sendmail", "00000018436c6f63616c686f73740034d7d23132372e302e302e3100",
		protocol.Connect{Host: "localhost", Family: protocol.FamilyInet, Port: 0xd7d2, Address: "127.0.0.1"},
	},
	{
		"connect, mapped IPv4", "000000204376362e6578616d706c65003600193a3a666666663a3139322e302e322e3300",
		protocol.Connect{Host: "v6.example", Family: protocol.FamilyInet6, Port: 25, Address: "::ffff:192.0.2.3"},
	},
	{
		"connect, unknown", "0000000c436c6f63616c686f73740055",
		protocol.Connect{Host: "localhost", Family: protocol.FamilyUnknown},
	},
	{
		"mail, parameters", "0000003c4d3c73406578616d706c652e636f6d3e0053495a453d3130303000424f44593d384249544d494d45005245543d4844525300454e5649443d61626300",
		protocol.EnvelopeFrom{Path: "<s@example.com>", Parameters: protocol.Parameters{"SIZE=1000", "BODY=8BITMIME", "RET=HDRS", "ENVID=abc"}},
	},
	{"mail, null sender", "000000044d3c3e00", protocol.EnvelopeFrom{Path: "<>"}},
	{
		"rcpt, parameters", "00000047523c757365723140746573742e6c6f63616c3e004e4f544946593d4641494c5552452c44454c4159004f524350543d7266633832323b757365723140746573742e6c6f63616c00",
		protocol.EnvelopeRecipient{Path: "<user1@test.local>", Parameters: protocol.Parameters{"NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;user1@test.local"}},
	},
	{"unknown, Sendmail", "0000000d55464f4f206261722062617a00", protocol.Unknown{Line: "FOO bar baz"}},
	{"unknown, Postfix", "0000000555464f4f00", protocol.Unknown{Line: "FOO"}},
	{"header, folded", "000000114c582d4c6f6e6700610a2020620a096300", protocol.Header{Name: "X-Long", Value: "a\n  b\n\tc"}},
	{"header, tab", "0000000c4c582d546162000976616c00", protocol.Header{Name: "X-Tab", Value: "\tval"}},
	{"header, empty value", "000000064c582d450000", protocol.Header{Name: "X-E"}},
	{"header, UTF-8", "000000084c582d3800c3a900", protocol.Header{Name: "X-8", Value: "é"}},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readSession returns the packets of a recorded session in testdata: lines with
// the name of the command and the packet, and comments.
func readSession(t testing.TB, mta string) (packets [][]byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", mta+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, packet, _ := strings.Cut(strings.TrimSpace(line), " ")
		p := unhex(t, strings.TrimSpace(packet))
		if got := protocol.Command(p[4]).String(); got != name {
			t.Fatalf("testdata/%s.txt: a %s packet is called %s", mta, got, name)
		}
		packets = append(packets, p)
	}
	return packets
}

// decode returns the message in a whole packet.
func decode(t testing.TB, packet []byte) (protocol.Message, error) {
	t.Helper()
	var b protocol.Buffer
	b.Write(packet)
	p, ok, err := b.Next()
	if !ok || err != nil || b.Len() > 0 {
		t.Fatalf("%q is not one packet: ok %t, %v, %d bytes left", packet, ok, err, b.Len())
	}
	return protocol.Decode(p)
}

func quoted(s string) string { return strconv.Quote(s) }
