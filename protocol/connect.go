package protocol

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// A Connect tells of an SMTP client that has connected to the MTA.
type Connect struct {
	// Host is the name of the SMTP client by a reverse lookup, or its address in
	// square brackets.
	Host string
	// Family says how to read Address.
	Family SocketFamily
	// Port is the client's port; 0 for a unix socket.
	Port uint16
	// Address is the client's IP address in text, or the path of a unix socket.
	// It is empty for FamilyUnknown.
	Address string
}

// NewConnect returns the Connect for a client at addr: a *net.TCPAddr, a
// *net.UnixAddr, or nil for an unknown one.
func NewConnect(host string, addr net.Addr) (Connect, error) {
	switch a := addr.(type) {
	case nil:
		return Connect{Host: host, Family: FamilyUnknown}, nil
	case *net.TCPAddr:
		if a == nil {
			return Connect{Host: host, Family: FamilyUnknown}, nil
		}
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok || a.Port < 0 || a.Port > 65535 {
			return Connect{}, fmt.Errorf("protocol: connect address %q is no IP address with a port", addr)
		}
		family := FamilyInet6
		if ip = ip.Unmap(); ip.Is4() {
			family = FamilyInet
		}
		return Connect{host, family, uint16(a.Port), ip.WithZone(a.Zone).String()}, nil
	case *net.UnixAddr:
		if a == nil {
			return Connect{Host: host, Family: FamilyUnknown}, nil
		}
		return Connect{Host: host, Family: FamilyUnix, Address: a.Name}, nil
	}
	return Connect{}, fmt.Errorf("protocol: connect address %q has type %T; want *net.TCPAddr, *net.UnixAddr or nil", addr, addr)
}

// Command returns CommandConnect.
func (Connect) Command() Command { return CommandConnect }

// Append appends the packet to dst.
func (m Connect) Append(dst []byte) []byte {
	start := len(dst)
	dst = BeginPacket(dst, byte(CommandConnect))
	dst = AppendString(dst, m.Host)
	dst = append(dst, byte(m.Family))
	if m.Family != FamilyUnknown {
		dst = binary.BigEndian.AppendUint16(dst, m.Port)
		dst = AppendString(dst, m.Address)
	}
	return EndPacket(dst, start)
}

// Decode sets m to what payload says. The prefix "IPv6:" that Sendmail puts in
// front of IPv6 addresses is removed. A text that is no address of its family
// is an error. What follows the family letter U is ignored, as in libmilter.
func (m *Connect) Decode(payload []byte) error {
	host, rest, ok := cutString(payload)
	if !ok {
		return malformed(CommandConnect, payload, "host name does not end with NUL")
	}
	if len(rest) == 0 {
		return malformed(CommandConnect, payload, "no socket family")
	}
	*m = Connect{Host: host, Family: SocketFamily(rest[0])}
	rest = rest[1:]
	switch m.Family {
	case FamilyUnknown:
		return nil
	case FamilyUnix, FamilyInet, FamilyInet6:
	default:
		return malformed(CommandConnect, payload, fmt.Sprintf("unknown socket family %q", byte(m.Family)))
	}
	if len(rest) < 2 {
		return malformed(CommandConnect, payload, "no port")
	}
	m.Port = binary.BigEndian.Uint16(rest)
	address, _, ok := cutString(rest[2:])
	if !ok {
		return malformed(CommandConnect, payload, "address does not end with NUL")
	}
	if m.Family == FamilyInet6 && len(address) >= 5 && strings.EqualFold(address[:5], "IPv6:") {
		address = address[5:]
	}
	m.Address = address
	if _, err := m.Addr(); err != nil {
		return malformed(CommandConnect, payload, err.Error())
	}
	return nil
}

// Addr returns the client's address: a *net.TCPAddr, a *net.UnixAddr, or nil for
// FamilyUnknown.
func (m Connect) Addr() (net.Addr, error) {
	switch m.Family {
	case FamilyUnknown:
		return nil, nil
	case FamilyUnix:
		return &net.UnixAddr{Name: m.Address, Net: "unix"}, nil
	}
	ip, err := netip.ParseAddr(m.Address)
	if err != nil || (m.Family == FamilyInet) != ip.Is4() {
		return nil, fmt.Errorf("%q is no %v address", m.Address, m.Family)
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, m.Port)), nil
}
