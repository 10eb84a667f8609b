package run

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"time"

	"github.com/milter-go/milter/bench/result"
	"github.com/milter-go/milter/bench/work"
	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// Alike plays one message to each filter of a scenario and returns an error when
// one changes the mail otherwise than the first, or answers an event before with
// anything but continue. So all of them are measured at the same work.
func (b *Bench) Alike(s result.Scenario) error {
	var want *miltertest.Answer
	for _, name := range s.Filters {
		if !b.Has(name) {
			continue
		}
		f, err := b.start(name, s, -1)
		if err != nil {
			return err
		}
		got, err := play(f.spec, offer(s))
		f.stop()
		if err != nil {
			return fmt.Errorf("run: %s in %s: %w", name, s.Name, err)
		}
		if want == nil {
			want = &got
		}
		if !reflect.DeepEqual(*want, got) {
			return fmt.Errorf("run: %s in %s does other work than %s: it answers %v after %d changes, for %v after %d",
				name, s.Name, s.Base(), got, len(got.Changes), want, len(want.Changes))
		}
	}
	return nil
}

// offer returns the steps that the MTA's side offers.
func offer(s result.Scenario) option.Step {
	switch {
	case s.OfferAll:
		return option.AllSteps
	case s.NoReply:
		return option.NoReplySteps
	}
	return option.NoSteps
}

// playTimeout is how long one answer may take.
const playTimeout = 10 * time.Second

// play returns what the filter at spec answers at the end of a message.
func play(spec string, steps option.Step) (miltertest.Answer, error) {
	none := miltertest.Answer{}
	session, err := miltertest.Dial(context.Background(), spec)
	if err != nil {
		return none, err
	}
	defer session.Close()
	session.Timeout, session.EndOfMessageTimeout = playTimeout, playTimeout
	session.Offer = option.Option{Version: option.Version, Actions: option.AllActions, Steps: steps}
	if _, err := session.Negotiate(); err != nil {
		return none, err
	}
	localhost := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25}
	connect, err := protocol.NewConnect("localhost", localhost)
	if err != nil {
		return none, err
	}
	for _, m := range []protocol.Message{
		connect,
		protocol.Helo{Name: "localhost"},
		protocol.EnvelopeFrom{Path: "<a@example.com>"},
		protocol.EnvelopeRecipient{Path: "<b@example.com>"},
		protocol.Header{Name: work.Subject, Value: "hello"},
		protocol.Bare(protocol.CommandEndOfHeader),
		protocol.Body{Chunk: []byte("hello\r\n")},
	} {
		answer, err := session.Do(m)
		if err != nil {
			return none, err
		}
		if !answer.IsPass() {
			return none, fmt.Errorf("%v is answered with %v", m.Command(), answer)
		}
	}
	answer, err := session.EndOfMessage()
	if err != nil {
		return none, err
	}
	return answer, session.Quit()
}
