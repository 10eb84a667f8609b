//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/milter-go/milter/protocol"
)

// growth runs f and returns how much more memory the process had, at its peak,
// than before.
func (p *process) growth(f func() error) (int64, error) {
	if _, err := p.goods(); err != nil {
		return 0, err
	}
	before, err := p.resetPeak()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	peak, err := p.memory("VmHWM")
	return max(peak-before, 0), err
}

// bounded is an attack on the memory of a fresh milter.
func (l *lab) bounded(r row, limit int64, f func(p *process) error, args ...string) row {
	r.want += fmt.Sprintf(", RSS grows by %d MiB at most", limit/mib)
	p, err := l.start(args...)
	if err != nil {
		r.outcome = err.Error()
		return r
	}
	grown, err := p.growth(func() error { return f(p) })
	if err == nil {
		_, err = p.goods()
	}
	r.figure = "RSS +" + mibOf(grown)
	if err == nil && grown > limit {
		err = fmt.Errorf("RSS grew by %s", mibOf(grown))
	}
	r.judge(p, err)
	p.end()
	return r
}

// announce opens n connections that announce a packet of size bytes, of which
// they send the begin.
func (p *process) announce(n int, size uint32, begin string) ([]net.Conn, error) {
	var conns []net.Conn
	for range n {
		conn, err := p.lab.dialRaw(p.inet)
		if err != nil {
			return conns, err
		}
		conns = append(conns, conn)
		if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, size), begin...)); err != nil {
			return conns, err
		}
	}
	return conns, nil
}

func closeConns(conns []net.Conn) {
	for _, conn := range conns {
		conn.Close()
	}
}

func announcedAttack(l *lab) []row {
	var rows []row
	rows = append(rows, l.virtualRow())
	rows = append(rows, l.bounded(row{id: "announced-4g", attack: "many huge packets", done: "1000 connections announce a packet of 4 GiB",
		want: "all closed"}, 32*mib, func(p *process) error {
		conns, err := p.announce(1000, 0xFFFFFFFF, "")
		defer closeConns(conns)
		for _, conn := range conns {
			if err == nil {
				err = awaitClose(conn, 5*time.Second)
			}
		}
		return err
	}))
	return append(rows, l.bounded(row{id: "announced-1m", attack: "many large packets", done: "1000 connections announce a packet of 1 MiB, the most that is allowed, and send 5 KiB",
		want: "served while they wait, heap in use 32 MiB at most"}, 32*mib, func(p *process) error {
		conns, err := p.announce(1000, 1<<20, strings.Repeat("B", 5<<10))
		defer closeConns(conns)
		if err != nil {
			return err
		}
		// A good session comes behind them in the queue, so all have been read.
		if _, err = p.goods(); err != nil {
			return err
		}
		// Memory that was allocated but not written to is not in RSS.
		s, err := p.stats()
		if err == nil && int64(s.HeapInuse) > 32*mib {
			err = fmt.Errorf("heap in use: %s", mibOf(int64(s.HeapInuse)))
		}
		return err
	}))
}

// virtualRow is about address space, as in the comparison.
func (l *lab) virtualRow() row {
	r := row{id: "length-20", attack: "20 × length 0xFFFFFFFF", done: "20 connections announce a packet of 4 GiB", want: "all closed, VmSize grows by 256 MiB at most (a thread more is 72 MiB)"}
	p, err := l.start()
	var before, after int64
	if err == nil {
		_, err = p.goods()
	}
	if err == nil {
		before, err = p.memory("VmSize")
	}
	if err == nil {
		var conns []net.Conn
		conns, err = p.announce(20, 0xFFFFFFFF, "")
		for _, conn := range conns {
			if err == nil {
				err = awaitClose(conn, 5*time.Second)
			}
		}
		closeConns(conns)
	}
	if err == nil {
		after, err = p.memory("VmSize")
	}
	if err == nil && after-before > 256*mib {
		err = fmt.Errorf("VmSize grew by %s", mibOf(after-before))
	}
	r.judge(p, err)
	r.figure = fmt.Sprintf("VmSize %d→%d MiB", before/mib, after/mib)
	return r
}

// bigAttack sends one packet of 500 MiB, as much of it as is taken.
func bigAttack(l *lab) []row {
	var sent int64
	r := l.bounded(row{id: "packet-500", attack: "one packet of 500 MiB", done: "one connection announces it and sends it", want: "closed"}, 4*mib, func(p *process) error {
		conns, err := p.announce(1, 500<<20, "B")
		defer closeConns(conns)
		chunk := make([]byte, 64<<10)
		for err == nil && sent < 500<<20 {
			var n int
			n, err = conns[0].Write(chunk)
			sent += int64(n)
		}
		if err == nil {
			return fmt.Errorf("all of it was taken")
		}
		return nil
	})
	r.figure += fmt.Sprintf(", closed after %d KiB", sent/kib)
	return []row{r}
}

// endlessAttack sends 64 MiB within one message, in packets that are all legal.
func endlessAttack(l *lab) []row {
	value := make([]byte, 60<<10)
	for i := range value {
		value[i] = 'x'
	}
	var rows []row
	for _, kind := range []struct {
		id, name string
		after    protocol.Command
		message  protocol.Message
	}{
		{"endless-headers", "endless headers", protocol.CommandData, protocol.Header{Name: "X", Value: string(value)}},
		{"endless-recipients", "endless recipients", protocol.CommandEnvelopeFrom, protocol.EnvelopeRecipient{Path: string(value)}},
		{"endless-macros", "endless macros", protocol.CommandData, protocol.DefineMacro{For: protocol.CommandEndOfMessage, Macros: []protocol.Macro{{Name: "x", Value: string(value)}}}},
		{"endless-body", "endless body", protocol.CommandEndOfHeader, protocol.Body{Chunk: value}},
	} {
		rows = append(rows, l.bounded(row{id: kind.id, attack: kind.name, done: "64 MiB in one message, in packets of 60 KiB", want: "served"}, 32*mib, func(p *process) error {
			s, err := p.lab.dial(p.inet)
			if err != nil {
				return err
			}
			defer s.Close()
			if err := do(s, scriptTo("plain", kind.after)...); err != nil {
				return err
			}
			for range 64 << 10 / 60 {
				if err := do(s, kind.message); err != nil {
					return err
				}
			}
			if err := s.Abort(); err != nil {
				return err
			}
			return s.Quit()
		}))
	}
	return rows
}

// unreadTimeout is the write timeout of the milter whose peers do not read.
const unreadTimeout = time.Second

// unreadAttack is about peers that never read.
func unreadAttack(l *lab) []row {
	const peers = 16
	closed := fmt.Sprintf("closed after the write timeout (%v here) and at most 1 s more", unreadTimeout)
	var rows []row
	for _, kind := range []struct {
		id, name, done string
		play           func(p *process) (time.Duration, error)
	}{
		{"unread-changes", "a peer that reads no changes", fmt.Sprintf("%d peers, to each of which a new body of 64 MiB goes", peers), (*process).unreadChanges},
		{"unread-replies", "a peer that reads no replies", fmt.Sprintf("%d peers send HELO without end by a unix socket", peers), (*process).unreadReplies},
	} {
		var mu sync.Mutex
		var slowest time.Duration
		r := l.bounded(row{id: kind.id, attack: kind.name, done: kind.done, want: closed}, peers*mib, func(p *process) error {
			var all sync.WaitGroup
			var fault error
			for range peers {
				all.Go(func() {
					took, err := kind.play(p)
					mu.Lock()
					defer mu.Unlock()
					slowest = max(slowest, took)
					if err != nil {
						fault = err
					}
				})
			}
			all.Wait()
			if fault == nil && slowest > unreadTimeout+time.Second {
				fault = fmt.Errorf("closed after %v", round(slowest))
			}
			return fault
		}, "--write-timeout", unreadTimeout.String())
		r.figure += ", closed after " + round(slowest)
		rows = append(rows, r)
	}
	return rows
}

// dialDeaf connects with a small buffer, and plays messages to a milter whose
// answers are left unread from then on.
func (p *process) dialDeaf(spec string, messages ...protocol.Message) (net.Conn, error) {
	conn, err := p.lab.dialRaw(spec)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := tcp.SetReadBuffer(4 << 10); err != nil {
			return conn, err
		}
	}
	var all []byte
	for _, m := range messages {
		all = m.Append(all)
	}
	_, err = conn.Write(all)
	return conn, err
}

// unreadChanges returns how long the milter took to hang up.
func (p *process) unreadChanges() (time.Duration, error) {
	conn, err := p.dialDeaf(p.inet, script("flood")...)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	start := time.Now()
	return awaitHangUp(conn, start)
}

// unreadReplies plays by a unix socket: over TCP the system takes megabytes of
// replies for a peer that does not read them.
func (p *process) unreadReplies() (time.Duration, error) {
	conn, err := p.dialDeaf(p.unix, scriptTo("plain", protocol.CommandHelo)...)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var helos []byte
	for range 1000 {
		helos = protocol.Helo{Name: "x"}.Append(helos)
	}
	last := time.Now() // something was taken
	for {
		if err := conn.SetWriteDeadline(last.Add(10 * time.Second)); err != nil {
			return 0, err
		}
		n, err := conn.Write(helos)
		if err != nil {
			return awaitHangUp(conn, last)
		}
		if n > 0 {
			last = time.Now()
		}
	}
}

// awaitHangUp waits until the milter has hung up, without reading, and returns
// how long after start that was.
func awaitHangUp(conn net.Conn, start time.Time) (time.Duration, error) {
	for time.Since(start) < 10*time.Second {
		// A write tells of the end; the quit is behind what the milter does not read.
		if _, err := conn.Write(protocol.Bare(protocol.CommandQuit).Append(nil)); err != nil {
			return time.Since(start), nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return 0, fmt.Errorf("the session is still open after 10 s")
}
