package auth

import (
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Failed logins that are forgiven: a burst, then one per interval.
const (
	// One address, behind which a whole office may sit, may try many names.
	addrBurst    = 30
	addrInterval = 5 * time.Second
	// One network may try one name: 10 and 120 an hour.
	pairBurst    = 10
	pairInterval = 30 * time.Second
	// All networks together, but for those that the name is known from, may try one name: 30 and 360 an hour. Three networks use that up, and keep
	// out who comes from somewhere new: a name must not be tried more often, from however many.
	loginBurst    = 30
	loginInterval = 10 * time.Second
	// remembered bounds the names, the pairs and the addresses whose failures are counted one by one.
	remembered = 10_000
	// crowdSize is how many allowances the rest shares while that many are remembered.
	crowdSize = 1024
	// sweepInterval is how often a full ledger is searched for what can be forgotten.
	sweepInterval = time.Second
)

// throttle counts failed logins per client address, per name and network, and per name. Only failures use up the
// allowance, but tries that are under way count too, so that a hundred at once cannot slip through together.
//
// A network from which a name has logged in of late has an allowance for that name which no other network uses up.
type throttle struct {
	now    func() time.Time
	known  *familiar
	mu     sync.Mutex
	addrs  *ledger[netip.Prefix]
	pairs  *ledger[pair]
	logins *ledger[string]
	// familiars are the pairs that are known. They are apart, for strangers can fill the ledger of the others.
	familiars *ledger[pair]
}

// pair is a name and the network that it is tried from.
type pair struct {
	login   string
	network netip.Prefix
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{
		now:       now,
		known:     newFamiliar(),
		addrs:     newLedger[netip.Prefix](addrInterval, addrBurst, remembered),
		pairs:     newLedger[pair](pairInterval, pairBurst, remembered),
		logins:    newLedger[string](loginInterval, loginBurst, remembered),
		familiars: newLedger[pair](pairInterval, pairBurst, remembered),
	}
}

// attempt is one login under way; end must be called.
type attempt struct {
	t      *throttle
	client netip.Addr
	uses   []use
	// known says that the name has logged in from there of late.
	known bool
}

// use is what an attempt may use up of a ledger.
type use struct {
	*allowance
	keep    func()
	release func(now time.Time)
}

func useOf[K comparable](l *ledger[K], key K, now time.Time) use {
	u := l.allowance(key, now)
	return use{allowance: u, keep: func() { l.keep(key, u) }, release: func(now time.Time) { l.release(key, now) }}
}

// begin admits a try of a name or answers *ThrottledError. The address comes first, and what is refused leaves no trace:
// else an address that may not try any more could still fill the ledgers with invented names.
func (t *throttle) begin(login string, client netip.Addr) (*attempt, error) {
	a, err := t.beginNameless(client)
	if err != nil {
		return nil, err
	}
	if err := a.name(login); err != nil {
		a.end(false)
		return nil, err
	}
	return a, nil
}

// beginNameless admits a try that counts for the client's address alone: of a secret that nobody can guess.
func (t *throttle) beginNameless(client netip.Addr) (*attempt, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &attempt{t: t, client: client}
	now := t.now()
	if err := a.admit(now, useOf(t.addrs, network(client), now)); err != nil {
		return nil, err
	}
	return a, nil
}

// name goes on with a try that counts for a name too, or answers *ThrottledError. end must be called all the same.
func (a *attempt) name(login string) error {
	t, key := a.t, pair{loginKey(login), wideNetwork(a.client)}
	now := t.now()
	a.known = t.known.has(key, now)
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.known {
		return a.admit(now, useOf(t.familiars, key, now))
	}
	return a.admit(now, useOf(t.pairs, key, now), useOf(t.logins, key.login, now))
}

// admit takes all of the allowances or none.
func (a *attempt) admit(now time.Time, uses ...use) error {
	var wait time.Duration
	for _, u := range uses {
		wait = max(wait, u.wait(now))
	}
	if wait > 0 {
		return &ThrottledError{After: wait}
	}
	for _, u := range uses {
		u.underway++
		u.keep()
	}
	a.uses = append(a.uses, uses...)
	return nil
}

// endForAddress settles a try that failed, and that counts for the client's address alone.
func (a *attempt) endForAddress() {
	a.settle(func(i int) bool { return i == 0 })
}

// end settles the try. A success costs nothing, and gives nothing back: whoever has one good login could
// else wipe out what they did to others.
func (a *attempt) end(failed bool) {
	a.settle(func(int) bool { return failed })
}

func (a *attempt) settle(counts func(i int) bool) {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	now := a.t.now()
	for i, u := range a.uses {
		u.underway--
		if counts(i) {
			u.limiter.AllowN(now, 1)
		}
		u.release(now)
	}
}

// succeeded remembers that a name has logged in from where the client is.
func (t *throttle) succeeded(login string, client netip.Addr) {
	t.known.note(pair{loginKey(login), wideNetwork(client)}, t.now())
}

// allowance is one limiter and the tries under way.
type allowance struct {
	limiter  *rate.Limiter
	underway int
	// shared is set for one of the crowd's.
	shared bool
}

// wait is how long until one more try is allowed.
func (u *allowance) wait(now time.Time) time.Duration {
	missing := 1 + float64(u.underway) - u.limiter.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / float64(u.limiter.Limit()) * float64(time.Second))
}

// settled tells whether nothing would be lost by forgetting u.
func (u *allowance) settled(now time.Time) bool {
	return u.underway == 0 && u.limiter.TokensAt(now) >= float64(u.limiter.Burst())
}

// ledger keeps an allowance for each key that has failed of late or is being tried, and for no other. It never
// forgets a debt to make room. When limit keys are in debt, the others share: the keys of one hash have one
// allowance together. To hold a ledger of names there, 333 logins a second have to fail.
type ledger[K comparable] struct {
	interval time.Duration
	burst    int
	limit    int
	byKey    map[K]*allowance
	swept    time.Time
	seed     maphash.Seed
	crowd    [crowdSize]*allowance
}

func newLedger[K comparable](interval time.Duration, burst, limit int) *ledger[K] {
	return &ledger[K]{
		interval: interval, burst: burst, limit: limit, byKey: map[K]*allowance{}, seed: maphash.MakeSeed(),
	}
}

// allowance finds that of key, or makes one that keep can put into the ledger.
func (l *ledger[K]) allowance(key K, now time.Time) *allowance {
	if u, ok := l.byKey[key]; ok {
		return u
	}
	if !l.full(now) {
		return l.newAllowance()
	}
	i := maphash.Comparable(l.seed, key) % crowdSize
	if l.crowd[i] == nil {
		l.crowd[i] = l.newAllowance()
		l.crowd[i].shared = true
	}
	return l.crowd[i]
}

func (l *ledger[K]) newAllowance() *allowance {
	return &allowance{limiter: rate.NewLimiter(rate.Every(l.interval), l.burst)}
}

func (l *ledger[K]) keep(key K, u *allowance) {
	if !u.shared {
		l.byKey[key] = u
	}
}

// release forgets key if nothing is lost by that.
func (l *ledger[K]) release(key K, now time.Time) {
	if u, ok := l.byKey[key]; ok && u.settled(now) {
		delete(l.byKey, key)
	}
}

// full tells whether there is no room for one more key, after forgetting those that have paid.
func (l *ledger[K]) full(now time.Time) bool {
	if len(l.byKey) < l.limit {
		return false
	}
	if now.Sub(l.swept) >= sweepInterval {
		l.swept = now
		for key := range l.byKey {
			l.release(key, now)
		}
	}
	return len(l.byKey) >= l.limit
}

// loginKey makes spellings of one login one key, and long ones short.
func loginKey(login string) string {
	if len(login) > maxLogin {
		login = login[:maxLogin]
	}
	return strings.ToLower(strings.TrimSpace(login))
}

// network is the address, or the /64 of an IPv6 address: that much is handed to one customer.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil { // no address: a unix socket
		return netip.Prefix{}
	}
	return p
}

// wideNetwork is what is taken for one place: the /24 of an IPv4 address, since many get another address of it every day, or
// the /64 of an IPv6 address.
func wideNetwork(a netip.Addr) netip.Prefix {
	p := network(a)
	if !p.Addr().Is4() {
		return p
	}
	return netip.PrefixFrom(p.Addr(), 24).Masked()
}
