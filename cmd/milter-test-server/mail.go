package main

import (
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"os"
	"slices"
	"strings"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/cmd/internal/console"
	"github.com/milter-go/milter/protocol"
)

const (
	defaultFrom      = "sender@example.com"
	defaultRecipient = "receiver@example.org"
)

// readMail makes the mail of the options and the mail file.
func (o *options) readMail(stdin io.Reader) error {
	if err := o.readMailFile(stdin); err != nil {
		return err
	}
	m := &o.mail
	m.From, m.FromParameters = parsePath(o.from)
	if o.from == "" {
		m.From = "<" + firstOf(addresses(*m, "From"), defaultFrom) + ">"
	}
	recipients := o.recipients
	if len(recipients) == 0 {
		recipients = addresses(*m, "To")
	}
	if len(recipients) == 0 {
		recipients = []string{defaultRecipient}
	}
	for _, r := range recipients {
		path, parameters := parsePath(r)
		m.Recipients = append(m.Recipients, miltertest.Recipient{Path: path, Parameters: parameters})
	}
	for _, text := range o.headers {
		h, err := parseHeader(text)
		if err != nil {
			return err
		}
		m.Headers = append(m.Headers, h)
	}
	if o.mailFile == "" {
		o.addUsualHeaders()
	}
	if len(o.chunks) > 0 {
		m.Body = []byte(strings.Join(o.chunks, ""))
	}
	return nil
}

// readMailFile reads the mail file, or makes the body of a mail without one.
func (o *options) readMailFile(stdin io.Reader) (err error) {
	switch o.mailFile {
	case "":
		var b strings.Builder
		for i := range 4 {
			fmt.Fprintf(&b, "La de da de da %d.\r\n", i+1)
		}
		o.mail.Body = []byte(b.String())
		return nil
	case "-":
	default:
		f, err := os.Open(o.mailFile)
		if err != nil {
			return err
		}
		defer f.Close()
		stdin = f
	}
	if o.mail, err = miltertest.ParseMail(stdin); err != nil {
		return fmt.Errorf("%s: %w", o.mailFile, console.Plain(err))
	}
	return nil
}

// addUsualHeaders puts From and To on top, where they are missing.
func (o *options) addUsualHeaders() {
	m := &o.mail
	var to []string
	for _, r := range m.Recipients {
		to = append(to, r.Path)
	}
	if len(m.HeaderValues("To")) == 0 {
		m.Headers = slices.Insert(m.Headers, 0, protocol.Header{Name: "To", Value: " " + strings.Join(to, ", ")})
	}
	if len(m.HeaderValues("From")) == 0 {
		m.Headers = slices.Insert(m.Headers, 0, protocol.Header{Name: "From", Value: " " + m.From})
	}
}

// addresses returns the addresses in the header fields called name, as far as
// they can be read.
func addresses(m miltertest.Mail, name string) []string {
	var found []string
	for _, value := range m.HeaderValues(name) {
		list, err := netmail.ParseAddressList(strings.ReplaceAll(value, "\n", ""))
		if err != nil {
			continue
		}
		for _, a := range list {
			found = append(found, a.Address)
		}
	}
	return found
}

func firstOf(list []string, otherwise string) string {
	if len(list) > 0 {
		return list[0]
	}
	return otherwise
}

// parsePath cuts 'ADDRESS [PARAMETERS]'. Addresses get angle brackets.
func parsePath(text string) (path string, parameters protocol.Parameters) {
	path, rest, _ := strings.Cut(text, " ")
	if quoted, after, ok := strings.Cut(text, "> "); ok {
		path, rest = quoted+">", after // the address may have blanks in quotes
	} else if strings.HasSuffix(text, ">") {
		path, rest = text, ""
	}
	if !strings.HasPrefix(path, "<") {
		path = "<" + path + ">"
	}
	return path, strings.Fields(rest)
}

// parseHeader cuts NAME:VALUE. The value keeps the blank at its beginning, as
// that of a mail does.
func parseHeader(text string) (protocol.Header, error) {
	field := strings.ReplaceAll(text, "\r\n", "\n")
	name, value, ok := strings.Cut(field, ":")
	switch {
	case !ok || name == "":
		return protocol.Header{}, errors.New("should be 'NAME: VALUE'")
	case strings.Contains(field, "\x00"):
		return protocol.Header{}, errors.New("must not contain a NUL")
	}
	return protocol.Header{Name: name, Value: value}, nil
}
