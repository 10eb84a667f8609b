//go:build unix

package client

import (
	"net"
	"testing"
)

// A reserve that was given up stays empty, whoever comes late: its descriptor
// would never be closed.
func TestReserveIsGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var r reserve
	r.take()
	if r.file == nil {
		t.Fatal("the reserve is empty")
	}
	if n := r.spend(l); n != 1 || r.file == nil {
		t.Errorf("%d connections were dropped, the reserve is %v; want 1, and a full one", n, r.file)
	}
	r.release()
	r.take()
	if n := r.spend(l); n != 0 || r.file != nil {
		t.Errorf("after release: %d connections were dropped, the reserve is %v", n, r.file)
	}
}
