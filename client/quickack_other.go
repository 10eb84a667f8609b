//go:build !linux

package client

import "net"

// withQuickAck is for Linux only, where it can be asked for.
func withQuickAck(conn net.Conn) net.Conn { return conn }
