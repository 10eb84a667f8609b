package interop_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// TestFlows replays what real MTAs were recorded to say to milters of ours: the
// milter of each flow gets the MTA's side, and must answer byte for byte as it
// did then. No MTA is needed. To record the flows again, with the MTAs:
//
//	interop/run -run TestRecord -update
func TestFlows(t *testing.T) {
	for _, name := range flowNames(t) {
		t.Run(name, func(t *testing.T) {
			f := readFlow(t, name)
			if len(f.connections) == 0 {
				t.Error("there is no connection in it")
			}
			for i, packets := range f.connections {
				size := 0
				for _, p := range packets {
					size += len(p.wire())
				}
				t.Run(fmt.Sprintf("connection %d", i+1), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { replayFlow(t, f.milter, packets, size) })
				})
				if size > 32<<10 {
					continue
				}
				t.Run(fmt.Sprintf("connection %d in single bytes", i+1), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { replayFlow(t, f.milter, packets, 1) })
				})
			}
		})
	}
}

// flowNames returns the names of all flows. There must be some of each MTA.
func flowNames(t *testing.T) []string {
	t.Helper()
	files, err := os.ReadDir(flowDir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	count := make(map[string]int)
	for _, file := range files {
		if name, ok := strings.CutSuffix(file.Name(), ".flow"); ok {
			mta, _, _ := strings.Cut(name, "-")
			names = append(names, name)
			count[mta]++
		}
	}
	if count["postfix"] < 8 || count["sendmail"] < 8 {
		t.Errorf("flows in %s: %v; want 8 or more of each MTA", flowDir, count)
	}
	return names
}

// A flowReader collects what the milter sends.
type flowReader struct {
	mu    sync.Mutex
	bytes []byte
	err   error // why nothing more comes
}

func (r *flowReader) read(conn net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buffer)
		r.mu.Lock()
		r.bytes = append(r.bytes, buffer[:n]...)
		r.err = err
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take waits until at least n bytes have come or nothing more can come, and
// returns all that are there then.
func (r *flowReader) take(n int) []byte {
	for range 10_000 {
		synctest.Wait()
		r.mu.Lock()
		got, err := r.bytes, r.err
		if len(got) >= n || err != nil {
			r.bytes = nil
			r.mu.Unlock()
			return got
		}
		r.mu.Unlock()
		time.Sleep(time.Millisecond) // virtual: a late reply is on its way
	}
	return nil
}

// replayFlow plays one connection to the milter, in writes of at most size bytes.
func replayFlow(t *testing.T, milter string, packets []flowPacket, size int) {
	c := flowClient(t, milter)
	mta, ours := net.Pipe()
	defer mta.Close()
	served := make(chan error, 1)
	go func() { served <- c.ServeConn(ours) }()
	var in flowReader
	go in.read(mta)

	for i := 0; i < len(packets); {
		// What the MTA says, up to the milter's next word, and that.
		var says, want []byte
		begin := i
		for ; i < len(packets) && packets[i].toMilter; i++ {
			says = append(says, packets[i].wire()...)
		}
		for ; i < len(packets) && !packets[i].toMilter; i++ {
			want = append(want, packets[i].wire()...)
		}
		for len(says) > 0 {
			n := min(size, len(says))
			if _, err := mta.Write(says[:n]); err != nil {
				t.Fatalf("packets %d to %d: %v", begin+1, i, err)
			}
			says = says[n:]
		}
		got := in.take(len(want))
		if !bytes.Equal(got, want) {
			t.Fatalf("answer to packets %d to %d, the last is %s (-want +got):\n%s", begin+1, i,
				lastTo(packets[begin:i]), cmp.Diff(flowTexts(want), flowTexts(got)))
		}
	}
	mta.Close()
	if err := <-served; err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("the session ended with %v", err)
	}
	synctest.Wait()
	if rest := in.take(0); len(rest) > 0 {
		t.Errorf("after the last packet the milter still sent %q", rest)
	}
}

// lastTo returns the last packet to the milter.
func lastTo(packets []flowPacket) string {
	text := ""
	for _, p := range packets {
		if p.toMilter {
			text = p.String()
		}
	}
	return text
}

// flowTexts returns what came from a milter as the lines of a flow.
func flowTexts(wire []byte) []string {
	lines := []string{}
	var b protocol.Buffer
	_, _ = b.Write(wire)
	for {
		p, ok, err := b.Next()
		if err != nil || !ok {
			break
		}
		lines = append(lines, flowPacket{letter: p.Letter, payload: p.Payload}.String())
	}
	if b.Len() > 0 {
		lines = append(lines, fmt.Sprintf("half a packet: %q", b.Bytes()))
	}
	return lines
}

// TestFlowPackets decodes every packet of the flows and encodes it again: the
// library writes as the MTAs do.
func TestFlowPackets(t *testing.T) {
	count := 0
	for _, name := range flowNames(t) {
		for _, packets := range readFlow(t, name).connections {
			for _, p := range packets {
				count++
				again, err := p.again()
				if err != nil {
					t.Errorf("%s: %s: %v", name, p, err)
				} else if !bytes.Equal(again, p.wire()) {
					t.Errorf("%s: %s\nis encoded as %q", name, p, again)
				}
			}
		}
	}
	t.Logf("%d packets", count)
}

// again decodes a packet and encodes it.
func (p flowPacket) again() ([]byte, error) {
	if p.toMilter {
		m, err := protocol.Decode(protocol.Packet{Letter: p.letter, Payload: p.payload})
		if err != nil {
			return nil, err
		}
		return m.Append(nil), nil
	}
	m, err := reply.Decode(protocol.Packet{Letter: p.letter, Payload: p.payload})
	if err != nil {
		return nil, err
	}
	return m.Append(nil), nil
}
