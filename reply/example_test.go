package reply_test

import (
	"fmt"
	"strings"

	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

func ExampleNewSMTP() {
	s, err := reply.NewSMTP(550, "5.7.1", "go away")
	fmt.Println(s, err)
	_, err = reply.NewSMTP(550, "4.7.1", "go away")
	fmt.Println(err)
	// Output:
	// 550 5.7.1 go away <nil>
	// reply: extended code should have the class of the code: 550: "4.7.1"
}

func ExampleNewSMTP_lines() {
	s, err := reply.NewSMTP(451, "", "We are busy.\nTry again later.")
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(strings.ReplaceAll(s.String(), "\r\n", "\n"))
	// Output:
	// 451-4.0.0 We are busy.
	// 451 4.0.0 Try again later.
}

func ExampleParseSMTP() {
	s, err := reply.ParseSMTP("550-5.1.1 Nobody\r\n550 5.1.1 is not here")
	fmt.Printf("%d %s %q %v\n", s.Code, s.Extended, s.Text, err)
	// Output: 550 5.1.1 "Nobody\nis not here" <nil>
}

func ExampleDecode() {
	var answer []byte
	answer = reply.AddHeader{Name: "X-Scanned", Value: "yes"}.Append(answer)
	answer = reply.Bare(protocol.ReplyContinue).Append(answer)

	var buffer protocol.Buffer
	buffer.Write(answer)
	for {
		packet, ok, err := buffer.Next()
		if err != nil || !ok {
			break
		}
		message, err := reply.Decode(packet)
		fmt.Printf("%v %+v %v\n", message.Reply(), message, err)
	}
	// Output:
	// add-header {Name:X-Scanned Value:yes} <nil>
	// continue 99 <nil>
}
