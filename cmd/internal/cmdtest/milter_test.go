package cmdtest_test

import (
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/cmd/internal/cmdtest"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A Milter that is told nothing keeps to the protocol, and knows what came.
func TestMilter(t *testing.T) {
	for _, steps := range []option.Step{0, option.NoReplySteps} {
		m := &cmdtest.Milter{Steps: steps}
		for range 2 {
			s := dial(t, m)
			mail := miltertest.Mail{From: "<a@example.com>", Recipients: []miltertest.Recipient{{Path: "<b@example.com>"}}}
			if r, err := s.Deliver(mail); err != nil || !r.Status.IsPass() {
				t.Errorf("%v, %v", r, err)
			}
		}
		if m.Connections() != 2 || m.Count(protocol.CommandEndOfMessage) != 2 || m.Count(protocol.CommandAbort) != 0 {
			t.Errorf("%d connections, packets:\n%s", m.Connections(), m)
		}
	}
}

func TestAnswers(t *testing.T) {
	m := &cmdtest.Milter{
		Answers: cmdtest.Answers{protocol.CommandHelo: cmdtest.Close, protocol.CommandConnect: cmdtest.Bare('r')},
		Answer: func(c protocol.Command, n int) (string, bool) {
			return cmdtest.Bare('a'), c == protocol.CommandConnect && n == 2
		},
	}
	s := dial(t, m)
	_, err := s.Negotiate()
	cmdtest.Must(t, err)
	for _, want := range []protocol.Status{protocol.StatusReject, protocol.StatusAccept, protocol.StatusReject} {
		a, err := s.Connect("h", nil)
		if err != nil || a.Status != want {
			t.Errorf("%v, %v, want %v", a, err, want)
		}
	}
	if _, err := s.Helo("me"); !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want %v", err, io.EOF)
	}
	want := "negotiate \"\\x00\\x00\\x00\\x06\\x00\\x00\\x01\\xff\\x00\\x1f\\xff\\xff\"\n" +
		"connect \"h\\x00U\"\nconnect \"h\\x00U\"\nconnect \"h\\x00U\"\nhelo \"me\\x00\"\n"
	if diff := cmp.Diff(want, m.String()); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
}

func dial(t *testing.T, m *cmdtest.Milter) *miltertest.Session {
	t.Helper()
	s, err := miltertest.Dial(t.Context(), m.Listen(t, "tcp4"))
	cmdtest.Must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}
