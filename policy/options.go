package policy

// Options is the outbound section of the configuration. The zero value is usable: every zero is its default,
// which WithDefaults writes out. Windows are rolling; counts are recipient copies unless they say otherwise.
type Options struct {
	// Mode is off, shadow (default) or enforce.
	Mode Mode `yaml:"mode"`
	// Modes are exceptions to Mode, for a tenant or an account; the most exact one counts.
	Modes []ModeOptions `yaml:"modes"`
	// DefaultDomain is added to a login without a domain.
	DefaultDomain string `yaml:"default_domain"`
	// AutoSuspend lets the engine suspend; default true. Without it a score over the hard threshold is a soft limit.
	AutoSuspend *bool `yaml:"auto_suspend"`
	// RequireCorroboration suspends only with a second kind of evidence; default true.
	RequireCorroboration *bool `yaml:"require_corroboration"`
	// AutoReenableAfterHours moves a suspended account back to the soft limit; 0 (default) is never.
	AutoReenableAfterHours int `yaml:"auto_reenable_after_hours"`
	// SoftLimit is what a soft limit means.
	SoftLimit SoftLimitOptions `yaml:"soft_limit"`
	// Limits hold whatever the score is.
	Limits LimitOptions `yaml:"limits"`
	// Weights of the factors; they add up to 1.
	Weights WeightOptions `yaml:"weights"`
	// Thresholds of the score.
	Thresholds ThresholdOptions `yaml:"thresholds"`
	// Rate, Content and History shape the evidence of each factor.
	Rate    RateOptions    `yaml:"rate"`
	Content ContentOptions `yaml:"content"`
	History HistoryOptions `yaml:"history"`
}

// ModeOptions is the mode of one tenant or one account.
type ModeOptions struct {
	// Tenant is the tenant's id or name, as the caller of Decide gives it.
	Tenant string `yaml:"tenant,omitempty"`
	// Account is a login with its domain. It counts before Tenant.
	Account string `yaml:"account,omitempty"`
	// Mode is off, shadow or enforce.
	Mode Mode `yaml:"mode"`
}

// SoftLimitOptions is the cap of a soft limit.
type SoftLimitOptions struct {
	// Action is 450 (default) or hold.
	Action string `yaml:"action"`
	// PerHour is the least cap of an hour (20); an account that sends more may send Headroom times its own peak.
	PerHour int `yaml:"per_hour"`
	// PerDay is the least cap of 24 hours (40), likewise.
	PerDay int `yaml:"per_day"`
	// Headroom over the account's own peaks (1.2).
	Headroom float64 `yaml:"headroom"`
	// CleanHours without a breach end a soft limit (24).
	CleanHours int `yaml:"clean_hours"`
}

// LimitOptions are the plain limits in recipient copies.
type LimitOptions struct {
	UserPerHour   int `yaml:"user_per_hour"`   // 200
	UserPerDay    int `yaml:"user_per_day"`    // 1,000
	DomainPerHour int `yaml:"domain_per_hour"` // 5,000
	TenantPerHour int `yaml:"tenant_per_hour"` // 10,000
}

// WeightOptions are the weights of the factors: all three zero is the default 0.4, 0.4, 0.2.
type WeightOptions struct {
	Rate    float64 `yaml:"rate"`
	Content float64 `yaml:"content"`
	History float64 `yaml:"history"`
}

// ThresholdOptions divide the score.
type ThresholdOptions struct {
	// Soft is where a soft limit begins (0.5).
	Soft float64 `yaml:"soft"`
	// Hard is where a suspension begins (0.8).
	Hard float64 `yaml:"hard"`
	// Corroboration is what place, invalid or spam must reach to count as a second kind of evidence (0.5).
	Corroboration float64 `yaml:"corroboration"`
}

// WithDefaults is o with every zero replaced by its default.
func (o Options) WithDefaults() Options { return o }

// RateOptions shape the rate factor.
type RateOptions struct {
	// Floors of the windows: a count below 0.4 times the floor is never evidence, one at the floor is full evidence.
	FloorMinute     int `yaml:"floor_minute"`      // 15
	FloorTenMinutes int `yaml:"floor_ten_minutes"` // 40
	FloorHour       int `yaml:"floor_hour"`        // 80
	FloorDay        int `yaml:"floor_day"`         // 300
}

// ContentOptions shape the content factor.
type ContentOptions struct {
	// SpamFrom and SpamFull are the ends of the ramp for the mean score of the last messages (2, 6).
	SpamFrom float64 `yaml:"spam_from"`
	SpamFull float64 `yaml:"spam_full"`
}

// HistoryOptions shape the history factor.
type HistoryOptions struct {
	// NewPlaceMinutes is how long a place counts as new (120).
	NewPlaceMinutes int `yaml:"new_place_minutes"`
}
