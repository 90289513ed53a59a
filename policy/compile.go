package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// Policy is Options made ready. It never changes, and may be used by many at once.
type Policy struct {
	hash     string
	mode     Mode
	tenants  map[string]Mode
	accounts map[Account]Mode
	profiles map[profileKey]*bulk

	suspend     bool
	corroborate bool
	hold        bool
	reenableUS  int64 // 0: never
	cleanUS     int64
	capHour     int64
	capDay      int64
	headroom    int64

	userHour, userDay, domainHour, tenantHour int64

	weights                   [factorCount]int64
	soft, hard, corroboration int64

	rate    rateRules
	content contentRules
	history historyRules
}

// Compile checks options, with defaults in the place of zeros, and profiles. The error joins an
// *OptionError for each bad key, or is about outbound_whitelist; it says what is allowed.
func Compile(o Options, profiles []Profile) (*Policy, error) {
	o = o.WithDefaults()
	if bad := o.Check(); len(bad) > 0 {
		errs := make([]error, len(bad))
		for i, e := range bad {
			errs[i] = e
		}
		return nil, errors.Join(errs...)
	}
	p := &Policy{
		mode: o.Mode, tenants: map[string]Mode{}, accounts: map[Account]Mode{}, profiles: map[profileKey]*bulk{},
		suspend: *o.AutoSuspend, corroborate: *o.RequireCorroboration, hold: o.SoftLimit.Action == ActionHold,
		reenableUS: int64(o.AutoReenableAfterHours) * hourUS,
		cleanUS:    int64(o.SoftLimit.CleanHours) * hourUS,
		capHour:    int64(o.SoftLimit.PerHour), capDay: int64(o.SoftLimit.PerDay), headroom: micro(o.SoftLimit.Headroom),
		userHour: int64(o.Limits.UserPerHour), userDay: int64(o.Limits.UserPerDay),
		domainHour: int64(o.Limits.DomainPerHour), tenantHour: int64(o.Limits.TenantPerHour),
		weights: [factorCount]int64{micro(o.Weights.Rate), micro(o.Weights.Content), micro(o.Weights.History)},
		soft:    micro(o.Thresholds.Soft), hard: micro(o.Thresholds.Hard), corroboration: micro(o.Thresholds.Corroboration),
		rate: o.Rate.rules(), content: o.Content.rules(), history: o.History.rules(),
	}
	for _, m := range o.Modes {
		if m.Account != "" {
			p.accounts[Account(m.Account)] = m.Mode
		} else {
			p.tenants[m.Tenant] = m.Mode
		}
	}
	if err := p.addProfiles(profiles); err != nil {
		return nil, err
	}
	return p, p.setHash(o, profiles)
}

func (p *Policy) setHash(o Options, profiles []Profile) error {
	// An empty list is none.
	o.Modes, profiles = append([]ModeOptions(nil), o.Modes...), append([]Profile(nil), profiles...)
	text, err := json.Marshal(struct {
		O Options
		P []Profile
	}{o, profiles})
	if err != nil {
		return fmt.Errorf("hash the policy: %w", err)
	}
	sum := sha256.Sum256(text)
	p.hash = hex.EncodeToString(sum[:6])
	return nil
}

// Hash is 12 hexadecimal digits that differ when anything in the policy differs.
func (p *Policy) Hash() string { return p.hash }

// Mode is the mode in force for an account of tenant, without overrides of the database.
func (p *Policy) Mode(tenant string, a Account) Mode {
	if m, ok := p.accounts[a]; ok {
		return m
	}
	if m, ok := p.tenants[tenant]; ok {
		return m
	}
	return p.mode
}

func micro(x float64) int64 { return int64(math.Round(x * Micro)) }
