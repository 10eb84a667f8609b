//go:build unix

package client_test

import (
	"net"
	"syscall"
	"testing"
)

func TestKeepAliveAndNoDelay(t *testing.T) {
	c := newClient(t)
	c.SetConnectionSpec("")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	wrapped := &recordingListener{Listener: l, conns: make(chan net.Conn, 1)}
	c.SetListener(wrapped)
	run(t, c)
	dial(t, c.Addrs()[0]).negotiate(t)
	raw, err := (<-wrapped.conns).(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		for name, option := range map[string][2]int{
			"SO_KEEPALIVE": {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE},
			"TCP_NODELAY":  {syscall.IPPROTO_TCP, syscall.TCP_NODELAY},
		} {
			if v, err := syscall.GetsockoptInt(int(fd), option[0], option[1]); v == 0 || err != nil {
				t.Errorf("%s is %d, %v; want it set", name, v, err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}

type recordingListener struct {
	net.Listener
	conns chan net.Conn
}

func (l *recordingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.conns <- conn
	}
	return conn, err
}
