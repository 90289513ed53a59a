package auth

import (
	"net/netip"
	"slices"
	"time"
)

// Bounds on what is known of where people log in: about 15 MB when all of it is full.
const (
	knownFor      = 30 * 24 * time.Hour
	knownLogins   = 20_000
	knownNetworks = 8
)

// familiar remembers from which networks a name has logged in of late. Whoever has a good login fills no more than the
// room of that name. It begins empty with each process. Its methods may be called at once.
type familiar struct{ logins *lru[string, []knownNetwork] }

// knownNetwork is a network and when the last login came from it.
type knownNetwork struct {
	network netip.Prefix
	at      time.Time
}

func newFamiliar() *familiar { return &familiar{logins: newLRU[string, []knownNetwork](knownLogins)} }

// has tells whether the name has logged in from the network within knownFor.
func (f *familiar) has(key pair, now time.Time) bool {
	list, _ := f.logins.get(key.login)
	return slices.ContainsFunc(list, func(k knownNetwork) bool { return k.network == key.network && now.Sub(k.at) < knownFor })
}

// note remembers a login. The network of a name's oldest login makes room.
func (f *familiar) note(key pair, now time.Time) {
	f.logins.update(key.login, func(old []knownNetwork, _ bool) []knownNetwork {
		// has may be reading the old one.
		list := []knownNetwork{{key.network, now}}
		for _, k := range old {
			if k.network != key.network && len(list) < knownNetworks {
				list = append(list, k)
			}
		}
		return list
	})
}
