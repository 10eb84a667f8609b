package miltertest_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// Filter is the milter to be tested: it marks mail from outside and knows nobody
// called nobody.
func Filter(ctx *context.ClientContext) {
	ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, to string, _ protocol.Parameters) protocol.Status {
		if to == "<nobody@example.com>" {
			return ctx.Reject(550, "5.1.1", "Nobody is not here")
		}
		return protocol.StatusContinue
	})
	ctx.OnHeader(func(ctx *context.ClientContext, name, value string) protocol.Status {
		if strings.EqualFold(name, "Subject") {
			ctx.SetShelfValue("subject", value)
		}
		return protocol.StatusContinue
	})
	ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
		subject, _ := ctx.ShelfValue("subject")
		if err := ctx.ChangeHeader("Subject", 1, "[outside] "+subject); err != nil {
			return ctx.TemporaryFailure(451, "4.3.0", "try again later")
		}
		return protocol.StatusAccept
	})
}

// How a milter is tested: a mail goes in, and what comes out is looked at. In a
// test, testing.T takes the place of log.
func Example() {
	session := miltertest.Serve(Filter)
	defer session.Close()

	mail, err := miltertest.ParseMail(strings.NewReader("From: Alice <alice@example.org>\nSubject: Lunch\n\nAt noon?\n"))
	if err != nil {
		log.Fatal(err)
	}
	mail.From = "<alice@example.org>"
	mail.Recipients = []miltertest.Recipient{{Path: "<bob@example.com>"}, {Path: "<nobody@example.com>"}}

	result, err := session.Deliver(mail)
	if err != nil {
		log.Fatal(err) // the milter broke the protocol, or did not answer
	}
	fmt.Println("status:", result)
	fmt.Println("nobody:", result.Recipients[1])
	fmt.Println("subject:", result.Mail.HeaderValues("Subject"))
	// Output:
	// status: accept
	// nobody: reject [550]<5.1.1>(Nobody is not here)
	// subject: [[outside] Lunch]
}

// One event alone.
func ExampleSession() {
	session := miltertest.Serve(Filter)
	defer session.Close()
	if _, err := session.Negotiate(); err != nil {
		log.Fatal(err)
	}
	if _, err := session.EnvelopeFrom("<alice@example.org>"); err != nil {
		log.Fatal(err)
	}
	for _, path := range []string{"<bob@example.com>", "<nobody@example.com>"} {
		answer, err := session.EnvelopeRecipient(path)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(path, answer.Status, answer.SMTP.Code)
	}
	// Output:
	// <bob@example.com> continue 0
	// <nobody@example.com> reject 550
}

// What a milter has changed, to be read by people.
func ExampleDiff() {
	session := miltertest.Serve(Filter)
	defer session.Close()
	mail := miltertest.Mail{
		From:       "<alice@example.org>",
		Recipients: []miltertest.Recipient{{Path: "<bob@example.com>"}},
		Headers:    []protocol.Header{{Name: "Subject", Value: " Lunch"}},
		Body:       []byte("At noon?\r\n"),
	}
	result, err := session.Send(mail)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(miltertest.Diff(mail, result.Mail))
	// Output:
	// Envelope:------------------------------
	//   MAIL FROM:<alice@example.org>
	//   RCPT TO:<bob@example.com>
	// Header:--------------------------------
	// - Subject: Lunch
	// + Subject: [outside] Lunch
	// Body:----------------------------------
	//   At noon?
}
