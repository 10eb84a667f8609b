package protocol_test

import (
	"bytes"
	"fmt"
	"io"

	"github.com/milter-go/milter/protocol"
)

func ExampleDecode() {
	// What an MTA sends, and what a milter reads of it.
	var stream []byte
	stream = protocol.Helo{Name: "client.example"}.Append(stream)
	stream = protocol.EnvelopeFrom{Path: "<user@example.com>", Parameters: protocol.Parameters{"SIZE=1000"}}.Append(stream)
	stream = protocol.Bare(protocol.CommandQuit).Append(stream)

	var buffer protocol.Buffer
	r := bytes.NewReader(stream)
	for {
		packet, err := buffer.ReadPacket(r)
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		message, err := protocol.Decode(packet)
		if err != nil {
			fmt.Println(err)
			return
		}
		switch m := message.(type) {
		case protocol.Helo:
			fmt.Println("helo", m.Name)
		case protocol.EnvelopeFrom:
			size, _ := m.Parameters.Get("SIZE")
			fmt.Println("mail from", m.Path, "of size", size)
		default:
			fmt.Println(m.Command())
		}
	}
	// Output:
	// helo client.example
	// mail from <user@example.com> of size 1000
	// quit
}

func ExampleBuffer() {
	var buffer protocol.Buffer
	buffer.Write([]byte("\x00\x00\x00\x01T\x00\x00\x00\x03")) // one packet and a half
	for {
		packet, ok, err := buffer.Next()
		if err != nil || !ok {
			fmt.Println(err, buffer.Len(), "bytes wait for more")
			return
		}
		fmt.Println(protocol.Command(packet.Letter))
	}
	// Output:
	// data
	// <nil> 4 bytes wait for more
}

func ExampleMacroList_Get() {
	list := protocol.MacroList("j\x00mx.example.com\x00{daemon_name}\x00MTA\x00")
	name, ok := list.Get("daemon_name")
	fmt.Printf("%s %t\n", name, ok)
	// Output: MTA true
}

func ExampleNewConnect() {
	connect, err := protocol.NewConnect("[192.0.2.1]", nil)
	fmt.Println(connect.Family, err)
	fmt.Printf("%q\n", connect.Append(nil))
	// Output:
	// unknown <nil>
	// "\x00\x00\x00\x0eC[192.0.2.1]\x00U"
}

func ExampleParseMailFrom() {
	path, params, err := protocol.ParseMailFrom("<user@example.com> SIZE=1000 BODY=8BITMIME")
	fmt.Println(path, params, err)
	_, _, err = protocol.ParseMailFrom("<user@>")
	fmt.Println(err)
	// Output:
	// <user@example.com> SIZE=1000 BODY=8BITMIME <nil>
	// protocol: MAIL FROM argument: a letter or a digit is expected in the domain: "<user@|@|>"
}

func ExampleParseRcptTo() {
	path, params, err := protocol.ParseRcptTo("<Postmaster> NOTIFY=NEVER")
	fmt.Println(path, params, err)
	// Output: <Postmaster> NOTIFY=NEVER <nil>
}

func ExampleAddress() {
	for _, path := range []string{"<user@example.com>", "<@relay.example:user@example.com>", "<>", "root@localhost"} {
		fmt.Printf("%q\n", protocol.Address(path))
	}
	// Output:
	// "user@example.com"
	// "user@example.com"
	// ""
	// "root@localhost"
}

func ExampleSplitAddress() {
	local, domain := protocol.SplitAddress(`"a@b"@example.com`)
	fmt.Println(local, domain)
	// Output: "a@b" example.com
}

func ExampleDecodeXtext() {
	params := protocol.Parameters{"ENVID=order+2B5"}
	envid, _ := params.Get("ENVID")
	fmt.Println(protocol.DecodeXtext(envid))
	// Output: order+5 <nil>
}

func ExampleStatus_Compare() {
	// Two filters have answered; the more severe answer counts.
	a, b := protocol.StatusContinue, protocol.StatusReject
	if a.Compare(b) < 0 {
		a = b
	}
	fmt.Println(a)
	// Output: reject
}
