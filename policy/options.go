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
	// PerHour is the least cap of an hour (20). At a place known for days, and when nothing speaks against the content,
	// an account may send Headroom times its own peak, and as much more to new recipients as it usually does.
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

// RateOptions shape the rate factor. A window with a count is no evidence up to Onset of its limit and full evidence
// at its limit, which is the greater of its floor and Multiple times the account's own peak.
type RateOptions struct {
	FloorMinute     int `yaml:"floor_minute"`      // 15 recipients in a minute
	FloorTenMinutes int `yaml:"floor_ten_minutes"` // 40 in ten minutes
	FloorHour       int `yaml:"floor_hour"`        // 80 in an hour
	FloorDay        int `yaml:"floor_day"`         // 300 in 24 hours
	FloorNewHour    int `yaml:"floor_new_hour"`    // 15 new recipients in an hour
	FloorNewDay     int `yaml:"floor_new_day"`     // 30 new recipients in 24 hours
	// Multiple of the account's own peak (3).
	Multiple float64 `yaml:"multiple"`
	// Onset is the part of a limit where evidence begins (0.4).
	Onset float64 `yaml:"onset"`
	// NewWeight is what new recipients weigh beside volume (0.8).
	NewWeight float64 `yaml:"new_weight"`
	// KnownWeight is what a known recipient counts in the volume; a new one counts 1 (0.7).
	KnownWeight float64 `yaml:"known_weight"`
	// Decay of the peaks in a day (0.9).
	Decay float64 `yaml:"decay"`
}

// ContentOptions shape the content factor.
type ContentOptions struct {
	// SpamFrom and SpamFull are the ends of the ramp for the mean score of the last messages (2, 6).
	SpamFrom float64 `yaml:"spam_from"`
	SpamFull float64 `yaml:"spam_full"`
	// SpamCertain is full evidence from one message (15).
	SpamCertain float64 `yaml:"spam_certain"`
	// CampaignNewFrom and CampaignNewFull: new recipients of one body in an hour (8, 30).
	CampaignNewFrom int `yaml:"campaign_new_from"`
	CampaignNewFull int `yaml:"campaign_new_full"`
	// CampaignAllFrom and CampaignAllFull: all recipients of one body in an hour (25, 75), from the
	// second message on, at CampaignAllWeight (0.5); at a new place with full weight.
	CampaignAllFrom   int     `yaml:"campaign_all_from"`
	CampaignAllFull   int     `yaml:"campaign_all_full"`
	CampaignAllWeight float64 `yaml:"campaign_all_weight"`
	// CampaignDayMultiple of these numbers is the same in 24 hours (2).
	CampaignDayMultiple int `yaml:"campaign_day_multiple"`
	// CampaignWeight is what a campaign weighs within content (0.9).
	CampaignWeight float64 `yaml:"campaign_weight"`
	// TemplateDays after its first use a body is a template and no campaign (3).
	TemplateDays int `yaml:"template_days"`
	// InvalidFrom and InvalidFull: share of invalid recipients, by its lower bound (0.015, 0.075).
	InvalidFrom float64 `yaml:"invalid_from"`
	InvalidFull float64 `yaml:"invalid_full"`
	// InvalidLeast is how many there must be in an hour (2); in 24 hours twice as many.
	InvalidLeast int `yaml:"invalid_least"`
	// NewlistFrom and NewlistFull: share of new recipients (0.6, 0.9), at NewlistWeight (0.9).
	NewlistFrom   float64 `yaml:"newlist_from"`
	NewlistFull   float64 `yaml:"newlist_full"`
	NewlistWeight float64 `yaml:"newlist_weight"`
	// PersistFrom and PersistFull: different recipients to which mail was tried in a day after a soft limit had begun to refuse (3, 15), at a new place or when
	// something speaks against the content.
	PersistFrom int `yaml:"persist_from"`
	PersistFull int `yaml:"persist_full"`
	// HomeMultiple raises the limits for new recipients and campaigns in an hour at a place known for days (5), and
	// HomeDayMultiple those in 24 hours (3), as long as nothing speaks against the content. AwayMultiple raises all of
	// them at a place that is neither new nor known for days (2), ColdMultiple for an account without history (4).
	HomeMultiple    int `yaml:"home_multiple"`
	HomeDayMultiple int `yaml:"home_day_multiple"`
	AwayMultiple    int `yaml:"away_multiple"`
	ColdMultiple    int `yaml:"cold_multiple"`
}

// HistoryOptions shape the history factor.
type HistoryOptions struct {
	// NewPlace is the evidence of a new country (0.6), NewNetwork that of a new network in a known country or without a
	// database of countries (0.45). It is new for NewPlaceMinutes (1,440, a day), and for a week while there were fewer than
	// NewPlaceUses different hours (5) in which mail went from there to somebody known before.
	NewPlace        float64 `yaml:"new_place"`
	NewNetwork      float64 `yaml:"new_network"`
	NewPlaceMinutes int     `yaml:"new_place_minutes"`
	NewPlaceUses    int     `yaml:"new_place_uses"`
	// HabitNetwork is what a new network comes to for an account whose networks change as a habit (0.2): when there
	// was one on HabitDays (4) of the past days, each of which counts a twentieth less every day. From half as many on it counts
	// less and less.
	HabitNetwork float64 `yaml:"habit_network"`
	HabitDays    float64 `yaml:"habit_days"`
	// HomeHours after its first use, and after NewPlaceUses, a place is home (72).
	HomeHours int `yaml:"home_hours"`
	// ManyCountries (3), one of them new, or ManyNetworks (4) new ones within ManyHours (6) are full evidence.
	ManyCountries int `yaml:"many_countries"`
	ManyNetworks  int `yaml:"many_networks"`
	ManyHours     int `yaml:"many_hours"`
	// Strike is the evidence of one breach (0.1), with a half-life of StrikeHalfLifeHours (24).
	Strike              float64 `yaml:"strike"`
	StrikeHalfLifeHours int     `yaml:"strike_half_life_hours"`
	// Hour is the evidence of an hour of the day with under HourShare of the past mail (0.3, 0.01), from HourLeast
	// messages on (30).
	Hour      float64 `yaml:"hour"`
	HourShare float64 `yaml:"hour_share"`
	HourLeast int     `yaml:"hour_least"`
	// ColdHours after its first mail, or below ColdMessages, an account has too little history (72, 10).
	ColdHours    int `yaml:"cold_hours"`
	ColdMessages int `yaml:"cold_messages"`
}
