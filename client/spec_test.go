package client_test

import (
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
)

func TestParseSpec(t *testing.T) {
	for _, test := range []struct {
		spec      string
		want      client.Spec
		canonical string // what String returns
	}{
		{"unix:/run/x.sock", client.Spec{Network: "unix", Address: "/run/x.sock"}, "unix:/run/x.sock"},
		{"local:/run/x.sock", client.Spec{Network: "unix", Address: "/run/x.sock"}, "unix:/run/x.sock"},
		{"unix:x.sock", client.Spec{Network: "unix", Address: "x.sock"}, "unix:x.sock"},
		{"unix:/a:b@c d", client.Spec{Network: "unix", Address: "/a:b@c d"}, "unix:/a:b@c d"},
		{"inet:9999@127.0.0.1", client.Spec{Network: "tcp4", Address: "127.0.0.1:9999"}, "inet:9999@[127.0.0.1]"},
		{"inet:9999@[127.0.0.1]", client.Spec{Network: "tcp4", Address: "127.0.0.1:9999"}, "inet:9999@[127.0.0.1]"},
		{"inet:9999@localhost", client.Spec{Network: "tcp4", Address: "localhost:9999"}, "inet:9999@localhost"},
		{"inet:9999@mx.example.com.", client.Spec{Network: "tcp4", Address: "mx.example.com.:9999"}, "inet:9999@mx.example.com."},
		{"inet:9999@1und1.de", client.Spec{Network: "tcp4", Address: "1und1.de:9999"}, "inet:9999@1und1.de"},
		{"inet:9999", client.Spec{Network: "tcp4", Address: ":9999"}, "inet:9999"},
		{"inet:0", client.Spec{Network: "tcp4", Address: ":0"}, "inet:0"},
		{"inet:65535", client.Spec{Network: "tcp4", Address: ":65535"}, "inet:65535"},
		{"inet:0025@[0.0.0.0]", client.Spec{Network: "tcp4", Address: "0.0.0.0:25"}, "inet:25@[0.0.0.0]"},
		{"inet:@localhost", client.Spec{Network: "tcp4", Address: "localhost:0"}, "inet:0@localhost"}, // no digits are 0, as for atoi
		{"inet6:9999@::1", client.Spec{Network: "tcp6", Address: "[::1]:9999"}, "inet6:9999@[::1]"},
		{"inet6:9999@[::1]", client.Spec{Network: "tcp6", Address: "[::1]:9999"}, "inet6:9999@[::1]"},
		{"inet6:9999@[fe80::1%eth0]", client.Spec{Network: "tcp6", Address: "[fe80::1%eth0]:9999"}, "inet6:9999@[fe80::1%eth0]"},
		{"inet6:9999@ip6-localhost", client.Spec{Network: "tcp6", Address: "ip6-localhost:9999"}, "inet6:9999@ip6-localhost"},
		{"inet6:9999", client.Spec{Network: "tcp6", Address: ":9999"}, "inet6:9999"},
		{client.DefaultConnectionSpec, client.Spec{Network: "tcp4", Address: "127.0.0.1:10025"}, client.DefaultConnectionSpec},
	} {
		got, err := client.ParseSpec(test.spec)
		if err != nil {
			t.Errorf("ParseSpec(%q): %v", test.spec, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("ParseSpec(%q) (-want +got):\n%s", test.spec, diff)
		}
		if got.String() != test.canonical {
			t.Errorf("ParseSpec(%q).String() = %q, want %q", test.spec, got, test.canonical)
		}
		if again, err := client.ParseSpec(got.String()); err != nil || again != got {
			t.Errorf("ParseSpec(%q) = %v, %v; want what it was made from, %v", got.String(), again, err, got)
		}
	}
}

func TestParseSpecErrors(t *testing.T) {
	const generic = `; write "inet:PORT@HOST", "inet6:PORT@HOST" or "unix:PATH"`
	for _, test := range []struct{ spec, want string }{
		// The errors of milter manager, in the order it finds them.
		{"", `client: spec should not be empty: ""` + generic},
		{"foo", `client: spec doesn't have colon: "foo"` + generic},
		{"inet:", `client: spec doesn't have content: "inet:"` + generic},
		{"unix:", `client: spec doesn't have content: "unix:"` + generic},
		{"unknown:", `client: spec doesn't have content: "unknown:"` + generic},
		{"sctp:10025@localhost", `client: protocol must be 'unix', 'inet' or 'inet6': "sctp:10025@localhost": "sctp"` + generic},
		{"inet:99x@localhost", `client: port number has invalid character: "inet:99x@localhost": "x"`},
		{"inet: 99", `client: port number has invalid character: "inet: 99": " "`},
		{"inet:-1", `client: port number has invalid character: "inet:-1": "-"`},
		{"inet:1é", `client: port number has invalid character: "inet:1é": "é"`},
		{"inet:99@[127.0.0.1", `client: ']' is missing: "inet:99@[127.0.0.1": "[127.0.0.1"`},
		{"inet6:99@[::1]x", `client: ']' is missing: "inet6:99@[::1]x": "[::1]x"`},
		{"inet:99@[127.0.0.300]", `client: invalid host address: "inet:99@[127.0.0.300]": "127.0.0.300"`},
		{"inet:99@[localhost]", `client: invalid host address: "inet:99@[localhost]": "localhost"`},
		{"inet:99@[]", `client: invalid host address: "inet:99@[]"`},
		{"inet:99@", `client: invalid host address: "inet:99@"`},
		{"inet:99@127.1", `client: invalid host address: "inet:99@127.1": "127.1"`},
		{"inet:99@127.0.0.1.", `client: invalid host address: "inet:99@127.0.0.1.": "127.0.0.1."`},
		{"inet:99@.", `client: invalid host address: "inet:99@.": "."`},
		{"inet:99@a b", `client: invalid host address: "inet:99@a b": "a b"`},
		{"inet:99@a@b", `client: invalid host address: "inet:99@a@b": "a@b"`},
		{"inet6:99@[::ffff:127.0.0.1]", `client: invalid host address: "inet6:99@[::ffff:127.0.0.1]": "::ffff:127.0.0.1"`},
		{"inet6:99@[::1", `client: ']' is missing: "inet6:99@[::1": "[::1"`},
		{"inet:65536", `client: port number should be less than 65536: "inet:65536": "65536"`},
		{"inet:99999999999999999999", `client: port number should be less than 65536: "inet:99999999999999999999": "99999999999999999999"`},
		{"inet:65536@[x]", `client: invalid host address: "inet:65536@[x]": "x"`}, // the host comes before the range of the port
		{"unix:@abstract", `client: abstract unix sockets are not supported: "unix:@abstract": "@abstract"; write "unix:./@abstract"`},
		{"unix:\x00abstract", `client: abstract unix sockets are not supported: "unix:\x00abstract": "\x00abstract"`},
		{"unix:/a\x00b", `client: path has a NUL: "unix:/a\x00b": "/a\x00b"`},

		// What people write instead, and what they are told.
		{"tcp:10025@localhost", `client: protocol must be 'unix', 'inet' or 'inet6': "tcp:10025@localhost": "tcp"; write "inet:10025@localhost"`},
		{"tcp:127.0.0.1:10025", `client: protocol must be 'unix', 'inet' or 'inet6': "tcp:127.0.0.1:10025": "tcp"; write "inet:10025@127.0.0.1"`},
		{"tcp://127.0.0.1:10025", `client: protocol must be 'unix', 'inet' or 'inet6': "tcp://127.0.0.1:10025": "tcp"; write "inet:10025@127.0.0.1"`},
		{"tcp6:[::1]:10025", `client: protocol must be 'unix', 'inet' or 'inet6': "tcp6:[::1]:10025": "tcp6"; write "inet6:10025@[::1]"`},
		{"INET:10025", `client: protocol must be 'unix', 'inet' or 'inet6': "INET:10025": "INET"; write "inet:10025"`},
		{"Unix:/x", `client: protocol must be 'unix', 'inet' or 'inet6': "Unix:/x": "Unix"; write "unix:/x"`},
		{" inet:10025", `client: protocol must be 'unix', 'inet' or 'inet6': " inet:10025": " inet"; write "inet:10025"`},
		{"inet:localhost:10025", `client: port number has invalid character: "inet:localhost:10025": "l"; write "inet:10025@localhost"`}, // Postfix
		{"inet:99@::1", `client: invalid host address: "inet:99@::1": "::1"; write "inet6:99@::1"`},
		{"inet:99@[::1]", `client: invalid host address: "inet:99@[::1]": "::1"; write "inet6:99@[::1]"`},
		{"inet6:99@127.0.0.1", `client: invalid host address: "inet6:99@127.0.0.1": "127.0.0.1"; write "inet:99@127.0.0.1"`},
		{"/run/x.sock", `client: spec doesn't have colon: "/run/x.sock"; write "unix:/run/x.sock"`}, // libmilter
		{"./x.sock", `client: spec doesn't have colon: "./x.sock"; write "unix:./x.sock"`},
		{":/run/x.sock", `client: protocol must be 'unix', 'inet' or 'inet6': ":/run/x.sock"; write "unix:/run/x.sock"`},
		{":10025", `client: protocol must be 'unix', 'inet' or 'inet6': ":10025"; write "inet:10025@127.0.0.1"`}, // Go
		{"10025", `client: spec doesn't have colon: "10025"; write "inet:10025@127.0.0.1"`},
		{"10025@localhost", `client: spec doesn't have colon: "10025@localhost"; write "inet:10025@localhost"`},
		{"127.0.0.1:10025", `client: protocol must be 'unix', 'inet' or 'inet6': "127.0.0.1:10025": "127.0.0.1"; write "inet:10025@127.0.0.1"`},
		{"localhost:10025", `client: protocol must be 'unix', 'inet' or 'inet6': "localhost:10025": "localhost"; write "inet:10025@localhost"`},
		{"[::1]:10025", `client: protocol must be 'unix', 'inet' or 'inet6': "[::1]:10025": "["; write "inet6:10025@[::1]"`},
		{"fd:3", `client: protocol must be 'unix', 'inet' or 'inet6': "fd:3": "fd"` + generic}, // libmilter of Debian
	} {
		got, err := client.ParseSpec(test.spec)
		if err == nil {
			t.Errorf("ParseSpec(%q) = %v, want error %s", test.spec, got, test.want)
			continue
		}
		if diff := cmp.Diff(test.want, err.Error()); diff != "" {
			t.Errorf("ParseSpec(%q) (-want +got):\n%s", test.spec, diff)
		}
	}
}

func TestParseSpecPathLength(t *testing.T) {
	limit := 107
	switch runtime.GOOS {
	case "darwin", "dragonfly", "freebsd", "netbsd", "openbsd":
		limit = 103
	}
	path := "/" + strings.Repeat("x", limit-1)
	if _, err := client.ParseSpec("unix:" + path); err != nil {
		t.Errorf("path of %d bytes: %v", len(path), err)
	}
	path += "y"
	_, err := client.ParseSpec("unix:" + path)
	if err == nil {
		t.Fatalf("path of %d bytes: no error", len(path))
	}
	for _, want := range []string{"too long for a unix socket", path} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not contain %q", err, want)
		}
	}
}

func TestSpecOf(t *testing.T) {
	for _, test := range []struct {
		name string
		addr net.Addr
		want string
	}{
		{"nil", nil, "unknown"},
		{"unix", &net.UnixAddr{Name: "/run/x.sock", Net: "unix"}, "unix:/run/x.sock"},
		{"inet", &net.TCPAddr{IP: net.IPv4(192, 168, 123, 123), Port: 50443}, "inet:50443@[192.168.123.123]"},
		{"inet any", &net.TCPAddr{IP: net.IPv4zero, Port: 9999}, "inet:9999@[0.0.0.0]"},
		{"no address", &net.TCPAddr{Port: 9999}, "inet:9999"},
		{"inet6", &net.TCPAddr{IP: net.IPv6loopback, Port: 9999}, "inet6:9999@[::1]"},
		{"inet6 any", &net.TCPAddr{IP: net.IPv6unspecified, Port: 9999}, "inet6:9999@[::]"},
		{"zone", &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 9999}, "inet6:9999@[fe80::1%eth0]"},
		{"another kind", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53}, "udp:127.0.0.1:53"},
	} {
		if got := client.SpecOf(test.addr); got != test.want {
			t.Errorf("%s: SpecOf = %q, want %q", test.name, got, test.want)
		}
	}
}

// Any text is either an error that quotes it and gives no wrong advice, or a spec
// whose canonical form means the same.
func FuzzParseSpec(f *testing.F) {
	for _, s := range []string{"inet:10025@[127.0.0.1]", "inet6:1@::1", "unix:/x", "tcp:1.2.3.4:5", "[::1]:1", ":/x", "inet:@", "a@b:c", " unix:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := client.ParseSpec(text)
		if err == nil {
			if again, err := client.ParseSpec(s.String()); err != nil || again != s {
				t.Errorf("ParseSpec(%q) = %v; ParseSpec(%q) = %v, %v", text, s, s.String(), again, err)
			}
			return
		}
		if !strings.Contains(err.Error(), strconv.Quote(text)) {
			t.Errorf("ParseSpec(%q): the error does not quote the spec: %v", text, err)
		}
		const write = "; write "
		i := strings.LastIndex(err.Error(), write+`"`)
		if i < 0 || strings.Contains(err.Error(), "inet:PORT@HOST") {
			return
		}
		hint, err := strconv.Unquote(err.Error()[i+len(write):])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.ParseSpec(hint); err != nil {
			t.Errorf("ParseSpec(%q): advises %q, which is none: %v", text, hint, err)
		}
	})
}
