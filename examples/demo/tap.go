package main

import (
	"bytes"
	"fmt"
	"net"
	"strings"

	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// A tap is the milter's end of a connection, and shows on the screen what passes.
type tap struct {
	net.Conn
	screen   *screen
	commands protocol.Buffer // from the MTA
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	_, _ = t.commands.Write(p[:n]) // never fails
	for {
		packet, ok, err := t.commands.Next()
		if !ok || err != nil {
			break
		}
		t.screen.event(describeCommand(packet))
	}
	return n, err
}

// Write gets whole packets.
func (t *tap) Write(p []byte) (int, error) {
	replies := bytes.NewReader(p)
	for buffer := (protocol.Buffer{}); ; {
		packet, err := buffer.ReadPacket(replies)
		if err != nil {
			break
		}
		t.screen.answer(describeReply(packet))
	}
	return t.Conn.Write(p)
}

func describeCommand(p protocol.Packet) string {
	command, err := protocol.Decode(p)
	if err != nil {
		return err.Error()
	}
	detail := ""
	switch c := command.(type) {
	case protocol.Negotiate:
		detail = fmt.Sprintf("version %d", c.Option.Version)
	case protocol.EnvelopeRecipient:
		detail = c.Path
	case protocol.Header:
		first, rest, _ := strings.Cut(c.Value, "\n")
		detail = c.Name + ": " + first
		if rest != "" {
			detail += " ..."
		}
	case protocol.Body:
		detail = fmt.Sprintf("%d bytes", len(c.Chunk))
	}
	return strings.TrimSpace(fmt.Sprintf("%-20s%s", command.Command(), detail))
}

func describeReply(p protocol.Packet) (colour, text string) {
	message, err := reply.Decode(p)
	if err != nil {
		return red, err.Error()
	}
	switch m := message.(type) {
	case reply.Negotiate:
		return "", fmt.Sprintf("version %d", m.Option.Version)
	case reply.ReplyCode:
		return red, m.SMTP.String()
	case reply.AddHeader:
		return green, fmt.Sprintf("add %s: %s", m.Name, m.Value)
	case reply.ChangeHeader:
		return green, fmt.Sprintf("change %s: %s", m.Name, m.Value)
	}
	switch message.Reply() {
	case protocol.ReplyAccept, protocol.ReplyProgress:
		return green, message.Reply().String()
	}
	return "", message.Reply().String()
}
