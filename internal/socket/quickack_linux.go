package socket

import (
	"net"
	"syscall"
)

// setQuickAck acknowledges at once what was read and not answered. Sendmail writes
// macros and the command after them one by one; to macros there is no reply, so
// that Linux delays the acknowledgement by 40 ms, and Nagle's algorithm on the
// other side keeps the command back until it comes. The option lasts until the
// next write only.
func setQuickAck(fd uintptr, conn net.Conn) {
	if _, ok := conn.(*net.TCPConn); ok {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1) // only speed depends on it
	}
}
