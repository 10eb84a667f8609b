package reply_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// same makes cmp look into replies; an empty list or chunk is as good as none.
var same = cmp.Options{cmp.AllowUnexported(option.MacroRequests{}), cmpopts.EquateEmpty()}

// replies has every reply with its packet.
var replies = []struct {
	name    string
	message reply.Message
	packet  string
}{
	{
		"negotiate",
		reply.Negotiate{Option: option.Option{Version: 6, Actions: 0x1ff, Steps: 0x1fffff}},
		"\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff",
	},
	{
		"negotiate with macros",
		reply.Negotiate{
			Option: option.Option{Version: 6, Actions: option.ActionSetSymbolList},
			Macros: macros(map[option.MacroStage]string{
				option.MacroStageConnect: "j {daemon_name}", option.MacroStageHelo: "",
				option.MacroStageEndOfMessage: "i", option.MacroStageEndOfHeader: "i",
			}),
		},
		"\x00\x00\x00\x32O\x00\x00\x00\x06\x00\x00\x01\x00\x00\x00\x00\x00" +
			"\x00\x00\x00\x00j {daemon_name}\x00\x00\x00\x00\x01\x00\x00\x00\x00\x05i\x00\x00\x00\x00\x06i\x00",
	},
	{"continue", reply.Bare(protocol.ReplyContinue), "\x00\x00\x00\x01c"},
	{"accept", reply.Bare(protocol.ReplyAccept), "\x00\x00\x00\x01a"},
	{"reject", reply.Bare(protocol.ReplyReject), "\x00\x00\x00\x01r"},
	{"temporary-failure", reply.Bare(protocol.ReplyTemporaryFailure), "\x00\x00\x00\x01t"},
	{"discard", reply.Bare(protocol.ReplyDiscard), "\x00\x00\x00\x01d"},
	{"skip", reply.Bare(protocol.ReplySkip), "\x00\x00\x00\x01s"},
	{"progress", reply.Bare(protocol.ReplyProgress), "\x00\x00\x00\x01p"},
	{"connection-failure", reply.Bare(protocol.ReplyConnectionFailure), "\x00\x00\x00\x01f"},
	{"shutdown", reply.Bare(protocol.ReplyShutdown), "\x00\x00\x00\x014"},
	{"reply-code", reply.ReplyCode{SMTP: reply.SMTP{Code: 550, Extended: "5.7.1", Text: "go away"}}, "\x00\x00\x00\x13y550 5.7.1 go away\x00"},
	{"reply-code alone", reply.ReplyCode{SMTP: reply.SMTP{Code: 550}}, "\x00\x00\x00\x06y550 \x00"},
	{"reply-code with extended code", reply.ReplyCode{SMTP: reply.SMTP{Code: 450, Extended: "4.2.0"}}, "\x00\x00\x00\x0by450 4.2.0\x00"},
	{"reply-code with text", reply.ReplyCode{SMTP: reply.SMTP{Code: 554, Text: "no"}}, "\x00\x00\x00\x08y554 no\x00"},
	{
		"reply-code of three lines",
		reply.ReplyCode{SMTP: reply.SMTP{Code: 550, Extended: "5.0.0", Text: "a\n\nc"}},
		"\x00\x00\x00\x25y550-5.0.0 a\r\n550-5.0.0\r\n550 5.0.0 c\x00",
	},
	{
		"reply-code with percent signs",
		reply.ReplyCode{SMTP: reply.SMTP{Code: 550, Extended: "5.7.1", Text: "100% %s %%"}},
		"\x00\x00\x00\x1ay550 5.7.1 100%% %%s %%%%\x00",
	},
	{"add-header", reply.AddHeader{Name: "X-Test", Value: "value"}, "\x00\x00\x00\x0ehX-Test\x00value\x00"},
	{"add-header without value", reply.AddHeader{Name: "X-Test"}, "\x00\x00\x00\x09hX-Test\x00\x00"},
	{"insert-header", reply.InsertHeader{Index: 0x01020304, Name: "A", Value: "1\n\t2"}, "\x00\x00\x00\x0ci\x01\x02\x03\x04A\x001\n\t2\x00"},
	{"change-header", reply.ChangeHeader{Index: 2, Name: "X-Dup", Value: "TWO"}, "\x00\x00\x00\x0fm\x00\x00\x00\x02X-Dup\x00TWO\x00"},
	{"change-header that deletes", reply.ChangeHeader{Index: 1, Name: "A"}, "\x00\x00\x00\x08m\x00\x00\x00\x01A\x00\x00"},
	{"change-from", reply.ChangeFrom{Path: "<n@e.com>"}, "\x00\x00\x00\x0be<n@e.com>\x00"},
	{
		"change-from with parameters", reply.ChangeFrom{Path: "<>", Parameters: "SIZE=10 BODY=7BIT"},
		"\x00\x00\x00\x16e<>\x00SIZE=10 BODY=7BIT\x00",
	},
	{"add-recipient", reply.AddRecipient{Path: "<z>"}, "\x00\x00\x00\x05+<z>\x00"},
	{
		"add-recipient-with-parameters", reply.AddRecipient{Path: "<z>", Parameters: "NOTIFY=NEVER"},
		"\x00\x00\x00\x122<z>\x00NOTIFY=NEVER\x00",
	},
	{"delete-recipient", reply.DeleteRecipient{Path: "<to@example.net>"}, "\x00\x00\x00\x12-<to@example.net>\x00"},
	{"replace-body", reply.ReplaceBody{Chunk: []byte("a\r\n\x00%")}, "\x00\x00\x00\x06ba\r\n\x00%"},
	{"replace-body that empties", reply.ReplaceBody{}, "\x00\x00\x00\x01b"},
	{"quarantine", reply.Quarantine{Reason: "bad mail"}, "\x00\x00\x00\x0aqbad mail\x00"},
}

// macros returns requests for the stages of lists, which are separated by blanks.
func macros(lists map[option.MacroStage]string) (m option.MacroRequests) {
	for stage, names := range lists {
		if err := m.Set(stage, strings.Fields(names)...); err != nil {
			panic(err)
		}
	}
	return m
}

// unframe returns the packet in the bytes that an encoder wrote.
func unframe(t testing.TB, b []byte) protocol.Packet {
	t.Helper()
	var buffer protocol.Buffer
	buffer.Write(b)
	p, ok, err := buffer.Next()
	if !ok || err != nil || buffer.Len() > 0 {
		t.Fatalf("%q is not one packet: ok %t, %v, %d bytes left", b, ok, err, buffer.Len())
	}
	return p
}

func TestReplies(t *testing.T) {
	for _, tt := range replies {
		t.Run(tt.name, func(t *testing.T) {
			if want, _, _ := strings.Cut(tt.name, " "); want != tt.message.Reply().String() {
				t.Errorf("Reply() = %v, want %s", tt.message.Reply(), want)
			}
			if diff := cmp.Diff(tt.packet, string(tt.message.Append(nil))); diff != "" {
				t.Errorf("Append (-want +got):\n%s", diff)
			}
			if got := string(tt.message.Append([]byte("before"))); got != "before"+tt.packet {
				t.Errorf("Append behind other bytes: %q", got)
			}
			got, err := reply.Decode(unframe(t, []byte(tt.packet)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.message, got, same); diff != "" {
				t.Errorf("Decode (-want +got):\n%s", diff)
			}
		})
	}
}

// recorded are packets of libmilter 8.17.1.9.
var recorded = []struct {
	name, packet string
	want         reply.Message
}{
	{"negotiate with macros", "000000464f000000060000010100000000000000006a207b6461656d6f6e5f6e616d657d00000000037b726370745f616464727d00000000057b6d73675f73697a657d00000000066900",
		reply.Negotiate{
			Option: option.Option{Version: 6, Actions: option.ActionAddHeaders | option.ActionSetSymbolList},
			Macros: macros(map[option.MacroStage]string{
				option.MacroStageConnect: "j {daemon_name}", option.MacroStageEnvelopeRecipient: "{rcpt_addr}",
				option.MacroStageEndOfMessage: "{msg_size}", option.MacroStageEndOfHeader: "i",
			}),
		},
	},
	{"negotiate, no replies", "0000000d4f0000000600000001000ff080",
		reply.Negotiate{Option: option.Option{Version: 6, Actions: 1, Steps: option.NoReplySteps}},
	},
	{"code alone", "00000006793535302000", reply.ReplyCode{SMTP: reply.SMTP{Code: 550}}},
	{"code and extended code", "0000000b7935353020352e312e3100", reply.ReplyCode{SMTP: reply.SMTP{Code: 550, Extended: "5.1.1"}}},
	{"code and text", "0000000879353939206f6b00", reply.ReplyCode{SMTP: reply.SMTP{Code: 599, Text: "ok"}}},
	{"two lines", "0000001a793435302d342e302e3020610d0a34353020342e302e30206200",
		reply.ReplyCode{SMTP: reply.SMTP{Code: 450, Extended: "4.0.0", Text: "a\nb"}},
	},
	{"header of CRLF lines", "0000001668582d54657374006c696e65310d0a096c696e653200", reply.AddHeader{Name: "X-Test", Value: "line1\r\n\tline2"}},
	{"header deleted", "000000086d00000001410000", reply.ChangeHeader{Index: 1, Name: "A"}},
	{"sender and parameters", "0000001d653c6e40652e636f6d3e0053495a453d313020424f44593d3742495400",
		reply.ChangeFrom{Path: "<n@e.com>", Parameters: "SIZE=10 BODY=7BIT"},
	},
	{"null sender", "00000004653c3e00", reply.ChangeFrom{Path: "<>"}},
	{"recipient deleted", "000000122d3c746f406578616d706c652e6e65743e00", reply.DeleteRecipient{Path: "<to@example.net>"}},
	{"body", "0000000662610a620d0a", reply.ReplaceBody{Chunk: []byte("a\nb\r\n")}},
	{"body emptied", "0000000162", reply.ReplaceBody{}},
	{"quarantine", "0000000a71626164206d61696c00", reply.Quarantine{Reason: "bad mail"}},
}

func TestRecordedReplies(t *testing.T) {
	for _, tt := range recorded {
		t.Run(tt.name, func(t *testing.T) {
			b, err := hex.DecodeString(tt.packet)
			if err != nil {
				t.Fatal(err)
			}
			got, err := reply.Decode(unframe(t, b))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, same); diff != "" {
				t.Errorf("Decode (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(b, got.Append(nil)); diff != "" {
				t.Errorf("Append (-want +got):\n%s", diff)
			}
		})
	}
}

// Forms that are allowed and that no encoder here writes.
func TestDecodeLeniency(t *testing.T) {
	for _, tt := range []struct {
		name, packet string
		want         reply.Message
	}{
		{
			"libmilter writes empty parameters as a string", "e<n@e.com>\x00\x00",
			reply.ChangeFrom{Path: "<n@e.com>"},
		},
		{"recipient whose parameters are left out", "2<z>\x00", reply.AddRecipient{Path: "<z>"}},
		{"recipient whose parameters are empty", "2<z>\x00\x00", reply.AddRecipient{Path: "<z>"}},
		{
			"commas between macros", "O\x00\x00\x00\x06\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02i, {mail_addr},j\x00",
			reply.Negotiate{
				Option: option.Option{Version: 6, Actions: option.ActionSetSymbolList},
				Macros: macros(map[option.MacroStage]string{option.MacroStageEnvelopeFrom: "i {mail_addr} j"}),
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := reply.Decode(protocol.Packet{Letter: tt.packet[0], Payload: []byte(tt.packet[1:])})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, same); diff != "" {
				t.Errorf("Decode (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	const head = "O\x00\x00\x00\x06\x00\x00\x01\x00\x00\x00\x00\x00"
	const quotedHead = `\x00\x00\x00\x06\x00\x00\x01\x00\x00\x00\x00\x00`
	for _, tt := range []struct{ name, packet, want string }{
		{"letter", "Zx", `reply: unknown reply 'Z' with 1 bytes of payload`},
		{"letter that is a command", "H", `reply: unknown reply 'H' with 0 bytes of payload`},
		{"the letter of lists, which is never sent", "l", `reply: unknown reply 'l' with 0 bytes of payload`},
		{"continue", "cx", `reply: malformed continue reply: has a payload: "x"`},
		{"accept", "a\x00", `reply: malformed accept reply: has a payload: "\x00"`},
		{"reject", "rx", `reply: malformed reject reply: has a payload: "x"`},
		{"temporary-failure", "tx", `reply: malformed temporary-failure reply: has a payload: "x"`},
		{"discard", "dx", `reply: malformed discard reply: has a payload: "x"`},
		{"skip", "sx", `reply: malformed skip reply: has a payload: "x"`},
		{"progress", "px", `reply: malformed progress reply: has a payload: "x"`},
		{"connection-failure", "fx", `reply: malformed connection-failure reply: has a payload: "x"`},
		{"shutdown", "4x", `reply: malformed shutdown reply: has a payload: "x"`},
		{"negotiate", "O12345678901", `reply: malformed negotiate reply: need 12 bytes for version, actions and steps: "12345678901"`},
		{"negotiate, stage", head + "\x00\x00\x00", `reply: malformed negotiate reply: macro stage is cut off: "` + quotedHead + `\x00\x00\x00"`},
		{"negotiate, list", head + "\x00\x00\x00\x01i", `reply: malformed negotiate reply: macro list does not end with NUL: "` + quotedHead + `\x00\x00\x00\x01i"`},
		{"negotiate, no such stage", head + "\x00\x00\x00\x07i\x00", `reply: malformed negotiate reply: option: macros requested for unknown stage 7: "` + quotedHead + `\x00\x00\x00\ai\x00"`},
		{"negotiate, separator", head + "\x00\x00\x00\x01i\tj\x00", `reply: malformed negotiate reply: option: macro name "i\tj" requested for helo is empty or contains a separator: "` + quotedHead + `\x00\x00\x00\x01i\tj\x00"`},
		{"reply-code without NUL", "y550 x", `reply: malformed reply-code reply: does not end with NUL: "550 x"`},
		{"reply-code with NUL", "y550 x\x00y\x00", `reply: malformed reply-code reply: has 2 strings: "550 x\x00y\x00"`},
		{"reply-code, empty", "y\x00", `reply: malformed reply-code reply: has no text: "\x00"`},
		{"reply-code, single percent sign", "y550 100% sure\x00", `reply: malformed reply-code reply: single %: "550 100% sure\x00"`},
		{"reply-code, three percent signs", "y550 %%%\x00", `reply: malformed reply-code reply: single %: "550 %%%\x00"`},
		{"reply-code, no blank", "y550\x00", `reply: malformed reply-code reply: no blank behind the code: "550\x00"`},
		{"reply-code, class of the extended code", "y550 4.7.1 x\x00", `reply: malformed reply-code reply: text begins with a digit that is not the class of the code: "550 4.7.1 x\x00"`},
		{"reply-code, digit", "y550 3 strikes\x00", `reply: malformed reply-code reply: text begins with a digit that is not the class of the code: "550 3 strikes\x00"`},
		{"reply-code, no reply of SMTP", "yhello\x00", `reply: malformed reply-code reply: line 1 does not begin with a three-digit code: "hello": "hello\x00"`},
		{"reply-code, last line with a hyphen", "y550-5.7.1\x00", `reply: malformed reply-code reply: line 1: the code should be followed by " ": "550-5.7.1": "550-5.7.1\x00"`},
		{"add-header, empty", "h", `reply: malformed add-header reply: does not end with NUL: ""`},
		{"add-header, value without NUL", "hX\x00v", `reply: malformed add-header reply: does not end with NUL: "X\x00v"`},
		{"add-header, one string", "hX\x00", `reply: malformed add-header reply: has 1 strings: "X\x00"`},
		{"add-header, three strings", "hX\x00v\x00w\x00", `reply: malformed add-header reply: has 3 strings: "X\x00v\x00w\x00"`},
		{"add-header, no name", "h\x00v\x00", `reply: malformed add-header reply: has no name: "\x00v\x00"`},
		{"insert-header, index", "i\x00\x00\x00", `reply: malformed insert-header reply: has no index: "\x00\x00\x00"`},
		{"insert-header, strings", "i\x00\x00\x00\x01X\x00", `reply: malformed insert-header reply: has 1 strings: "X\x00"`},
		{"change-header, index", "m", `reply: malformed change-header reply: has no index: ""`},
		{"change-header, name", "m\x00\x00\x00\x01\x00\x00", `reply: malformed change-header reply: has no name: "\x00\x00"`},
		{"change-from", "e<>", `reply: malformed change-from reply: does not end with NUL: "<>"`},
		{"change-from, three strings", "e<>\x00a\x00b\x00", `reply: malformed change-from reply: has 3 strings: "<>\x00a\x00b\x00"`},
		{"change-from, path", "e\x00", `reply: malformed change-from reply: has no path: "\x00"`},
		{"add-recipient, two strings", "+<z>\x00NOTIFY=NEVER\x00", `reply: malformed add-recipient reply: has 2 strings: "<z>\x00NOTIFY=NEVER\x00"`},
		{"add-recipient with parameters, path", "2\x00NOTIFY=NEVER\x00", `reply: malformed add-recipient-with-parameters reply: has no path: "\x00NOTIFY=NEVER\x00"`},
		{"delete-recipient", "-<z>", `reply: malformed delete-recipient reply: does not end with NUL: "<z>"`},
		{"delete-recipient, path", "-\x00", `reply: malformed delete-recipient reply: has no path: "\x00"`},
		{"quarantine", "q", `reply: malformed quarantine reply: does not end with NUL: ""`},
		{"quarantine, reason", "q\x00", `reply: malformed quarantine reply: has no reason: "\x00"`},
		{
			"long payload", "c" + strings.Repeat("x", 81),
			`reply: malformed continue reply: has a payload: "` + strings.Repeat("x", 80) + `"... (81 bytes)`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := reply.Decode(protocol.Packet{Letter: tt.packet[0], Payload: []byte(tt.packet[1:])})
			if err == nil {
				t.Fatalf("no error, but %#v", m)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" || m != nil {
				t.Errorf("with %#v (-want +got):\n%s", m, diff)
			}
		})
	}
}
