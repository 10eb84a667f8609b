//go:build linux

package main

import (
	"bufio"
	stdcontext "context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

// A cutPoint is a place in a session where the connection is cut: these messages
// have been answered, and this was sent besides.
type cutPoint struct {
	name     string
	answered []protocol.Message
	sent     []byte
	mail     bool // the milter has a mail that it has not decided
	perhaps  bool // or has it, if it was quick enough
}

// cutPoints returns all 14.
func cutPoints(what string) []cutPoint {
	all := script(what)
	negotiation := all[0].Append(nil)
	points := []cutPoint{
		{name: "nothing sent"},
		{name: "half of the negotiation", sent: negotiation[:9]},
		{name: "negotiation", sent: negotiation},
	}
	for i, m := range all {
		if i == 0 || i > 0 && m.Command() == all[i-1].Command() {
			continue // the negotiation, and the second header
		}
		c := m.Command()
		points = append(points, cutPoint{
			name: c.String(), answered: all[:i], sent: m.Append(nil),
			mail:    c != protocol.CommandConnect && c != protocol.CommandHelo && c != protocol.CommandEnvelopeFrom && c != protocol.CommandEndOfMessage,
			perhaps: c == protocol.CommandEnvelopeFrom || c == protocol.CommandEndOfMessage,
		})
		if c == protocol.CommandBody {
			half := m.Append(nil)
			points = append(points, cutPoint{name: "half of a body", answered: all[:i], sent: half[:len(half)/2], mail: true})
		}
	}
	return append(points, cutPoint{name: "between two mails", answered: all})
}

// How a connection ends.
type ending int

const (
	byReset ending = iota // RST; a unix socket has none, and is closed with unread answers
	byClose               // FIN, both directions
	byHalf                // FIN from the MTA only, which reads on
	numEndings
)

// cut plays a session to a point and ends it there.
func (p *process) cut(spec string, at cutPoint, how ending) error {
	s, err := p.lab.dial(spec)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := do(s, at.answered...); err != nil {
		return fmt.Errorf("%s: %w", at.name, err)
	}
	if len(at.sent) > 0 {
		if err := s.SendRaw(at.sent); err != nil {
			return fmt.Errorf("%s: %w", at.name, err)
		}
	}
	return end(s, how)
}

func end(s *miltertest.Session, how ending) error {
	switch how {
	case byReset:
		return s.Cut()
	case byClose:
		return s.Close()
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	for { // answers that were due, then the milter's end
		_, err := s.ReadPacket()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errors.New("the milter does not end a session that was closed in its direction")
		case err != nil:
			return nil
		}
	}
}

// cutAttack cuts sessions everywhere, in every way, while handlers answer at once
// and late.
func cutAttack(l *lab) []row {
	var rows []row
	for _, kind := range []struct {
		id, name string
		times    int
		args     []string
	}{
		{"cut-now", "sessions cut, answers at once", 10, nil},
		{"cut-late", "sessions cut, answers due", 4, []string{"--late", "5ms"}},
	} {
		points := cutPoints("plain")
		r := row{id: kind.id, attack: kind.name, want: "each session ends exactly once, each mail under way is aborted exactly once; goroutines and descriptors as before; no log line",
			done: fmt.Sprintf("RST, FIN of both and of one direction, at %d points × %d, unix and inet", len(points), kind.times)}
		p, err := l.start(kind.args...)
		if err == nil {
			r.figure, err = p.cutEverywhere(points, kind.times)
		}
		r.judge(p, err)
		rows = append(rows, r)
	}
	return rows
}

func (p *process) cutEverywhere(points []cutPoint, times int) (string, error) {
	return p.unharmed(func() (surely, perhaps int64, err error) {
		for _, spec := range p.specs() {
			for how := range numEndings {
				for _, at := range points {
					for range times {
						if err := p.cut(spec, at, how); err != nil {
							return 0, 0, err
						}
						switch {
						case at.perhaps || at.mail && how == byHalf && at.sent != nil:
							perhaps++
						case at.mail:
							surely++
						}
					}
				}
			}
		}
		return surely, perhaps, nil
	})
}

// unharmed runs f and returns an error unless everything of it has ended properly.
// f returns how many mails were surely and how many perhaps aborted.
func (p *process) unharmed(f func() (surely, perhaps int64, err error)) (string, error) {
	if _, err := p.goods(); err != nil {
		return "", err
	}
	before, err := p.steady()
	if err != nil {
		return "", err
	}
	base, err := p.stats()
	if err != nil {
		return "", err
	}
	mark := p.log.mark()
	surely, perhaps, err := f()
	if err != nil {
		return "", errors.Join(err, p.alive())
	}
	if _, err := p.goods(); err != nil {
		return "", err
	}
	after, err := p.settle(before)
	if err != nil {
		return "", err
	}
	s, err := p.stats()
	if err != nil {
		return "", err
	}
	sessions, aborted := s.Sessions-base.Sessions, s.Aborted-base.Aborted
	figure := fmt.Sprintf("%d sessions, %d aborts; before: %v; after: %v", sessions, aborted, before, after)
	switch lines := p.log.since(mark); {
	case after.goroutines > before.goroutines || after.descriptors > before.descriptors:
		return figure, errors.New("something is left behind: " + figure)
	case s.Faults != 0 || s.Finished != s.Sessions || s.Begun != s.Processed:
		return figure, fmt.Errorf("events: %+v", s)
	case aborted < surely || aborted > surely+perhaps:
		return figure, fmt.Errorf("%d aborts, want %d to %d", aborted, surely, surely+perhaps)
	case len(lines) > 0:
		return figure, fmt.Errorf("%d log lines, the first: %q", len(lines), lines[0])
	}
	return figure, nil
}

// resetAttack is what killed milter manager: 200 sessions cut by RST, and 400
// sessions that are aborted.
func resetAttack(l *lab) []row {
	r := row{id: "rst-200", attack: "200 sessions cut by RST", done: "milter-test-client, inet, at all points", want: "lives, descriptors as before, the next session is served"}
	a := row{id: "abort-400", attack: "400 aborted sessions", done: "milter-test-client, unix and inet: cut within a mail", want: "descriptors as before"}
	p, err := l.startTestClient()
	points := cutPoints("plain")
	if err == nil {
		r.figure, err = p.descriptorsAfter(200, func(i int) error { return p.cut(p.inet, points[i%len(points)], byReset) })
	}
	r.judge(p, err)
	if err == nil {
		within := points[len(points)/2]
		a.figure, err = p.descriptorsAfter(400, func(i int) error { return p.cut(p.specs()[i%2], within, ending(i/2%2)) })
	}
	a.judge(p, err)
	return []row{r, a}
}

// descriptorsAfter runs f n times and compares descriptors.
func (p *process) descriptorsAfter(n int, f func(i int) error) (string, error) {
	if err := p.serves(); err != nil {
		return "", err
	}
	time.Sleep(50 * time.Millisecond) // the session's descriptor goes after its connection
	before, err := p.descriptors()
	if err != nil {
		return "", err
	}
	for i := range n {
		if err := f(i); err != nil {
			return "", fmt.Errorf("after %d sessions: %w", i, errors.Join(err, p.alive()))
		}
	}
	if err := p.serves(); err != nil {
		return "", err
	}
	after, err := p.descriptorsSettled(before)
	figure := fmt.Sprintf("%d/%d descriptors", before, after)
	if err == nil && after > before {
		err = errors.New(figure)
	}
	return figure, err
}

// serves plays a session that any milter lets pass.
func (p *process) serves() error {
	if err := p.alive(); err != nil {
		return err
	}
	s, err := p.lab.dial(p.inet)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := do(s, script("plain")...); err != nil {
		return err
	}
	return s.Quit()
}

// descriptorsSettled waits 1 s at most for the descriptors to be want or fewer.
func (p *process) descriptorsSettled(want int) (n int, err error) {
	for range 100 {
		if n, err = p.descriptors(); err != nil || n <= want {
			return n, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return n, nil
}

// killAttack kills a process that plays MTA, in the middle of its sessions.
func killAttack(l *lab) []row {
	const times = 3
	r := row{id: "kill", attack: "the MTA is killed", done: fmt.Sprintf("kill -9 of a process with %d sessions, %d times, answers at once and due", playSessions, 2*times),
		want: "each session ends exactly once, each mail under way is aborted exactly once; goroutines and descriptors as before; no log line"}
	for _, args := range [][]string{nil, {"--late", "5ms"}} {
		p, err := l.start(args...)
		if err == nil {
			r.figure, err = p.unharmed(func() (surely, perhaps int64, err error) {
				for range times {
					for _, spec := range p.specs() {
						if err := l.killPlayer(spec); err != nil {
							return 0, 0, err
						}
					}
				}
				for _, at := range playPoints() {
					if at.mail {
						surely += times * 2
					} else if at.perhaps {
						perhaps += times * 2
					}
				}
				return surely, perhaps, nil
			})
		}
		r.judge(p, err)
		if !r.ok {
			break
		}
	}
	return []row{r}
}

// playSessions is how many sessions the process has that is killed.
const playSessions = 42

// playPoints are the points that those sessions have come to.
func playPoints() []cutPoint {
	var points []cutPoint
	all := cutPoints("plain")
	for i := range playSessions {
		points = append(points, all[i%len(all)])
	}
	return points
}

// killPlayer starts this program as an MTA and kills it.
func (l *lab) killPlayer(spec string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := l.soon()
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "--play", spec)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, readErr := bufio.NewReader(out).ReadString('\n')
	killErr := cmd.Process.Kill()
	_ = cmd.Wait() // says that it was killed
	return errors.Join(readErr, killErr)
}

// play is the process that is killed: it opens sessions, says so, and waits.
func play(ctx stdcontext.Context, spec string, stdout io.Writer) error {
	p := &process{lab: &lab{ctx: ctx}}
	var conns []net.Conn
	for _, at := range playPoints() {
		s, err := p.lab.dial(spec)
		if err != nil {
			return err
		}
		if err := do(s, at.answered...); err != nil {
			return err
		}
		if err := s.SendRaw(at.sent); err != nil {
			return err
		}
		conns = append(conns, s.Conn())
	}
	fmt.Fprintln(stdout, "ready")
	select {
	case <-ctx.Done():
	case <-time.After(patience):
	}
	closeConns(conns)
	return nil
}
