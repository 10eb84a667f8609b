package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/milter-go/milter/client/cli"
	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

func (o *options) macroOptions() []cli.Option {
	var list []cli.Option
	for _, c := range []protocol.Command{
		protocol.CommandConnect, protocol.CommandHelo, protocol.CommandEnvelopeFrom, protocol.CommandEnvelopeRecipient,
		protocol.CommandData, protocol.CommandEndOfHeader, protocol.CommandEndOfMessage,
	} {
		list = append(list, cli.Option{
			Long: c.String() + "-macro", Arg: "NAME:VALUE", Value: cli.Func(func(text string) error { return o.addMacro(c, text) }),
			Help: "define a macro at " + c.String(),
		})
	}
	return list
}

// addMacro adds NAME:VALUE to the macros of command c.
func (o *options) addMacro(c protocol.Command, text string) error {
	name, value, ok := strings.Cut(text, ":")
	if !ok || protocol.MacroName(name) == "" {
		return errors.New("should be NAME:VALUE")
	}
	if strings.Contains(text, "\x00") {
		return errors.New("must not contain a NUL")
	}
	if len(name) > 1 && name[0] != '{' {
		name = "{" + name + "}"
	}
	o.macros[c] = append(o.macros[c], protocol.Macro{Name: name, Value: value})
	return nil
}

// macro returns the value of an option for one macro of command c.
func (o *options) macro(c protocol.Command, name string) cli.Value {
	return cli.Func(func(text string) error { return o.addMacro(c, name+":"+text) })
}

// define sets the macros of command c: the usual ones, and above them those of
// the options.
func (o *options) define(s *miltertest.Session, c protocol.Command, usual ...protocol.Macro) {
	macros := usual
next:
	for _, m := range o.macros[c] {
		for i := range macros {
			if macros[i].Name == m.Name {
				macros[i].Value = m.Value
				continue next
			}
		}
		macros = append(macros, m)
	}
	if s.Macros == nil {
		s.Macros = make(map[protocol.Command][]protocol.Macro)
	}
	s.Macros[c] = macros
}

// defineClient sets the macros of the connection.
func (o *options) defineClient(s *miltertest.Session) {
	o.define(s, protocol.CommandConnect,
		protocol.Macro{Name: "{daemon_name}", Value: o.name},
		protocol.Macro{Name: "{if_name}", Value: "localhost"},
		protocol.Macro{Name: "{if_addr}", Value: "127.0.0.1"},
		protocol.Macro{Name: "j", Value: "mail.example.com"})
	o.define(s, protocol.CommandHelo,
		protocol.Macro{Name: "{tls_version}"},
		protocol.Macro{Name: "{cipher}"},
		protocol.Macro{Name: "{cipher_bits}", Value: "0"},
		protocol.Macro{Name: "{cert_subject}"},
		protocol.Macro{Name: "{cert_issuer}"})
}

// defineMail sets the macros of a mail, the number-th of a session.
func (o *options) defineMail(s *miltertest.Session, mail miltertest.Mail, session, number int) {
	address := protocol.Address(mail.From)
	_, domain := protocol.SplitAddress(address)
	o.define(s, protocol.CommandEnvelopeFrom,
		protocol.Macro{Name: "{mail_mailer}", Value: "esmtp"},
		protocol.Macro{Name: "{mail_host}", Value: domain},
		protocol.Macro{Name: "{mail_addr}", Value: address})
	id := protocol.Macro{Name: "i", Value: fmt.Sprintf("S%dM%d", session, number)}
	o.define(s, protocol.CommandData, id)
	o.define(s, protocol.CommandEndOfHeader, id)
	o.define(s, protocol.CommandEndOfMessage, id)
}

// defineRecipient sets the macros of a recipient.
func (o *options) defineRecipient(s *miltertest.Session, path string) {
	address := protocol.Address(path)
	_, domain := protocol.SplitAddress(address)
	o.define(s, protocol.CommandEnvelopeRecipient,
		protocol.Macro{Name: "{rcpt_mailer}", Value: "local"},
		protocol.Macro{Name: "{rcpt_host}", Value: domain},
		protocol.Macro{Name: "{rcpt_addr}", Value: address})
}
