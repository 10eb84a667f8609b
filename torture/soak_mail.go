//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// A worker plays one connection after the other. All that it does follows from
// its random numbers.
type worker struct {
	process *process
	random  *rand.Rand
	text    []byte          // that bodies are cut from
	took    []time.Duration // by the messages that are answered at once

	negotiated, greeted bool // on the current connection
}

func newWorker(p *process, random *rand.Rand) *worker {
	w := &worker{process: p, random: random}
	for len(w.text) < 2*protocol.MaxChunk {
		w.text = fmt.Appendf(w.text, "%x\r\n", random.Uint64())
	}
	return w
}

// play plays n messages, on as many connections as that takes.
func (w *worker) play(n int) error {
	for n > 0 {
		count := 1
		if w.random.IntN(2) == 0 {
			count = min(1+w.random.IntN(20), n)
		}
		played, err := w.connection(count)
		if err != nil {
			return err
		}
		n -= played
	}
	return nil
}

// connection plays up to count messages on one connection and returns how many
// there were: one that is cut is the last.
func (w *worker) connection(count int) (int, error) {
	s, err := w.process.lab.dial(w.process.specs()[w.random.IntN(2)])
	if err != nil {
		return 0, err
	}
	defer s.Close()
	w.negotiated, w.greeted = false, false
	for i := range count {
		cut, err := w.message(s)
		w.negotiated, w.greeted = true, true
		if err != nil {
			return i, err
		}
		if cut {
			return i + 1, nil
		}
		if w.random.IntN(8) == 0 { // the next SMTP client, on the same connection
			if err := s.QuitNewConnection(); err != nil {
				return i, err
			}
			w.greeted = false
		}
	}
	if w.random.IntN(5) == 0 {
		return count, end(s, ending(w.random.IntN(int(numEndings))))
	}
	return count, s.Quit()
}

// body returns the body of a mail: half are short, an eighth may have 64 KiB.
func (w *worker) body() []byte {
	largest := []int{1 << 10, 1 << 10, 1 << 10, 1 << 10, 8 << 10, 8 << 10, 8 << 10, 64 << 10}[w.random.IntN(8)]
	at := w.random.IntN(len(w.text) - largest)
	return w.text[at : at+w.random.IntN(largest+1)]
}

// message plays one message of a random kind. cut says that the connection ended
// with it.
func (w *worker) message(s *miltertest.Session) (cut bool, err error) {
	late := ""
	if w.random.IntN(5) == 0 {
		late = "late-"
	}
	switch n := w.random.IntN(100); {
	case n < 30:
		return false, w.send(s, late, "plain", nil)
	case n < 40:
		return false, w.send(s, late, "accept", nil)
	case n < 50:
		return false, w.send(s, late, "changes", nil)
	case n < 60:
		return false, w.send(s, late, "reject", nil)
	case n < 65:
		return false, w.send(s, late, "tempfail", nil)
	case n < 70:
		return false, w.send(s, late, "discard", nil)
	case n < 78:
		return false, w.send(s, late, "plain", []int{w.random.IntN(2)})
	case n < 82:
		return false, w.send(s, late, "plain", []int{0, 1})
	case n < 91:
		return false, w.abort(s, late)
	}
	return true, w.cut(s, late)
}

// send plays a whole message of which some recipients are refused, and judges
// what came of it.
func (w *worker) send(s *miltertest.Session, late, what string, refused []int) error {
	mail := goodMail(late+what, w.body())
	for _, i := range refused {
		mail.Recipients[i].Path = fmt.Sprintf("<refused%d@torture.example>", i)
	}
	r, err := s.Send(mail)
	if err != nil {
		return fmt.Errorf("%s: %w", mail.From, err)
	}
	if late == "" {
		w.took = append(w.took, r.Elapsed)
	}
	sum := reply.AddHeader{Name: "X-Sum", Value: sumOf(mail)}
	switch {
	case len(refused) == len(mail.Recipients):
		err = judgeText(r, "reject [550]<5.1.1>(Nobody is not here)")
	case what == "plain":
		err = judgeChanges(r, protocol.StatusContinue, sum)
		if len(r.Mail.Recipients) != len(mail.Recipients)-len(refused) {
			err = fmt.Errorf("recipients %v", r.Mail.Recipients)
		}
	case what == "accept":
		err = judgeChanges(r, protocol.StatusAccept)
	case what == "discard":
		err = judgeChanges(r, protocol.StatusDiscard)
	case what == "reject":
		err = judgeText(r, "reject [554]<5.7.1>(100% spam\nreally)")
	case what == "tempfail":
		err = judgeText(r, "temporary-failure [451]<4.7.1>(not now)")
	case what == "changes":
		err = judgeAllChanges(r, sum)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", mail.From, err)
	}
	return nil
}

func judgeText(r miltertest.Result, want string) error {
	if got := r.String(); got != want || len(r.Changes) > 0 {
		return fmt.Errorf("the answer is %q %q, want %q", got, r.Changes, want)
	}
	return nil
}

func judgeAllChanges(r miltertest.Result, sum reply.Message) error {
	if want := []byte("a new body\r\n"); !bytes.Equal(r.Mail.Body, want) {
		return fmt.Errorf("the new body is %q", r.Mail.Body)
	}
	return judgeChanges(r, protocol.StatusQuarantine,
		sum,
		reply.InsertHeader{Index: 0, Name: "X-First", Value: "a\n\tfolded one"},
		reply.ChangeHeader{Index: 1, Name: "Subject", Value: "changed"},
		reply.ChangeHeader{Index: 1, Name: "X-Number"},
		reply.ChangeFrom{Path: "<changed@torture.example>"},
		reply.AddRecipient{Path: "<added@torture.example>"},
		reply.DeleteRecipient{Path: "<receiver@torture.example>"},
		reply.ReplaceBody{Chunk: []byte("a new body\r\n")},
		reply.Quarantine{Reason: "torture"})
}

// abort plays a message to a random command, and aborts it.
func (w *worker) abort(s *miltertest.Session, late string) error {
	if err := w.begin(s, late, false); err != nil {
		return err
	}
	return s.Abort()
}

// cut is abort by the end of the connection, also while an answer is due.
func (w *worker) cut(s *miltertest.Session, late string) error {
	if err := w.begin(s, late, w.random.IntN(2) == 0); err != nil {
		return err
	}
	return end(s, ending(w.random.IntN(int(numEndings))))
}

// begin plays the begin of a message. With due the answer to its last command is
// left to come.
func (w *worker) begin(s *miltertest.Session, late string, due bool) error {
	var commands []protocol.Message
	for _, m := range script(late + "plain") {
		switch m.Command() {
		case protocol.CommandNegotiate:
			if w.negotiated {
				continue
			}
		case protocol.CommandConnect, protocol.CommandHelo:
			if w.greeted {
				continue
			}
		case protocol.CommandEndOfMessage:
			continue
		}
		commands = append(commands, m)
	}
	mail := len(commands) - 8 // where MAIL is
	n := mail + 1 + w.random.IntN(8)
	if due {
		n--
	}
	if err := do(s, commands[:n]...); err != nil {
		return err
	}
	if !due {
		return nil
	}
	return s.SendRaw(commands[n].Append(nil))
}
