package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

func (o Options) prefixes(isUnix bool) ([]netip.Prefix, error) {
	if isUnix && len(o.Allow) > 0 {
		return nil, errors.New("this is for inet; a unix socket has socket_mode and socket_group")
	}
	prefixes := make([]netip.Prefix, 0, len(o.Allow))
	for _, s := range o.Allow {
		p, err := parsePrefix(s)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

// parsePrefix takes a CIDR or a single address.
func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return p, fmt.Errorf("%q is not a CIDR like 192.0.2.0/24 or 2001:db8::/32", s)
		}
		p = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
	}
	if p.Addr().Is4In6() {
		return p, fmt.Errorf("%q: write the IPv4 form", s)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%q has bits set beyond its length: write %s, or %s for one host", s, p.Masked(), p.Addr())
	}
	return p, nil
}

// clientAddr is the address of the other end, or the zero Addr for a unix socket.
func clientAddr(c net.Conn) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// clientKey is what MaxPerClient counts: a host with IPv6 has a whole /64 to connect from.
func clientKey(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	p, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return p.Addr()
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
