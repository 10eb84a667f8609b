//go:build !linux

package socket

import "net"

// setQuickAck is about a delay that only Linux makes.
func setQuickAck(uintptr, net.Conn) {}
