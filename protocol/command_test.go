package protocol_test

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// commands has every command with its packet.
var commands = []struct {
	name    string
	message protocol.Message
	packet  string
}{
	{
		"negotiate", protocol.Negotiate{Option: option.All()},
		"\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff",
	},
	{"define-macro without macros", protocol.DefineMacro{For: protocol.CommandUnknown}, "\x00\x00\x00\x02DU"},
	{
		"define-macro",
		protocol.DefineMacro{For: protocol.CommandConnect, Macros: []protocol.Macro{
			{Name: "j", Value: "mx.example.com"}, {Name: "{daemon_name}"}, {Name: "_", Value: "a b"},
		}},
		"\x00\x00\x00\x28DCj\x00mx.example.com\x00{daemon_name}\x00\x00_\x00a b\x00",
	},
	{
		"connect inet", protocol.Connect{Host: "a.example", Family: protocol.FamilyInet, Port: 25, Address: "192.0.2.1"},
		"\x00\x00\x00\x18Ca.example\x004\x00\x19192.0.2.1\x00",
	},
	{
		"connect inet6", protocol.Connect{Host: "[2001:db8::1]", Family: protocol.FamilyInet6, Port: 65535, Address: "2001:db8::1"},
		"\x00\x00\x00\x1eC[2001:db8::1]\x006\xff\xff2001:db8::1\x00",
	},
	{
		"connect unix", protocol.Connect{Host: "localhost", Family: protocol.FamilyUnix, Address: "/run/x.sock"},
		"\x00\x00\x00\x1aClocalhost\x00L\x00\x00/run/x.sock\x00",
	},
	{
		"connect unknown", protocol.Connect{Host: "localhost", Family: protocol.FamilyUnknown},
		"\x00\x00\x00\x0cClocalhost\x00U",
	},
	{
		"connect without host", protocol.Connect{Family: protocol.FamilyUnknown},
		"\x00\x00\x00\x03C\x00U",
	},
	{"helo", protocol.Helo{Name: "client.example"}, "\x00\x00\x00\x10Hclient.example\x00"},
	{"helo, empty", protocol.Helo{}, "\x00\x00\x00\x02H\x00"},
	{"envelope-from", protocol.EnvelopeFrom{Path: "<a@b>"}, "\x00\x00\x00\x07M<a@b>\x00"},
	{"envelope-from, null sender of Postfix's sendmail", protocol.EnvelopeFrom{}, "\x00\x00\x00\x02M\x00"},
	{
		"envelope-from with parameters",
		protocol.EnvelopeFrom{Path: "<>", Parameters: protocol.Parameters{"SIZE=10", "SMTPUTF8"}},
		"\x00\x00\x00\x15M<>\x00SIZE=10\x00SMTPUTF8\x00",
	},
	{
		"envelope-recipient", protocol.EnvelopeRecipient{Path: "<a@b>", Parameters: protocol.Parameters{"NOTIFY=NEVER"}},
		"\x00\x00\x00\x14R<a@b>\x00NOTIFY=NEVER\x00",
	},
	{"data", protocol.Bare(protocol.CommandData), "\x00\x00\x00\x01T"},
	{"unknown", protocol.Unknown{Line: "FOO bar"}, "\x00\x00\x00\x09UFOO bar\x00"},
	{"header", protocol.Header{Name: "X", Value: "a\n\tb"}, "\x00\x00\x00\x08LX\x00a\n\tb\x00"},
	{"header without value", protocol.Header{Name: "X"}, "\x00\x00\x00\x04LX\x00\x00"},
	{"end-of-header", protocol.Bare(protocol.CommandEndOfHeader), "\x00\x00\x00\x01N"},
	{"body", protocol.Body{Chunk: []byte("a\r\n\x00b")}, "\x00\x00\x00\x06Ba\r\n\x00b"},
	{"end-of-message", protocol.EndOfMessage{Chunk: []byte{}}, "\x00\x00\x00\x01E"},
	{"end-of-message with the last of the body", protocol.EndOfMessage{Chunk: []byte("end")}, "\x00\x00\x00\x04Eend"},
	{"abort", protocol.Bare(protocol.CommandAbort), "\x00\x00\x00\x01A"},
	{"quit", protocol.Bare(protocol.CommandQuit), "\x00\x00\x00\x01Q"},
	{"quit-new-connection", protocol.Bare(protocol.CommandQuitNewConnection), "\x00\x00\x00\x01K"},
}

func TestCommands(t *testing.T) {
	for _, tt := range commands {
		t.Run(tt.name, func(t *testing.T) {
			if want, _, _ := strings.Cut(tt.name, " "); strings.TrimSuffix(want, ",") != tt.message.Command().String() {
				t.Errorf("Command() = %v", tt.message.Command())
			}
			if diff := cmp.Diff(tt.packet, string(tt.message.Append(nil))); diff != "" {
				t.Errorf("Append (-want +got):\n%s", diff)
			}
			if got := string(tt.message.Append([]byte("before"))); got != "before"+tt.packet {
				t.Errorf("Append behind other bytes: %q", got)
			}
			got, err := decode(t, []byte(tt.packet))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.message, got); diff != "" {
				t.Errorf("Decode (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecordedPackets(t *testing.T) {
	for _, tt := range recorded {
		t.Run(tt.name, func(t *testing.T) {
			packet := unhex(t, tt.packet)
			got, err := decode(t, packet)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Decode (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(packet, got.Append(nil)); diff != "" {
				t.Errorf("Append (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecordedSessions(t *testing.T) {
	for _, tt := range []struct {
		mta  string
		want string // the letters, a D with the one it is for
	}{
		{"postfix", "O DC C DH H DU U DM M DR R DR R DT T " +
			"DL L DL L DL L DL L DL L DL L DL L DL L DN N DB B DE E A DM M A A Q"},
		{"sendmail", "O DC C DH H U DM M DR R DR R T L L L L L L N B DE E DM M A Q"},
	} {
		t.Run(tt.mta, func(t *testing.T) {
			var letters []string
			for _, packet := range readSession(t, tt.mta) {
				m, err := decode(t, packet)
				if err != nil {
					t.Fatal(err)
				}
				if got := m.Append(nil); !bytes.Equal(got, packet) {
					t.Errorf("%v: encoded again as %q, recorded as %q", m.Command(), got, packet)
				}
				letter := string(rune(m.Command()))
				if d, ok := m.(protocol.DefineMacro); ok {
					letter += string(rune(d.For))
				}
				letters = append(letters, letter)
			}
			if diff := cmp.Diff(tt.want, strings.Join(letters, " ")); diff != "" {
				t.Errorf("order of the commands (-want +got):\n%s", diff)
			}
		})
	}
}

// What real MTAs may send and libmilter takes, although no encoder writes it.
func TestDecodeLeniency(t *testing.T) {
	for _, tt := range []struct {
		name    string
		letter  protocol.Command
		payload string
		want    protocol.Message
	}{
		{
			"bytes behind the negotiation", 'O', "\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00\x02rest",
			protocol.Negotiate{Option: option.Option{Version: 6, Actions: 1, Steps: 2}},
		},
		{
			"macro without a value", 'D', "Ca\x001\x00b\x00",
			protocol.DefineMacro{For: 'C', Macros: []protocol.Macro{{Name: "a", Value: "1"}, {Name: "b"}}},
		},
		{
			"macro whose value does not end", 'D', "Ca\x001\x00b\x002",
			protocol.DefineMacro{For: 'C', Macros: []protocol.Macro{{Name: "a", Value: "1"}, {Name: "b"}}},
		},
		{"macros without NUL", 'D', "Cabc", protocol.DefineMacro{For: 'C'}},
		{
			"IPv6 prefix of Sendmail", 'C', "[IPv6:0:0:0:0:0:0:0:1]\x006\x00\x19IPv6:0:0:0:0:0:0:0:1\x00",
			protocol.Connect{Host: "[IPv6:0:0:0:0:0:0:0:1]", Family: '6', Port: 25, Address: "0:0:0:0:0:0:0:1"},
		},
		{
			"IPv6 prefix in other case", 'C', "h\x006\x00\x00ipv6:::1\x00",
			protocol.Connect{Host: "h", Family: '6', Address: "::1"},
		},
		{"unknown family with more behind it", 'C', "h\x00Ujunk", protocol.Connect{Host: "h", Family: 'U'}},
		{
			"bytes behind the address", 'C', "h\x004\x00\x19192.0.2.1\x00junk",
			protocol.Connect{Host: "h", Family: '4', Port: 25, Address: "192.0.2.1"},
		},
		{"bytes behind the helo name", 'H', "a\x00b", protocol.Helo{Name: "a"}},
		{"bytes behind the unknown command", 'U', "a\x00b\x00", protocol.Unknown{Line: "a"}},
		{
			"parameter that does not end", 'M', "<a@b>\x00SIZE=1\x00BODY",
			protocol.EnvelopeFrom{Path: "<a@b>", Parameters: protocol.Parameters{"SIZE=1"}},
		},
		{
			"empty parameter", 'R', "<a@b>\x00\x00",
			protocol.EnvelopeRecipient{Path: "<a@b>", Parameters: protocol.Parameters{""}},
		},
		{"third string of a header", 'L', "N\x00v\x00w\x00", protocol.Header{Name: "N", Value: "v"}},
		{"payload of a data command", 'T', "junk", protocol.Bare(protocol.CommandData)},
		{"payload of an end of header", 'N', "junk", protocol.Bare(protocol.CommandEndOfHeader)},
		{"payload of an abort", 'A', "junk", protocol.Bare(protocol.CommandAbort)},
		{"payload of a quit", 'Q', "junk", protocol.Bare(protocol.CommandQuit)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := protocol.Decode(protocol.Packet{Letter: byte(tt.letter), Payload: []byte(tt.payload)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Decode (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	for _, tt := range []struct {
		name    string
		letter  byte
		payload string
		want    string
	}{
		{"letter", 'Z', "x", `protocol: unknown command 'Z' with 1 bytes of payload`},
		{"letter that is a reply", 'c', "", `protocol: unknown command 'c' with 0 bytes of payload`},
		{"negotiate", 'O', "12345678901", `protocol: malformed negotiate command: need 12 bytes for version, actions and steps: "12345678901"`},
		{"macro", 'D', "", `protocol: malformed define-macro command: no command letter: ""`},
		{"connect, empty", 'C', "", `protocol: malformed connect command: host name does not end with NUL: ""`},
		{"connect, host without NUL", 'C', "host", `protocol: malformed connect command: host name does not end with NUL: "host"`},
		{"connect, host alone", 'C', "h\x00", `protocol: malformed connect command: no socket family: "h\x00"`},
		{"connect, family", 'C', "h\x00X\x00\x19a\x00", `protocol: malformed connect command: unknown socket family 'X': "h\x00X\x00\x19a\x00"`},
		{"connect, port", 'C', "h\x004\x00", `protocol: malformed connect command: no port: "h\x004\x00"`},
		{"connect, no address", 'C', "h\x004\x00\x19", `protocol: malformed connect command: address does not end with NUL: "h\x004\x00\x19"`},
		{"connect, address without NUL", 'C', "h\x004\x00\x19192.0.2.1", `protocol: malformed connect command: address does not end with NUL: "h\x004\x00\x19192.0.2.1"`},
		{"connect, no inet address", 'C', "h\x004\x00\x19nonsense\x00", `protocol: malformed connect command: "nonsense" is no inet address: "h\x004\x00\x19nonsense\x00"`},
		{"connect, inet6 for inet", 'C', "h\x004\x00\x19::1\x00", `protocol: malformed connect command: "::1" is no inet address: "h\x004\x00\x19::1\x00"`},
		{"connect, inet for inet6", 'C', "h\x006\x00\x19192.0.2.1\x00", `protocol: malformed connect command: "192.0.2.1" is no inet6 address: "h\x006\x00\x19192.0.2.1\x00"`},
		{"connect, prefix on inet", 'C', "h\x004\x00\x19IPv6:::1\x00", `protocol: malformed connect command: "IPv6:::1" is no inet address: "h\x004\x00\x19IPv6:::1\x00"`},
		{"helo, empty", 'H', "", `protocol: malformed helo command: does not end with NUL: ""`},
		{"helo", 'H', "abc", `protocol: malformed helo command: does not end with NUL: "abc"`},
		{"mail, empty", 'M', "", `protocol: malformed envelope-from command: does not end with NUL: ""`},
		{"mail", 'M', "<a@b>", `protocol: malformed envelope-from command: does not end with NUL: "<a@b>"`},
		{"rcpt", 'R', "<a@b>", `protocol: malformed envelope-recipient command: does not end with NUL: "<a@b>"`},
		{"unknown", 'U', "FOO", `protocol: malformed unknown command: does not end with NUL: "FOO"`},
		{"header, empty", 'L', "", `protocol: malformed header command: does not end with NUL: ""`},
		{"header, value without NUL", 'L', "N\x00v", `protocol: malformed header command: does not end with NUL: "N\x00v"`},
		{"header, one string", 'L', "N\x00", `protocol: malformed header command: has no value: "N\x00"`},
		{"header, name", 'L', "\x00v\x00", `protocol: malformed header command: has no name: "\x00v\x00"`},
		{
			"long payload", 'H', strings.Repeat("x", 81),
			`protocol: malformed helo command: does not end with NUL: "` + strings.Repeat("x", 80) + `"... (81 bytes)`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := protocol.Decode(protocol.Packet{Letter: tt.letter, Payload: []byte(tt.payload)})
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// A message that is decoded into again forgets what it was.
func TestDecodeReplaces(t *testing.T) {
	from := protocol.EnvelopeFrom{Path: "old", Parameters: protocol.Parameters{"OLD"}}
	if err := from.Decode([]byte("<>\x00")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(protocol.EnvelopeFrom{Path: "<>"}, from); diff != "" {
		t.Errorf("EnvelopeFrom (-want +got):\n%s", diff)
	}
	connect := protocol.Connect{Host: "old", Family: protocol.FamilyInet, Port: 1, Address: "192.0.2.1"}
	if err := connect.Decode([]byte("h\x00U")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(protocol.Connect{Host: "h", Family: 'U'}, connect); diff != "" {
		t.Errorf("Connect (-want +got):\n%s", diff)
	}
	var body protocol.Body
	var end protocol.EndOfMessage
	if body.Decode([]byte("b")) != nil || end.Decode([]byte("e")) != nil || string(body.Chunk)+string(end.Chunk) != "be" {
		t.Errorf("chunks are %q and %q, want b and e", body.Chunk, end.Chunk)
	}
}

// TestNewConnectOfNothing: a nil of either type is no address, as a plain nil is.
func TestNewConnectOfNothing(t *testing.T) {
	for _, addr := range []net.Addr{nil, (*net.TCPAddr)(nil), (*net.UnixAddr)(nil)} {
		got, err := protocol.NewConnect("h", addr)
		if want := (protocol.Connect{Host: "h", Family: 'U'}); got != want || err != nil {
			t.Errorf("NewConnect(%T) = %v, %v; want %v", addr, got, err, want)
		}
	}
}

func TestNewConnect(t *testing.T) {
	for _, tt := range []struct {
		name string
		addr net.Addr
		want protocol.Connect
	}{
		{"unknown", nil, protocol.Connect{Host: "h", Family: 'U'}},
		{
			"inet", &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25},
			protocol.Connect{Host: "h", Family: '4', Port: 25, Address: "192.0.2.1"},
		},
		{
			"inet in 4 bytes", &net.TCPAddr{IP: net.IP{192, 0, 2, 1}, Port: 65535},
			protocol.Connect{Host: "h", Family: '4', Port: 65535, Address: "192.0.2.1"},
		},
		{
			"inet6", &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 1},
			protocol.Connect{Host: "h", Family: '6', Port: 1, Address: "2001:db8::1"},
		},
		{
			"inet6 with zone", &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"},
			protocol.Connect{Host: "h", Family: '6', Address: "fe80::1%eth0"},
		},
		{
			"unix", &net.UnixAddr{Name: "/run/x.sock", Net: "unix"},
			protocol.Connect{Host: "h", Family: 'L', Address: "/run/x.sock"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := protocol.NewConnect("h", tt.addr)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("NewConnect (-want +got):\n%s", diff)
			}
			addr, err := got.Addr()
			if err != nil {
				t.Fatal(err)
			}
			if tt.addr == nil {
				if addr != nil {
					t.Errorf("Addr() = %v, want nil", addr)
				}
				return
			}
			if addr.Network() != tt.addr.Network() || addr.String() != tt.addr.String() {
				t.Errorf("Addr() = %v %v, want %v %v", addr.Network(), addr, tt.addr.Network(), tt.addr)
			}
		})
	}
}

func TestNewConnectErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		addr net.Addr
		want string
	}{
		{"no IP", &net.TCPAddr{Port: 25}, `protocol: connect address ":25" is no IP address with a port`},
		{"port too large", &net.TCPAddr{IP: net.IPv6loopback, Port: 65536}, `protocol: connect address "[::1]:65536" is no IP address with a port`},
		{"port negative", &net.TCPAddr{IP: net.IPv6loopback, Port: -1}, `protocol: connect address "[::1]:-1" is no IP address with a port`},
		{"other type", &net.UDPAddr{IP: net.IPv6loopback, Port: 1}, `protocol: connect address "[::1]:1" has type *net.UDPAddr; want *net.TCPAddr, *net.UnixAddr or nil`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := protocol.NewConnect("h", tt.addr)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConnectAddrTypes(t *testing.T) {
	// A TCPAddr has 4 bytes for inet and 16 for inet6, mapped addresses too.
	for address, want := range map[string]net.Addr{
		"192.0.2.3":        &net.TCPAddr{IP: net.IP{192, 0, 2, 3}, Port: 25},
		"::ffff:192.0.2.3": &net.TCPAddr{IP: net.IPv4(192, 0, 2, 3), Port: 25},
	} {
		family := protocol.FamilyInet
		if strings.Contains(address, ":") {
			family = protocol.FamilyInet6
		}
		got, err := protocol.Connect{Family: family, Port: 25, Address: address}.Addr()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", address, diff)
		}
	}
	if addr, err := (protocol.Connect{Family: protocol.FamilyInet, Address: "127.1"}).Addr(); err == nil {
		t.Errorf("127.1 gives %v, want an error", addr)
	}
}

func TestHeaderIs(t *testing.T) {
	for _, tt := range []struct {
		came, name string
		want       bool
	}{
		{"Subject", "subject", true},
		{"SUBJECT", "Subject", true},
		{"Subject \t", "Subject", true},
		{"Subject", "Subject ", false},
		{"Subject", "Subjec", false},
		{"Authentication-Reſults", "Authentication-Results", false}, // a long s
		{"X[", "X{", false},                                         // 32 apart, and no letters
		{"", "", true},
	} {
		if got := (protocol.Header{Name: tt.came}).Is(tt.name); got != tt.want {
			t.Errorf("%q is %q: %t, want %t", tt.came, tt.name, got, tt.want)
		}
	}
}
