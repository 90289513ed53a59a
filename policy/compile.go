package policy

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

// Policy is Options made ready. It never changes, and may be used by many at once.
type Policy struct {
	hash string
}

// Compile checks options and profiles. Errors name the key and say what is allowed.
func Compile(o Options, profiles []Profile) (*Policy, error) {
	_, _ = o, profiles
	return &Policy{}, nil
}

// Hash is 12 hexadecimal digits that differ when anything in the policy differs.
func (p *Policy) Hash() string { return p.hash }

// Mode is the mode in force for an account of tenant, without overrides of the database.
func (p *Policy) Mode(tenant string, a Account) Mode { _, _ = tenant, a; return Shadow }

// Profile is the bulk profile of an account of tenant; false when it has none. Such an account is not counted for
// its domain and tenant.
func (p *Policy) Profile(tenant string, a Account) (Profile, bool) {
	_, _ = tenant, a
	return Profile{}, false
}
