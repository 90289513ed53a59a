package policy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Profile is a bulk sender, an entry of outbound_whitelist.
type Profile struct {
	// ID names it in explanations.
	ID string `yaml:"id"`
	// Accounts are logins with their domain.
	Accounts []string `yaml:"accounts"`
	// MaxRate is recipient copies, as "5000 msgs/hour" (minute, hour, day).
	MaxRate string `yaml:"max_rate"`
	// Description is for people.
	Description string `yaml:"description,omitempty"`
	// Tenant limits the profile to accounts of this tenant; empty is any (the configuration's).
	Tenant string `yaml:"-"`
}

// Rate is a number of recipient copies in a window.
type Rate struct {
	Copies   int64
	WindowUS int64
}

// MaxRateCopies is the most that a rate may say.
const MaxRateCopies = maxCount

// ParseRate reads "5000 msgs/hour": a number and msgs, then /minute, /hour or /day. The word msgs may be left out.
func ParseRate(s string) (Rate, error) {
	wrong := fmt.Errorf("max_rate: %q is not like \"5000 msgs/hour\" (minute, hour or day; 1 to %d)", s, maxCount)
	count, unit, ok := strings.Cut(s, "/")
	if !ok {
		return Rate{}, wrong
	}
	count = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(count), "msgs"))
	n, err := strconv.ParseInt(count, 10, 32)
	if err != nil || n < 1 || n > maxCount {
		return Rate{}, wrong
	}
	windows := map[string]int64{"minute": minuteUS, "hour": hourUS, "day": dayUS}
	w, ok := windows[strings.TrimSpace(unit)]
	if !ok {
		return Rate{}, wrong
	}
	return Rate{Copies: n, WindowUS: w}, nil
}

// PerHour is how many recipient copies may go out within an hour.
func (r Rate) PerHour() int64 { return r.Copies * max(hourUS/r.WindowUS, 1) }

// bulk is a profile made ready.
type bulk struct {
	Profile
	rate Rate
	// window is the one that the rate is counted in.
	window int
	// peaks are the account's usual counts, as far as the profile says so (micro-copies).
	peaks [windowCount]int64
	// room multiplies the limits of new recipients and campaigns at a known place: one for each 100 copies an hour.
	room int64
}

// profileKey is an account of one tenant, or of any.
type profileKey struct {
	tenant  string
	account Account
}

// UsableProfiles leaves out the profiles that Compile would refuse, by themselves or because of one before them; the error
// joins an error for each.
func UsableProfiles(list []Profile) (usable []Profile, err error) {
	p := &Policy{profiles: map[profileKey]*bulk{}}
	for _, x := range list {
		if e := p.addProfile("profile of tenant "+x.Tenant, x); e != nil {
			err = errors.Join(err, e)
			continue
		}
		usable = append(usable, x)
	}
	return usable, err
}

func (p *Policy) addProfiles(list []Profile) error {
	for i, x := range list {
		if err := p.addProfile(fmt.Sprintf("outbound_whitelist[%d]", i), x); err != nil {
			return err
		}
	}
	return nil
}

// addProfile adds all accounts of a profile, or none after an error, which begins with key.
func (p *Policy) addProfile(key string, x Profile) error {
	if x.ID == "" {
		return fmt.Errorf("%s.id: is empty", key)
	}
	rate, err := ParseRate(x.MaxRate)
	if err != nil {
		return fmt.Errorf("%s (%s): %w", key, x.ID, err)
	}
	if len(x.Accounts) == 0 {
		return fmt.Errorf("%s (%s): accounts: wants at least one login with its domain", key, x.ID)
	}
	b := &bulk{Profile: x, rate: rate, window: slices.Index(windowLengthUS[:], rate.WindowUS), peaks: rate.peaks()}
	b.room = min(max(b.peaks[windowHour]/Micro/100, 1), 1000)
	added := map[profileKey]*bulk{}
	for _, a := range x.Accounts {
		k := profileKey{x.Tenant, LoginAccount(a, "")}
		if old := cmp.Or(p.profiles[k], added[k]); old != nil {
			return fmt.Errorf("%s (%s): accounts: %q is in %s as well", key, x.ID, a, old.ID)
		}
		if k.account == "" {
			return fmt.Errorf("%s (%s): accounts: an empty name", key, x.ID)
		}
		added[k] = b
	}
	maps.Copy(p.profiles, added)
	return nil
}

// peaks of a sender that may send all of its rate at once.
func (r Rate) peaks() (peaks [windowCount]int64) {
	copies := r.Copies * Micro
	for w := range peaks {
		length := windowLengthUS[w]
		peaks[w] = min(copies*max(length/r.WindowUS, 1), maxCount*Micro)
	}
	return peaks
}

// Profile is the bulk profile of an account of tenant; false when it has none. Such an account is not counted for
// its domain and tenant.
func (p *Policy) Profile(tenant string, a Account) (Profile, bool) {
	b := p.bulk(tenant, a)
	if b == nil {
		return Profile{}, false
	}
	return b.Profile, true
}

// bulk finds the profile of the account's own tenant before that of any.
func (p *Policy) bulk(tenant string, a Account) *bulk {
	if len(p.profiles) == 0 {
		return nil
	}
	if b := p.profiles[profileKey{tenant, a}]; b != nil {
		return b
	}
	return p.profiles[profileKey{"", a}]
}
