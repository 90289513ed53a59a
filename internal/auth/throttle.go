package auth

import (
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Failed logins that are forgiven: a burst, then one per interval. A name is watched more closely than an
// address, behind which a whole office may sit.
const (
	loginBurst    = 10
	loginInterval = 30 * time.Second
	addrBurst     = 30
	addrInterval  = 5 * time.Second
	// remembered bounds the names, and the addresses, whose failures are counted one by one.
	remembered = 10_000
	// crowdSize is how many allowances the rest shares while that many are remembered.
	crowdSize = 1024
	// sweepInterval is how often a full ledger is searched for what can be forgotten.
	sweepInterval = time.Second
)

// throttle counts failed logins per name and per client address. Only failures use up the allowance, but
// tries that are under way count too, so that a hundred at once cannot slip through together.
type throttle struct {
	now    func() time.Time
	mu     sync.Mutex
	logins *ledger[string]
	addrs  *ledger[netip.Prefix]
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{
		now:    now,
		logins: newLedger[string](loginInterval, loginBurst, remembered),
		addrs:  newLedger[netip.Prefix](addrInterval, addrBurst, remembered),
	}
}

// attempt is one login under way; end must be called.
type attempt struct {
	t     *throttle
	login string
	addr  netip.Prefix
	uses  [2]*allowance
}

// begin admits a try or answers *ThrottledError. The address comes first, and what is refused leaves no trace:
// else an address that may not try any more could still fill the ledger with invented names.
func (t *throttle) begin(login string, client netip.Addr) (*attempt, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	a := &attempt{t: t, login: loginKey(login), addr: network(client)}
	a.uses[0] = t.addrs.allowance(a.addr, now)
	if wait := a.uses[0].wait(now); wait > 0 {
		return nil, &ThrottledError{After: wait}
	}
	a.uses[1] = t.logins.allowance(a.login, now)
	if wait := a.uses[1].wait(now); wait > 0 {
		return nil, &ThrottledError{After: wait}
	}
	for _, u := range a.uses {
		u.underway++
	}
	t.addrs.keep(a.addr, a.uses[0])
	t.logins.keep(a.login, a.uses[1])
	return a, nil
}

// end settles the try. A success costs nothing, and gives nothing back: whoever has one good login could
// else wipe out what they did to others.
func (a *attempt) end(failed bool) {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	now := a.t.now()
	for _, u := range a.uses {
		u.underway--
		if failed {
			u.limiter.AllowN(now, 1)
		}
	}
	a.t.addrs.release(a.addr, now)
	a.t.logins.release(a.login, now)
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
