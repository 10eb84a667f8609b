// Demo shows a milter at work on a mail, in a few seconds and without an MTA: it
// plays the MTA's part itself, over a pipe, and prints what passes between the
// two, and then what became of the mail. The milter is in milter.go. In the root
// of the repository:
//
//	go run ./examples/demo
//	go run ./examples/demo A-MAIL-OF-YOURS.eml
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/client/miltertest"
)

func main() {
	log.SetFlags(0)
	name := "testdata/multipart.eml"
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	file, err := os.Open(name)
	if err != nil {
		log.Fatalf("%v\nRun the demo in the root of the repository, or give it a mail.", err)
	}
	defer file.Close()
	if err := demo(&screen{w: os.Stdout, colour: isTerminal(os.Stdout)}, newMilter(), file); err != nil {
		log.Fatal(err)
	}
}

// demo lets the mail pass the milter c and shows it on s.
func demo(s *screen, c *client.Client, text io.Reader) error {
	mail, err := miltertest.ParseMail(text)
	if err != nil {
		return err
	}
	mail.From = "<ada@example.com>"
	mail.Recipients = []miltertest.Recipient{{Path: "<ben@example.org>"}, {Path: "<nobody@example.com>"}}

	s.title("A mail passes a milter. On the left what the MTA tells, on the right what the milter answers.\n" +
		"To an event that it only watches there is no answer; the MTA does not wait for one.")
	mta, end := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- c.ServeConn(&tap{Conn: end, screen: s}) }()
	session := miltertest.New(mta)
	defer session.Close()
	result, err := session.Deliver(mail)
	if err != nil {
		return err
	}
	if err := <-served; err != nil {
		return err
	}

	fate := "is not delivered"
	if result.IsDelivered() {
		fate = "is delivered"
	}
	s.title(fmt.Sprintf("The last answer was %q: the mail %s.\nHere it is before (-) and after (+) the milter:", result.Status, fate))
	s.dump(miltertest.Diff(mail, result.Mail))
	s.title("What to read next:")
	s.text(`examples/demo/milter.go    this milter
examples/hello/main.go     one in 25 lines, to attach to a Postfix of yours
examples/README.md         what the other examples show
go doc ./context           all events, answers and changes`)
	return s.err
}
