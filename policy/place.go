package policy

import "net/netip"

// NetworkOf is a number for the network of a client address: the /16 of IPv4, the /32 of IPv6. 0 for an invalid
// address; another for loopback and private addresses, each /16 of them being a place like any other.
func NetworkOf(a netip.Addr) uint64 {
	_ = a
	return 0
}
