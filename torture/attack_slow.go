//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/milter-go/milter/protocol"
)

const (
	// slowTimeout is the packet timeout of the milter that meets slow peers.
	slowTimeout = 4 * time.Second
	slowPeers   = 1000
	slowGoods   = 300 // good sessions for one figure
	slowRounds  = 5   // a disturbance from outside may spoil two
)

// slowAttack opens 1000 connections that never complete a packet: half of them
// fall silent after 3 bytes, half send a byte a second; half before the
// negotiation, half after it.
func slowAttack(l *lab) []row {
	delay := row{id: "slow-delay", attack: "slowloris: others", done: fmt.Sprintf("%d connections that begin a packet and send no more, or a byte a second; %d good sessions without and with them, %d times", slowPeers, slowGoods, slowRounds),
		want: "p99 of a good session with them is below twice the one without (median of the rounds)"}
	end := row{id: "slow", attack: "slowloris: end", done: fmt.Sprintf("the same, with a packet timeout of %v", slowTimeout), want: "each closed between the packet timeout and 1 s more"}
	var ratios []float64
	var without, with time.Duration
	first, last := time.Hour, time.Duration(0)
	for range slowRounds {
		p, err := l.start("--packet-timeout", slowTimeout.String())
		if err == nil {
			without, err = p.p99(slowGoods)
		}
		var s *slowPeersOf
		if err == nil {
			s, err = p.openSlow()
		}
		if err == nil {
			with, err = p.p99(slowGoods)
			ratios = append(ratios, float64(with)/float64(without))
		}
		if err == nil {
			var low, high time.Duration
			low, high, err = s.await()
			first, last = min(first, low), max(last, high)
		}
		if err == nil {
			_, err = p.goods()
		}
		if err != nil {
			delay.judge(p, err)
			end.judge(p, err)
			return []row{delay, end}
		}
		p.end()
	}
	ratio := median(ratios)
	delay.figure = fmt.Sprintf("p99 %s without, %s with them (last round); ratio %.2f", round(without), round(with), ratio)
	if delay.judge(nil, nil); ratio >= 2 {
		delay.judge(nil, fmt.Errorf("ratio %.2f", ratio))
	}
	end.figure = fmt.Sprintf("closed after %s to %s", round(first), round(last))
	if end.judge(nil, nil); first < slowTimeout || last > slowTimeout+time.Second {
		end.judge(nil, errors.New(end.figure))
	}
	return []row{delay, end}
}

// p99 plays n good sessions, one after the other.
func (p *process) p99(n int) (time.Duration, error) {
	for range n / 10 { // to warm up
		if _, err := p.lab.good(p.inet); err != nil {
			return 0, err
		}
	}
	var took []time.Duration
	for range n {
		d, err := p.lab.good(p.inet)
		if err != nil {
			return 0, err
		}
		took = append(took, d)
	}
	return percentile(took, 99), nil
}

// slowPeersOf are the slow connections to a process.
type slowPeersOf struct {
	wait sync.WaitGroup
	mu   sync.Mutex // guards what follows
	took []time.Duration
	err  error
}

func (p *process) openSlow() (*slowPeersOf, error) {
	s := new(slowPeersOf)
	negotiation := script("plain")[0].Append(nil)
	for i := range slowPeers {
		start := time.Now() // the time of the negotiation begins with the connect
		conn, err := p.lab.dialRaw(p.specs()[i/2%2])
		if err != nil {
			return nil, err
		}
		packet := protocol.Helo{Name: "a long name that takes its time"}.Append(nil)
		if i%4 < 2 {
			if _, err := conn.Write(negotiation); err != nil {
				return nil, err
			}
			// The answer, whose size does not matter here.
			if _, err := conn.Read(make([]byte, 1000)); err != nil {
				return nil, err
			}
			start = time.Now() // that of another packet with its first byte
		} else {
			packet = negotiation
		}
		dribbles := i%2 == 0
		begun := 3
		if dribbles {
			begun = 1
		}
		if _, err := conn.Write(packet[:begun]); err != nil {
			return nil, err
		}
		s.wait.Go(func() { s.note(slowEnd(conn, start, packet[begun:], dribbles)) })
	}
	return s, nil
}

// slowEnd waits for the end of one connection, sending a byte of packet a second
// if it dribbles, and returns how long after start the end came.
func slowEnd(conn net.Conn, start time.Time, packet []byte, dribbles bool) (time.Duration, error) {
	defer conn.Close()
	limit := start.Add(slowTimeout + 5*time.Second)
	for next := start.Add(time.Second); ; next = next.Add(time.Second) {
		if !dribbles || next.After(limit) {
			next = limit
		}
		err := awaitClose(conn, time.Until(next))
		if err == nil {
			return time.Since(start), nil
		}
		if next.Equal(limit) {
			return 0, fmt.Errorf("a slow connection is open %v after its packet began", time.Since(start).Round(time.Second))
		}
		if _, err := conn.Write(packet[:1]); err != nil {
			return time.Since(start), nil
		}
		packet = packet[1:]
	}
}

func (s *slowPeersOf) note(took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, took)
	if err != nil {
		s.err = err
	}
}

// await returns how long the shortest and the longest connection lived.
func (s *slowPeersOf) await() (shortest, longest time.Duration, err error) {
	s.wait.Wait()
	return percentile(s.took, 0), percentile(s.took, 100), s.err
}

// emfileAttack lets the milter run out of descriptors, as in the comparison.
func emfileAttack(l *lab) []row {
	const (
		limit    = 40
		connects = 80
		during   = 3 * time.Second
	)
	r := row{id: "emfile", attack: "no descriptor left", done: fmt.Sprintf("%d allowed, %d connect and stay for %v", limit, connects, during),
		want: "lives, CPU < 5 %, at most 1 log line a second, serves within 1.1 s when descriptors are free"}
	waiting := row{id: "emfile-waiting", attack: "no descriptor left: who connects then", done: "the same; are those that are not served told so?",
		want: "their connection is closed, so that the MTA need not wait for its timeout"}
	p, err := l.start()
	if err == nil {
		_, err = p.goods()
	}
	if err == nil {
		err = unix.Prlimit(p.pid(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}, nil)
	}
	var e emfile
	if err == nil {
		e, err = p.emfile(connects, during)
	}
	r.figure = fmt.Sprintf("%.1f %% CPU, %d log lines in %v, serving again after %s", e.cpu, e.lines, during, round(e.again))
	switch {
	case err != nil:
	case e.cpu >= 5:
		err = fmt.Errorf("%.1f %% CPU", e.cpu)
	case e.lines > int(during/time.Second)+1:
		err = fmt.Errorf("%d log lines in %v", e.lines, during)
	case e.again > servingAgain:
		err = fmt.Errorf("serving again after %s", round(e.again))
	}
	r.judge(p, err)
	waiting.ok = e.turnedAway > 0 && e.open+e.turnedAway == connects && e.open < limit
	waiting.figure = fmt.Sprintf("%d of %d closed, %d open", e.turnedAway, connects, e.open)
	waiting.outcome = "as required"
	if !waiting.ok {
		waiting.outcome = "they wait in the backlog"
	}
	return []row{r, waiting}
}

// servingAgain is how long it may take to serve once descriptors are free: the
// longest pause of accept, and a little.
const servingAgain = 1100 * time.Millisecond

// An emfile is what happened when there was no descriptor left.
type emfile struct {
	cpu              float64 // percent
	lines            int
	again            time.Duration // until a good session was served
	turnedAway, open int           // connections
}

func (p *process) emfile(connects int, during time.Duration) (e emfile, err error) {
	mark := p.log.mark()
	cpu, err := p.cpu()
	if err != nil {
		return e, err
	}
	var conns []net.Conn
	defer func() { closeConns(conns) }()
	for range connects {
		conn, err := p.lab.dialRaw(p.inet)
		if err != nil {
			return e, err
		}
		conns = append(conns, conn)
	}
	time.Sleep(during)
	after, err := p.cpu()
	if err != nil {
		return e, err
	}
	e.cpu = 100 * float64(after-cpu) / float64(during)
	e.lines = len(p.log.since(mark)) // without asking: it has no descriptor to spare
	for _, conn := range conns {
		if awaitClose(conn, time.Millisecond) == nil {
			e.turnedAway++
		} else {
			e.open++
		}
	}
	closeConns(conns)
	start := time.Now()
	for { // a session that comes before the milter has seen the others go may be closed like them
		_, err := p.goods()
		if e.again = time.Since(start); err == nil || e.again > servingAgain {
			return e, err
		}
	}
}
