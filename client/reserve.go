package client

import (
	"net"
	"os"
	"sync"
	"syscall"
)

// maxDropped is how many connections are dropped before accept rests: the backlog
// of most systems.
const maxDropped = 4096

// A reserve is a descriptor that is kept for the time when there is none left.
// Without it the connections in the backlog would stay there, and an MTA waits
// long before it gives up a milter that has accepted it and says nothing.
type reserve struct {
	mu   sync.Mutex
	file *os.File // nil while there is none
	gone bool     // for good
}

// take fills the reserve, if that is possible.
func (r *reserve) take() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fill()
}

func (r *reserve) fill() {
	if r.file == nil && !r.gone {
		r.file, _ = openReserve()
	}
}

// release gives the reserve up for good.
func (r *reserve) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
	r.close()
}

func (r *reserve) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// spend uses the reserve to accept what waits at l, and to close it at once. It
// returns how many connections that were. Afterwards the reserve is full again,
// if nobody else was quicker.
func (r *reserve) spend(l net.Listener) (dropped int) {
	socket, ok := l.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fill()
	if r.file == nil {
		return 0
	}
	r.close()
	for dropped < maxDropped && drop(raw) {
		dropped++
	}
	r.fill()
	return dropped
}
