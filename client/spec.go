package client

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// DefaultConnectionSpec is where a client listens that was not told anything
// else, as milter manager's does.
const DefaultConnectionSpec = "inet:10025@[127.0.0.1]"

// A Spec says where a milter listens, in the terms of package net: both
// net.Listen and net.Dial take the two fields as they are.
type Spec struct {
	// Network is "unix", "tcp4" or "tcp6".
	Network string
	// Address is the path of a unix socket, or "HOST:PORT". HOST is an address (an
	// IPv6 one in square brackets), a name, or empty for every address of the
	// family.
	Address string
}

// ParseSpec reads a connection spec:
//
//	unix:PATH               local:PATH is the same
//	inet:PORT[@HOST]        IPv4
//	inet6:PORT[@HOST]       IPv6, and nothing but IPv6
//
// HOST is an address in square brackets or without, or a name, which is looked
// up when the client listens. Without HOST every address of the family is meant;
// PORT 0, or none, lets the system choose. PATH is everything after the colon; it
// has to fit a socket address (107 bytes on Linux, 103 on BSD and macOS). The
// abstract sockets of Linux (unix:@NAME) are not supported: they have no mode that
// would keep anybody out, and no MTA connects to them.
//
// An error quotes the spec and the part that is wrong, and says what to write
// instead if what was meant can be guessed. The grammar and the texts are milter
// manager's.
func ParseSpec(spec string) (Spec, error) {
	s, problem := parseSpec(spec)
	if problem == nil {
		return s, nil
	}
	hint := ""
	if meant := guessSpec(spec); meant != "" {
		hint = fmt.Sprintf("; write %q", meant)
	} else if problem.unclear {
		hint = `; write "inet:PORT@HOST", "inet6:PORT@HOST" or "unix:PATH"`
	}
	part := ""
	if problem.part != "" {
		part = fmt.Sprintf(": %q", problem.part)
	}
	return Spec{}, fmt.Errorf("client: %s: %q%s%s", problem.text, spec, part, hint)
}

// A specProblem is what is wrong with a spec.
type specProblem struct {
	text    string
	part    string // of the spec, to be quoted; "" if it is the whole
	unclear bool   // not even the protocol can be made out
}

func parseSpec(spec string) (Spec, *specProblem) {
	if spec == "" {
		return Spec{}, &specProblem{text: "spec should not be empty", unclear: true}
	}
	protocol, content, ok := strings.Cut(spec, ":")
	if !ok {
		return Spec{}, &specProblem{text: "spec doesn't have colon", unclear: true}
	}
	if content == "" {
		return Spec{}, &specProblem{text: "spec doesn't have content", unclear: true}
	}
	switch protocol {
	case "unix", "local":
		return parseUnix(content)
	case "inet":
		return parseInet("tcp4", content)
	case "inet6":
		return parseInet("tcp6", content)
	}
	return Spec{}, &specProblem{text: "protocol must be 'unix', 'inet' or 'inet6'", part: protocol, unclear: true}
}

func parseUnix(path string) (Spec, *specProblem) {
	switch {
	case path[0] == '@' || path[0] == 0: // package net takes both for abstract
		return Spec{}, &specProblem{text: "abstract unix sockets are not supported", part: path}
	case strings.ContainsRune(path, 0):
		return Spec{}, &specProblem{text: "path has a NUL", part: path}
	case len(path) > maxUnixPath:
		text := fmt.Sprintf("path of %d bytes is too long for a unix socket, which takes %d; choose a shorter one", len(path), maxUnixPath)
		return Spec{}, &specProblem{text: text, part: path}
	}
	return Spec{"unix", path}, nil
}

func parseInet(network, content string) (Spec, *specProblem) {
	port, host, hasHost := strings.Cut(content, "@")
	for _, r := range port {
		if r < '0' || r > '9' {
			return Spec{}, &specProblem{text: "port number has invalid character", part: string(r)}
		}
	}
	if hasHost {
		var problem *specProblem
		if host, problem = parseHost(network, host); problem != nil {
			return Spec{}, problem
		}
	}
	n := uint64(0)
	if port != "" {
		var err error
		if n, err = strconv.ParseUint(port, 10, 16); err != nil {
			return Spec{}, &specProblem{text: "port number should be less than 65536", part: port}
		}
	}
	return Spec{network, net.JoinHostPort(host, strconv.FormatUint(n, 10))}, nil
}

// parseHost checks a host as far as that can be done without a resolver, and
// returns it without brackets.
func parseHost(network, host string) (string, *specProblem) {
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		if inner, bracketed = strings.CutSuffix(inner, "]"); !bracketed {
			return "", &specProblem{text: "']' is missing", part: host}
		}
	}
	invalid := &specProblem{text: "invalid host address", part: inner}
	if addr, err := netip.ParseAddr(inner); err == nil {
		// An IPv4 address in IPv6 clothes would not get a socket that is IPv6 only.
		if addr.Is4() != (network == "tcp4") || addr.Is4In6() {
			return "", invalid
		}
		return inner, nil
	}
	if bracketed || !looksLikeName(inner) {
		return "", invalid
	}
	return inner, nil
}

// looksLikeName reports whether host may be the name of a host. A last label of
// digits is a mistyped address: no top-level domain is a number (RFC 3696, 2).
func looksLikeName(host string) bool {
	if host == "" || strings.ContainsAny(host, ":/@[]%\x00 \t\r\n") {
		return false
	}
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	return strings.Trim(last, "0123456789") != ""
}

// guessSpec returns the spec that somebody who wrote a bad one may have meant, or
// "". What it returns can be parsed.
func guessSpec(spec string) string {
	for _, guess := range guesses(strings.TrimSpace(spec)) {
		if _, problem := parseSpec(guess); problem == nil {
			return guess
		}
	}
	return ""
}

func guesses(spec string) []string {
	protocol, content, _ := strings.Cut(spec, ":")
	switch family := familyOf(protocol); family {
	case "unix":
		if strings.HasPrefix(content, "@") {
			return []string{"unix:./" + content} // a file of that name
		}
		return []string{"unix:" + content}
	case "inet", "inet6":
		return []string{
			family + ":" + content,
			specOfHostPort(family, strings.TrimPrefix(content, "//")), // tcp:HOST:PORT, and Postfix's inet:HOST:PORT
			"inet:" + content, // the address is of the other family
			"inet6:" + content,
		}
	}
	rest := strings.TrimPrefix(spec, ":") // Go's :PORT, libmilter's :PATH
	for _, prefix := range []string{"/", "./", "../"} {
		if strings.HasPrefix(rest, prefix) {
			return []string{"unix:" + rest}
		}
	}
	if rest == "" || rest[0] < '0' || rest[0] > '9' {
		return []string{specOfHostPort("", spec)}
	}
	return []string{specOfHostPort("", spec), "inet:" + rest + "@127.0.0.1", "inet:" + rest}
}

// familyOf returns the protocol that is meant by what was written for one, or "".
func familyOf(protocol string) string {
	switch strings.ToLower(protocol) {
	case "inet", "inet4", "ip", "ipv4", "tcp", "tcp4":
		return "inet"
	case "inet6", "ip6", "ipv6", "tcp6":
		return "inet6"
	case "unix", "local":
		return "unix"
	}
	return ""
}

// specOfHostPort returns the spec for HOST:PORT, or "". An empty family is to be
// guessed as well; then a port of less than four digits is taken for something
// else, such as the 3 of fd:3.
func specOfHostPort(family, s string) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || family == "" && len(port) < 4 {
		return ""
	}
	ip6 := strings.Contains(host, ":")
	if ip6 {
		host = "[" + host + "]"
	}
	switch {
	case family == "" && ip6:
		family = "inet6"
	case family == "":
		family = "inet"
	}
	return family + ":" + port + "@" + host
}

// String returns s as a connection spec: "unix:PATH", "inet:PORT@[ADDRESS]",
// "inet:PORT@NAME" or "inet:PORT", and the same with "inet6".
func (s Spec) String() string {
	var family string
	switch s.Network {
	case "tcp4":
		family = "inet"
	case "tcp6":
		family = "inet6"
	default:
		return s.Network + ":" + s.Address
	}
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return family + ":" + s.Address
	}
	if host == "" {
		return family + ":" + port
	}
	if _, err := netip.ParseAddr(host); err == nil {
		host = "[" + host + "]"
	}
	return family + ":" + port + "@" + host
}

// SpecOf returns an address as a connection spec: "unix:PATH", "inet:PORT@[A.B.C.D]"
// or "inet6:PORT@[ADDRESS]". It is "unknown" for nil, and "NETWORK:TEXT" for
// addresses of other kinds.
func SpecOf(addr net.Addr) string {
	switch a := addr.(type) {
	case nil:
		return "unknown"
	case *net.UnixAddr:
		return Spec{"unix", a.Name}.String()
	case *net.TCPAddr:
		network := "tcp6"
		if len(a.IP) == 0 || a.IP.To4() != nil {
			network = "tcp4"
		}
		host, _, _ := net.SplitHostPort(a.String())
		return Spec{network, net.JoinHostPort(host, strconv.Itoa(a.Port))}.String()
	}
	return addr.Network() + ":" + addr.String()
}
