package main

import (
	"slices"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// postfixMacros are the macros of an SMTP session with Postfix, by the stage whose
// list Postfix takes for the command: a header has the list of end-of-header, a
// body chunk that of end-of-message.
type postfixMacros struct {
	requests *option.MacroRequests // by the milter
}

// define returns the packet in front of command c. recipient counts from 0.
func (p postfixMacros) define(c protocol.Command, recipient int) protocol.DefineMacro {
	stage := macroStage(c)
	names, _ := p.requests.Get(stage)
	if len(names) == 0 { // Postfix takes an empty list for none (milter8.c)
		names = postfixNames(stage)
	}
	define := protocol.DefineMacro{For: c}
	values := macroValues(c, recipient)
	for _, name := range names {
		i := slices.IndexFunc(values, func(m protocol.Macro) bool {
			return protocol.MacroName(m.Name) == protocol.MacroName(name)
		})
		if i >= 0 {
			define.Macros = append(define.Macros, values[i])
		}
	}
	return define
}

func macroStage(c protocol.Command) option.MacroStage {
	switch c {
	case protocol.CommandConnect:
		return option.MacroStageConnect
	case protocol.CommandHelo:
		return option.MacroStageHelo
	case protocol.CommandEnvelopeFrom:
		return option.MacroStageEnvelopeFrom
	case protocol.CommandEnvelopeRecipient:
		return option.MacroStageEnvelopeRecipient
	case protocol.CommandData:
		return option.MacroStageData
	case protocol.CommandHeader, protocol.CommandEndOfHeader:
		return option.MacroStageEndOfHeader
	}
	return option.MacroStageEndOfMessage
}

// postfixNames are the macros of Postfix's default configuration that have a value
// without TLS and without authentication.
func postfixNames(stage option.MacroStage) []string {
	switch stage {
	case option.MacroStageConnect:
		return []string{"j", "{daemon_name}", "{daemon_addr}", "v", "_"}
	case option.MacroStageHelo:
		return nil
	case option.MacroStageEnvelopeFrom:
		return []string{"i", "{mail_addr}", "{mail_host}", "{mail_mailer}"}
	case option.MacroStageEnvelopeRecipient:
		return []string{"i", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"}
	}
	return []string{"i"}
}

// macroValues are the macros that have a value at command c.
func macroValues(c protocol.Command, number int) []protocol.Macro {
	values := []protocol.Macro{
		{Name: "j", Value: mtaHost},
		{Name: "{daemon_name}", Value: mtaHost},
		{Name: "{daemon_addr}", Value: "192.0.2.1"},
		{Name: "v", Value: "Postfix 3.7.11"},
		{Name: "_", Value: clientHost + " [" + clientAddress + "]"},
		{Name: "{client_addr}", Value: clientAddress},
		{Name: "{client_name}", Value: clientHost},
		{Name: "{client_port}", Value: "50443"},
		{Name: "{client_ptr}", Value: clientHost},
	}
	switch c {
	case protocol.CommandConnect, protocol.CommandHelo:
		return values
	}
	values = append(values,
		protocol.Macro{Name: "{mail_addr}", Value: sender},
		protocol.Macro{Name: "{mail_host}", Value: "example.com"},
		protocol.Macro{Name: "{mail_mailer}", Value: "smtp"})
	if c == protocol.CommandEnvelopeFrom {
		return values
	}
	if c == protocol.CommandEnvelopeRecipient {
		values = append(values,
			protocol.Macro{Name: "{rcpt_addr}", Value: recipient(number)},
			protocol.Macro{Name: "{rcpt_host}", Value: "example.org"},
			protocol.Macro{Name: "{rcpt_mailer}", Value: "smtp"})
		if number == 0 {
			return values // the queue file is made for the first accepted recipient
		}
	}
	return append(values, protocol.Macro{Name: "i", Value: queueID})
}
