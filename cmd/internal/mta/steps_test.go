package mta_test

import (
	"testing"

	"github.com/milter-go/milter/cmd/internal/mta"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// The steps of all commands together are all such steps, each once, and the names
// of both say the same command.
func TestStepsOf(t *testing.T) {
	var events, replies option.Step
	for letter := range 256 {
		c := protocol.Command(letter)
		noEvent, noReply := mta.StepsOf(c)
		if events&noEvent != 0 || replies&noReply != 0 {
			t.Errorf("%v has a step of another command: %v, %v", c, noEvent, noReply)
		}
		events |= noEvent
		replies |= noReply
		if noEvent == 0 && noReply == 0 {
			continue
		}
		event := c.String()
		if c == protocol.CommandHeader {
			event = "headers"
		}
		if got, want := noEvent.String(), "no-"+event; got != want {
			t.Errorf("%v is left out by %s, want %s", c, got, want)
		}
		if got, want := noReply.String(), "no-reply-"+c.String(); got != want {
			t.Errorf("the reply to %v is left out by %s, want %s", c, got, want)
		}
	}
	if events != option.NoEventSteps || replies != option.NoReplySteps {
		t.Errorf("steps %v and %v, want %v and %v", events, replies, option.NoEventSteps, option.NoReplySteps)
	}
}
