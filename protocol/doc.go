// Package protocol is the milter protocol on the wire: how packets are framed,
// the commands an MTA sends, and the names of everything in them.
//
// Each command is a struct with the fields of its payload. Its Append method
// writes a whole packet and its Decode method reads a payload; neither does I/O
// or knows a connection. What a milter answers is in package reply, apart from
// the letters themselves ([Reply]) and the [Status] a handler returns.
//
// A decoded command owns its strings. Byte slices (the chunks of [Body] and
// [EndOfMessage], the payload of a [Packet]) point into the buffer they were
// decoded from and are valid as long as that is.
package protocol

import "fmt"

// A Command is the letter of a packet that the MTA sends.
type Command byte

// The commands, with their payload. NUL stands for a zero byte.
const (
	CommandNegotiate         Command = 'O' // version, actions, steps: three big-endian uint32
	CommandDefineMacro       Command = 'D' // command letter, then name NUL value NUL ...; no reply
	CommandConnect           Command = 'C' // host NUL family [port (big-endian uint16) address NUL]
	CommandHelo              Command = 'H' // name NUL
	CommandEnvelopeFrom      Command = 'M' // path NUL [ESMTP parameter NUL ...]
	CommandEnvelopeRecipient Command = 'R' // path NUL [ESMTP parameter NUL ...]
	CommandData              Command = 'T' // empty
	CommandUnknown           Command = 'U' // SMTP command line NUL
	CommandHeader            Command = 'L' // name NUL value NUL
	CommandEndOfHeader       Command = 'N' // empty
	CommandBody              Command = 'B' // bytes
	CommandEndOfMessage      Command = 'E' // empty, or the last bytes of the body
	CommandAbort             Command = 'A' // empty; no reply
	CommandQuit              Command = 'Q' // empty; no reply
	CommandQuitNewConnection Command = 'K' // empty; no reply; a Connect follows
)

// String returns the command's name, such as "envelope-from".
func (c Command) String() string {
	switch c {
	case CommandNegotiate:
		return "negotiate"
	case CommandDefineMacro:
		return "define-macro"
	case CommandConnect:
		return "connect"
	case CommandHelo:
		return "helo"
	case CommandEnvelopeFrom:
		return "envelope-from"
	case CommandEnvelopeRecipient:
		return "envelope-recipient"
	case CommandData:
		return "data"
	case CommandUnknown:
		return "unknown"
	case CommandHeader:
		return "header"
	case CommandEndOfHeader:
		return "end-of-header"
	case CommandBody:
		return "body"
	case CommandEndOfMessage:
		return "end-of-message"
	case CommandAbort:
		return "abort"
	case CommandQuit:
		return "quit"
	case CommandQuitNewConnection:
		return "quit-new-connection"
	}
	return fmt.Sprintf("command(%q)", byte(c))
}

// A Reply is the letter of a packet that the milter sends.
type Reply byte

// The replies. The first group ends an event; at end of message any number of
// the second may come before one of the first.
const (
	ReplyNegotiate         Reply = 'O' // version, actions, steps, then [stage uint32, macros NUL] ...
	ReplyContinue          Reply = 'c'
	ReplyAccept            Reply = 'a'
	ReplyReject            Reply = 'r'
	ReplyTemporaryFailure  Reply = 't'
	ReplyDiscard           Reply = 'd'
	ReplySkip              Reply = 's'
	ReplyReplyCode         Reply = 'y' // SMTP reply lines, joined by CRLF, NUL
	ReplyConnectionFailure Reply = 'f' // no MTA understands it; never sent
	ReplyShutdown          Reply = '4' // Sendmail does not understand it; never sent

	ReplyProgress               Reply = 'p'
	ReplyAddHeader              Reply = 'h' // name NUL value NUL
	ReplyInsertHeader           Reply = 'i' // index (big-endian uint32) name NUL value NUL
	ReplyChangeHeader           Reply = 'm' // index (big-endian uint32) name NUL value NUL
	ReplyChangeFrom             Reply = 'e' // path NUL [ESMTP parameters NUL]
	ReplyAddRecipient           Reply = '+' // path NUL
	ReplyAddRecipientParameters Reply = '2' // path NUL [ESMTP parameters NUL]
	ReplyDeleteRecipient        Reply = '-' // path NUL
	ReplyReplaceBody            Reply = 'b' // bytes
	ReplyQuarantine             Reply = 'q' // reason NUL
)

// String returns the reply's name, such as "temporary-failure".
func (r Reply) String() string {
	switch r {
	case ReplyNegotiate:
		return "negotiate"
	case ReplyContinue:
		return "continue"
	case ReplyAccept:
		return "accept"
	case ReplyReject:
		return "reject"
	case ReplyTemporaryFailure:
		return "temporary-failure"
	case ReplyDiscard:
		return "discard"
	case ReplySkip:
		return "skip"
	case ReplyReplyCode:
		return "reply-code"
	case ReplyConnectionFailure:
		return "connection-failure"
	case ReplyShutdown:
		return "shutdown"
	case ReplyProgress:
		return "progress"
	case ReplyAddHeader:
		return "add-header"
	case ReplyInsertHeader:
		return "insert-header"
	case ReplyChangeHeader:
		return "change-header"
	case ReplyChangeFrom:
		return "change-from"
	case ReplyAddRecipient:
		return "add-recipient"
	case ReplyAddRecipientParameters:
		return "add-recipient-with-parameters"
	case ReplyDeleteRecipient:
		return "delete-recipient"
	case ReplyReplaceBody:
		return "replace-body"
	case ReplyQuarantine:
		return "quarantine"
	}
	return fmt.Sprintf("reply(%q)", byte(r))
}

// A SocketFamily says what kind of address a [Connect] carries.
type SocketFamily byte

// The socket families.
const (
	FamilyUnknown SocketFamily = 'U' // no address: mail submitted on standard input, say
	FamilyUnix    SocketFamily = 'L'
	FamilyInet    SocketFamily = '4'
	FamilyInet6   SocketFamily = '6'
)

// String returns "unknown", "unix", "inet" or "inet6".
func (f SocketFamily) String() string {
	switch f {
	case FamilyUnknown:
		return "unknown"
	case FamilyUnix:
		return "unix"
	case FamilyInet:
		return "inet"
	case FamilyInet6:
		return "inet6"
	}
	return fmt.Sprintf("family(%q)", byte(f))
}
