package auth

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Failed logins that are forgiven: a burst, then one per interval. A name is watched more closely than an
// address, behind which a whole office may sit. What is remembered is bounded; the longest unused goes first.
const (
	loginBurst    = 10
	loginInterval = 30 * time.Second
	addrBurst     = 30
	addrInterval  = 5 * time.Second
	remembered    = 10_000
)

// throttle counts failed logins per name and per client address. Only failures use up the allowance, but
// tries that are under way count too, so that a hundred at once cannot slip through together.
type throttle struct {
	now    func() time.Time
	mu     sync.Mutex
	logins *lru[string, *allowance]
	addrs  *lru[netip.Prefix, *allowance]
}

// allowance is one limiter and the tries under way.
type allowance struct {
	limiter  *rate.Limiter
	underway int
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, logins: newLRU[string, *allowance](remembered), addrs: newLRU[netip.Prefix, *allowance](remembered)}
}

// attempt is one login under way; end must be called.
type attempt struct {
	t    *throttle
	uses [2]*allowance
}

// begin admits a try or answers *ThrottledError.
func (t *throttle) begin(login string, client netip.Addr) (*attempt, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	a := &attempt{t: t, uses: [2]*allowance{
		allowanceOf(t.logins, loginKey(login), loginInterval, loginBurst),
		allowanceOf(t.addrs, network(client), addrInterval, addrBurst),
	}}
	for _, u := range a.uses {
		if wait := u.wait(now); wait > 0 {
			return nil, &ThrottledError{After: wait}
		}
	}
	for _, u := range a.uses {
		u.underway++
	}
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
}

// wait is how long until one more try is allowed.
func (u *allowance) wait(now time.Time) time.Duration {
	missing := 1 + float64(u.underway) - u.limiter.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / float64(u.limiter.Limit()) * float64(time.Second))
}

func allowanceOf[K comparable](m *lru[K, *allowance], key K, interval time.Duration, burst int) *allowance {
	return m.update(key, func(u *allowance, ok bool) *allowance {
		if ok {
			return u
		}
		return &allowance{limiter: rate.NewLimiter(rate.Every(interval), burst)}
	})
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
