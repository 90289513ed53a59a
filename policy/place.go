package policy

import (
	"encoding/binary"
	"net/netip"
)

// placeCount is how many networks an account is remembered by.
const placeCount = 8

// place is a network from which the account sent.
type place struct {
	network uint64 // NetworkOf, 0 when unknown
	country uint16 // two letters, 0 when unknown
	uses    uint16 // different hours in which messages ended, up to 65,535
	// firstMinute and lastMinute are minutes since 1970; a place without firstMinute is empty. countryFirst is when the
	// country was first seen, in whatever network.
	firstMinute, lastMinute, countryFirst uint32
	countryUses                           uint16
	lastUse                               uint32 // the hour of the last of them, hours since 1970
}

// NetworkOf is a number for the network of a client address: the /16 of IPv4, the /32 of IPv6. It is 0 for an
// invalid address. An IPv4 address that is mapped into IPv6 counts as IPv4.
func NetworkOf(a netip.Addr) uint64 {
	a = a.Unmap()
	switch {
	case a.Is4():
		b := a.As4()
		return 4<<32 | uint64(binary.BigEndian.Uint16(b[:2]))
	case a.Is6():
		b := a.As16()
		return 6<<32 | uint64(binary.BigEndian.Uint32(b[:4]))
	}
	return 0
}

// countryOf packs two upper-case letters; 0 for anything else.
func countryOf(s string) uint16 {
	if len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' {
		return 0
	}
	return uint16(s[0])<<8 | uint16(s[1])
}

// countryText is the code again; empty for 0.
func countryText(country uint16) string {
	if country == 0 {
		return ""
	}
	return string([]byte{byte(country >> 8), byte(country)})
}

// visit notes that the account is at a place now, and says whether it is one that the account is not remembered by.
// Unknown places are not noted.
func (s *State) visit(at Place, nowUS int64) (fresh bool) {
	country := countryOf(at.Country)
	if at.Network == 0 && country == 0 {
		return false
	}
	minute := uint32(nowUS / minuteUS)
	p := s.placeOf(at.Network, country, minute)
	fresh = p.lastUse == 0 && p.firstMinute == minute
	p.lastMinute = max(p.lastMinute, minute)
	return fresh
}

// used notes that a message left from the current place. An hour counts once, so that no flood makes itself at home, and
// at a new place only when somebody is written to who was written to before, or with the account's own template (familiar):
// the owner does that soon, a thief with a list of strangers never.
func (s *State) used(familiar bool, r *historyRules, nowUS int64) {
	h := uint32(nowUS / hourUS)
	if s.here == 0 || s.places[s.here-1].lastUse == h {
		return
	}
	p := &s.places[s.here-1]
	if !familiar && s.isNew(p.firstMinute, p.uses, nowUS, r) {
		return
	}
	p.lastUse = h
	p.uses = min(p.uses, 1<<16-2) + 1
	for i := range s.places {
		if q := &s.places[i]; p.country != 0 && q.country == p.country {
			q.countryUses = min(q.countryUses, 1<<16-2) + 1
		}
	}
}

// placeOf finds or makes the entry and makes it the current one. A new one takes the place of that with the least
// worth; what is known of a country survives in its other networks.
func (s *State) placeOf(network uint64, country uint16, minute uint32) *place {
	if i := s.placeAt(network, country); i >= 0 {
		s.here = uint8(i) + 1
		if p := &s.places[i]; p.country == 0 && country != 0 {
			s.locate(p, country)
		}
		return &s.places[i]
	}
	worst := 0
	fresh := place{network: network, country: country, firstMinute: minute, lastMinute: minute, countryFirst: minute}
	for i := range s.places {
		p := &s.places[i]
		if p.firstMinute != 0 && country != 0 && p.country == country {
			fresh.countryFirst = min(fresh.countryFirst, p.countryFirst)
			fresh.countryUses = p.countryUses
		}
		if p.worth() < s.places[worst].worth() {
			worst = i
		}
	}
	s.places[worst] = fresh
	s.here = uint8(worst) + 1
	return &s.places[worst]
}

// placeAt gives the index of a place, -1 when it is not known. A network whose country is not known, now or then, is the same place
// all the same: the day on which a site gets a database of countries, or loses it, makes nobody a stranger.
func (s *State) placeAt(network uint64, country uint16) int {
	found := -1
	for i := range s.places {
		p := &s.places[i]
		switch {
		case p.firstMinute == 0 || p.network != network:
		case p.country == country:
			return i
		case network != 0 && (country == 0 || p.country == 0) && (found < 0 || p.worth() > s.places[found].worth()):
			found = i
		}
	}
	return found
}

// locate gives a place the country that was not known when it was first used. What is known of the country is then one for all
// its networks.
func (s *State) locate(p *place, country uint16) {
	first, uses := p.firstMinute, p.uses
	p.country = country
	for i := range s.places {
		if q := &s.places[i]; q != p && q.country == country {
			first, uses = min(first, q.countryFirst), max(uses, q.countryUses)
		}
	}
	for i := range s.places {
		if q := &s.places[i]; q.country == country {
			q.countryFirst, q.countryUses = first, uses
		}
	}
}

// worth is how long ago the place was last used, with a day's credit for each use, up to 30.
func (p *place) worth() int64 {
	if p.firstMinute == 0 {
		return 0
	}
	return int64(p.lastMinute) + min(int64(p.uses), 30)*24*60
}

// quietUS is how long a place stays new while hardly a message came from there: a thief tries an account with one
// message and comes back.
const quietUS = 7 * dayUS

// original says that a place was there from the account's first days: nothing can be new then.
func (s *State) original(first uint32, r *historyRules) bool {
	return int64(first)*minuteUS-s.firstUS < r.coldUS
}

// isNew says that a place (or a country) was first seen a short while ago.
func (s *State) isNew(first uint32, uses uint16, nowUS int64, r *historyRules) bool {
	if s.original(first, r) {
		return false
	}
	if s.level == soft && !s.byHand {
		nowUS = min(nowUS, s.levelUS) // nothing becomes familiar while the account is under suspicion
	}
	age := nowUS - int64(first)*minuteUS
	return age < r.newPlaceUS || age < quietUS && int64(uses) < r.newPlaceUses
}

// countryIsNew says that a place's country is known, and was first seen a short while ago.
func (s *State) countryIsNew(p *place, nowUS int64, r *historyRules) bool {
	return p.country != 0 && s.isNew(p.countryFirst, p.countryUses, nowUS, r)
}

// isHome says that the current place has been used for days.
func (s *State) isHome(nowUS int64, r *historyRules) bool {
	if s.here == 0 {
		return false
	}
	p := &s.places[s.here-1]
	return nowUS-int64(p.firstMinute)*minuteUS >= r.homeUS &&
		(int64(p.uses) >= r.newPlaceUses || p.uses > 0 && s.original(p.firstMinute, r))
}
