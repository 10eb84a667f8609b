package protocol_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/milter-go/milter/protocol"
)

// What is decoded can be encoded and decoded again, and is the same from then on.
func FuzzDecodeCommand(f *testing.F) {
	for _, tt := range commands {
		f.Add(tt.packet[4], []byte(tt.packet[5:]))
	}
	for _, tt := range recorded {
		packet := unhex(f, tt.packet)
		f.Add(packet[4], packet[5:])
	}
	for _, mta := range []string{"postfix", "sendmail"} {
		for _, packet := range readSession(f, mta) {
			f.Add(packet[4], packet[5:])
		}
	}
	f.Fuzz(func(t *testing.T, letter byte, payload []byte) {
		before := bytes.Clone(payload)
		m, err := protocol.Decode(protocol.Packet{Letter: letter, Payload: payload})
		if !bytes.Equal(before, payload) {
			t.Errorf("Decode changed its payload %q to %q", before, payload)
		}
		if err != nil {
			if !strings.HasPrefix(err.Error(), "protocol: ") {
				t.Errorf("the error does not name its package: %v", err)
			}
			return
		}
		if byte(m.Command()) != letter {
			t.Errorf("a %q packet was decoded as %v", letter, m.Command())
		}
		packet := m.Append(nil)
		again, err := decode(t, packet)
		if err != nil {
			t.Fatalf("%#v was encoded as %q: %v", m, packet, err)
		}
		if diff := cmp.Diff(m, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("round trip (-first +second):\n%s", diff)
		}
		if got := again.Append(nil); !bytes.Equal(got, packet) {
			t.Errorf("encoded as %q, then as %q", packet, got)
		}
		if d, ok := m.(protocol.DefineMacro); ok {
			for _, macro := range d.Macros {
				if _, ok := protocol.MacroList(payload[1:]).Get(macro.Name); !ok {
					t.Errorf("macro %q is decoded but not found", macro.Name)
				}
			}
		}
		if c, ok := m.(protocol.Connect); ok {
			if _, err := c.Addr(); err != nil {
				t.Errorf("decoded, but without an address: %v", err)
			}
		}
	})
}

// However a stream is cut into pieces, the packets and the error are the same.
func FuzzBuffer(f *testing.F) {
	var all []byte
	for _, tt := range commands {
		f.Add([]byte(tt.packet), uint16(3), uint16(0))
		all = append(all, tt.packet...)
	}
	f.Add(all, uint16(1), uint16(0))
	f.Add(append(all, 0, 0, 0, 0, 'A'), uint16(17), uint16(0))
	f.Add([]byte("\xff\xff\xff\xffB"), uint16(4), uint16(0))
	f.Add([]byte("GET / HTTP/1.1"), uint16(2), uint16(0))
	f.Add(packet('B', strings.Repeat("x", 9000)), uint16(4096), uint16(0))
	f.Add(packet('B', strings.Repeat("x", 20)), uint16(5), uint16(19))
	for _, mta := range []string{"postfix", "sendmail"} {
		f.Add(bytes.Join(readSession(f, mta), nil), uint16(100), uint16(0))
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece, limit uint16) {
		whole := protocol.Buffer{MaxPayload: int(limit)}
		whole.Write(stream)
		want, wantErr := drain(&whole)

		pieces := protocol.Buffer{MaxPayload: int(limit)}
		size := int(piece) + 1
		var got []string
		var gotErr error
		var written int
		for rest := stream; len(rest) > 0 && gotErr == nil; rest = rest[min(size, len(rest)):] {
			next := rest[:min(size, len(rest))]
			pieces.Write(next)
			written += len(next)
			var packets []string
			packets, gotErr = drain(&pieces)
			got = append(got, packets...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in pieces of %d bytes (-whole +pieces):\n%s", size, diff)
		}
		if errorText(gotErr) != errorText(wantErr) {
			t.Errorf("in pieces of %d bytes: error %v, as a whole: %v", size, gotErr, wantErr)
		}
		var used int
		for _, p := range got {
			used += 4 + len(p)
		}
		if !bytes.Equal(pieces.Bytes(), stream[used:written]) {
			t.Errorf("left over: %q, want %q", pieces.Bytes(), stream[used:written])
		}
		// The packets make up the stream again.
		var again []byte
		for _, p := range want {
			again = protocol.AppendPacket(again, p[0], []byte(p[1:]))
		}
		if !bytes.Equal(again, stream[:len(again)]) {
			t.Errorf("packets encoded again: %q, want %q", again, stream[:len(again)])
		}
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzParseMailFrom(f *testing.F) {
	fuzzArguments(f)
	f.Add("<>")
	f.Add("<> SIZE=10")
	f.Fuzz(func(t *testing.T, argument string) {
		checkArgument(t, argument, protocol.ParseMailFrom)
		if path, params, err := protocol.ParseMailFrom(argument); err == nil && path != "<>" {
			toPath, toParams, err := protocol.ParseRcptTo(argument)
			if toPath != path || toParams.String() != params.String() || err != nil {
				t.Errorf("as RCPT TO: %q, %q, %v; want %q, %q", toPath, toParams, err, path, params)
			}
		}
	})
}

func FuzzParseRcptTo(f *testing.F) {
	fuzzArguments(f)
	f.Add("<Postmaster>")
	f.Add("<postmaster> NOTIFY=NEVER ORCPT=rfc822;a+2Bb")
	f.Fuzz(func(t *testing.T, argument string) {
		checkArgument(t, argument, protocol.ParseRcptTo)
	})
}

func fuzzArguments(f *testing.F) {
	for _, tt := range paths {
		f.Add(tt.path)
		f.Add(tt.path + " SIZE=10 BODY=8BITMIME SMTPUTF8")
	}
	for _, s := range []string{"", "<", "<a@b", `<"a\`, "<a@[", "<@a:", "<a@b> X=", "<a@b>  ", "<\xff@b>", "<a@b> X=\xff"} {
		f.Add(s)
	}
}

func checkArgument(t *testing.T, argument string, parse func(string) (string, protocol.Parameters, error)) {
	path, params, err := parse(argument)
	if err != nil {
		if !strings.Contains(err.Error(), "|@|") || !strings.HasPrefix(err.Error(), "protocol: ") {
			t.Errorf("the error shows no place: %v", err)
		}
		// The place lies within the argument: the text is there but for the mark.
		var found bool
		for i := range len(argument) + 1 {
			found = found || strings.HasSuffix(err.Error(), ": "+quoted(argument[:i]+"|@|"+argument[i:]))
		}
		if !found {
			t.Errorf("the error does not quote %q: %v", argument, err)
		}
		if path != "" || params != nil {
			t.Errorf("%q, %q with an error", path, params)
		}
		return
	}
	if !strings.HasPrefix(argument, path) || path[0] != '<' || path[len(path)-1] != '>' {
		t.Errorf("path %q of %q", path, argument)
	}
	// In the form with single blanks nothing changes any more.
	plain := strings.TrimSuffix(path+" "+params.String(), " ")
	path2, params2, err := parse(plain)
	if path2 != path || err != nil {
		t.Errorf("%q, then %q: %v", path, path2, err)
	}
	if diff := cmp.Diff(params, params2); diff != "" {
		t.Errorf("parameters (-first +second):\n%s", diff)
	}
	for _, p := range params {
		keyword, _, _ := strings.Cut(p, "=")
		if _, ok := params.Get(keyword); !ok || strings.Contains(p, " ") {
			t.Errorf("parameter %q", p)
		}
	}
	// The address is the end of the path, and splits into what makes it up.
	address := protocol.Address(argument)
	if !strings.HasSuffix(path, address+">") {
		t.Errorf("address %q of %q", address, path)
	}
	if again := protocol.Address(address); again != address {
		t.Errorf("the address of the address %q is %q", address, again)
	}
	local, domain := protocol.SplitAddress(address)
	if address == "" || strings.EqualFold(path, "<postmaster>") {
		if local != address || domain != "" {
			t.Errorf("%q is split into %q and %q", address, local, domain)
		}
		return
	}
	if local == "" || domain == "" || local+"@"+domain != address {
		t.Errorf("%q is split into %q and %q", address, local, domain)
	}
	for _, part := range []string{"<" + local + "@x>", "<x@" + domain + ">", "<" + address + ">"} {
		if got, _, err := parse(part); got != part {
			t.Errorf("%q: %v", part, err)
		}
	}
}

// Address and SplitAddress take anything and lose nothing.
func FuzzAddress(f *testing.F) {
	for _, tt := range paths {
		f.Add(tt.path)
		f.Add(tt.address)
	}
	f.Fuzz(func(t *testing.T, path string) {
		address := protocol.Address(path)
		if !strings.Contains(path, address) {
			t.Errorf("address %q is no part of %q", address, path)
		}
		local, domain := protocol.SplitAddress(address)
		if local != address && local+"@"+domain != address {
			t.Errorf("%q is split into %q and %q", address, local, domain)
		}
	})
}

func FuzzXtext(f *testing.F) {
	for _, s := range []string{"", "a", "a+2Bb", "+", "+2", "+2b", "a=b", "a b", "\x00\xff", "+ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		xtext := protocol.EncodeXtext(s)
		if got, err := protocol.DecodeXtext(xtext); got != s || err != nil {
			t.Errorf("%q is encoded as %q and decoded as %q, %v", s, xtext, got, err)
		}
		// What is encoded may be the value of a parameter.
		if s != "" {
			if _, params, err := protocol.ParseMailFrom("<> ENVID=" + xtext); params.String() != "ENVID="+xtext {
				t.Errorf("%q is no value of a parameter: %v", xtext, err)
			}
		}
		if text, err := protocol.DecodeXtext(s); err == nil {
			if again, err := protocol.DecodeXtext(protocol.EncodeXtext(text)); again != text || err != nil {
				t.Errorf("%q is decoded as %q, then as %q, %v", s, text, again, err)
			}
		} else if !strings.Contains(err.Error(), "|@|") {
			t.Errorf("the error shows no place: %v", err)
		}
	})
}
