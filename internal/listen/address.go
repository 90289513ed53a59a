package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/user"
	"strconv"
	"strings"
)

// maxSocketPath is what sun_path of unix(7) holds beside its final NUL.
const maxSocketPath = 107

// address is where to listen, in the words of package net.
type address struct {
	network string // "unix", "tcp", "tcp4", "tcp6"
	path    string // of a unix socket
	host    string
	port    string
}

func (a address) isUnix() bool { return a.network == "unix" }

func (a address) String() string {
	if a.isUnix() {
		return a.path
	}
	return net.JoinHostPort(a.host, a.port)
}

// isLoopback says whether only this host can connect. A name other than localhost may mean anything.
func (a address) isLoopback() bool {
	ip, err := netip.ParseAddr(a.host)
	if err != nil {
		return a.host == "localhost"
	}
	return ip.Unmap().IsLoopback()
}

func parseAddress(s string) (address, error) {
	kind, rest, _ := strings.Cut(s, ":")
	var a address
	var err error
	switch kind {
	case "unix":
		a, err = parseUnix(rest)
	case "inet", "inet6":
		a, err = parseInet(kind, rest)
	default:
		err = errors.New("write unix:PATH or inet:HOST:PORT")
	}
	if err != nil {
		return address{}, fmt.Errorf("listener address %q: %w", s, err)
	}
	return a, nil
}

func parseUnix(path string) (address, error) {
	switch {
	case path == "":
		return address{}, errors.New("the path is missing")
	case strings.ContainsRune(path, 0) || path[0] == '@':
		return address{}, errors.New("a socket file is needed, not an abstract name")
	case len(path) > maxSocketPath:
		return address{}, fmt.Errorf("the path is %d bytes long; unix sockets end at %d", len(path), maxSocketPath)
	}
	return address{network: "unix", path: path}, nil
}

func parseInet(kind, rest string) (address, error) {
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		return address{}, errors.New("write inet:HOST:PORT, with an IPv6 address in brackets")
	}
	if host == "" || host == "*" {
		return address{}, errors.New("the host is missing: write 127.0.0.1, or 0.0.0.0 or [::] for every interface")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return address{}, fmt.Errorf("port %q: a number from 0 to 65535 is needed", port)
	} else {
		port = strconv.FormatUint(n, 10)
	}
	a := address{network: "tcp", host: host, port: port}
	ip, err := netip.ParseAddr(host)
	switch {
	case kind == "inet6":
		a.network = "tcp6"
		if err == nil && !ip.Is6() {
			return address{}, errors.New("inet6 needs an IPv6 address")
		}
	case err == nil && ip.Is4():
		a.network = "tcp4" // else 0.0.0.0 would mean IPv6 too
	case err != nil && !isHostName(host):
		return address{}, fmt.Errorf("%q is neither an address nor a host name", host)
	}
	return a, nil
}

func isHostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// lookupGroup gives the number of a group; "" is -1.
func lookupGroup(name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return -1, fmt.Errorf("socket_group: %w", err)
	}
	n, err := strconv.Atoi(g.Gid)
	if err != nil {
		return -1, fmt.Errorf("socket_group %s: %w", name, err)
	}
	return n, nil
}
