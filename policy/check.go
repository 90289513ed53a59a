package policy

import (
	"fmt"
	"math"
	"strings"
)

// The values of soft_limit.action.
const (
	Action450  = "450"
	ActionHold = "hold"
)

// OptionError is one key whose value is not allowed.
type OptionError struct {
	// Key is relative to `outbound`, as "limits.user_per_hour".
	Key string
	// Problem says what is wrong, and what is allowed.
	Problem string
}

// Error is key and problem.
func (e *OptionError) Error() string { return e.Key + ": " + e.Problem }

// Check finds everything that is wrong with o, with defaults in the place of zeros. Compile has done this.
func (o Options) Check() []*OptionError {
	o = o.WithDefaults()
	c := checker{}
	c.mode("mode", o.Mode)
	for i, m := range o.Modes {
		c.exception(fmt.Sprintf("modes[%d]", i), m)
	}
	if o.SoftLimit.Action != Action450 && o.SoftLimit.Action != ActionHold {
		c.bad("soft_limit.action", "%q is neither %q nor %q", o.SoftLimit.Action, Action450, ActionHold)
	}
	c.whole("auto_reenable_after_hours", o.AutoReenableAfterHours, 0, 24*365)
	c.soft(o.SoftLimit)
	c.limits(o.Limits)
	c.weights(o.Weights)
	c.thresholds(o.Thresholds)
	c.rate(o.Rate)
	c.content(o.Content)
	c.history(o.History)
	return c.errs
}

// checker collects errors, one for each key.
type checker struct{ errs []*OptionError }

func (c *checker) bad(key, format string, args ...any) {
	c.errs = append(c.errs, &OptionError{key, fmt.Sprintf(format, args...)})
}

func (c *checker) mode(key string, m Mode) {
	if m != Off && m != Shadow && m != Enforce {
		c.bad(key, "%q is none of off, shadow, enforce", string(m))
	}
}

func (c *checker) exception(key string, m ModeOptions) {
	c.mode(key+".mode", m.Mode)
	if (m.Tenant == "") == (m.Account == "") {
		c.bad(key, "wants either tenant or account")
	}
	if m.Account != "" && m.Account != strings.ToLower(strings.TrimSpace(m.Account)) {
		c.bad(key+".account", "%q: write the login in lower case, with its domain", m.Account)
	}
}

func (c *checker) whole(key string, n, least, most int) {
	if n < least || n > most {
		c.bad(key, "%d is not allowed (allowed: %d to %d)", n, least, most)
	}
}

func (c *checker) part(key string, x float64) { c.real(key, x, 0, 1) }

func (c *checker) real(key string, x, least, most float64) {
	if math.IsNaN(x) || x < least || x > most {
		c.bad(key, "%v is not allowed (allowed: %v to %v)", x, least, most)
	}
}

// pair wants from < full.
func (c *checker) pair(key string, from, full float64) {
	if !(from < full) {
		c.bad(key+"_from", "%v must be less than %s_full (%v)", from, key, full)
	}
}

// maxCount is the largest limit or floor.
const maxCount = 1_000_000

func (c *checker) soft(o SoftLimitOptions) {
	c.whole("soft_limit.per_hour", o.PerHour, 1, maxCount)
	c.whole("soft_limit.per_day", o.PerDay, 1, maxCount)
	c.real("soft_limit.headroom", o.Headroom, 1, 10)
	c.whole("soft_limit.clean_hours", o.CleanHours, 1, 24*30)
}

func (c *checker) limits(o LimitOptions) {
	c.whole("limits.user_per_hour", o.UserPerHour, 1, maxCount)
	c.whole("limits.user_per_day", o.UserPerDay, 1, maxCount)
	c.whole("limits.domain_per_hour", o.DomainPerHour, 1, maxCount)
	c.whole("limits.tenant_per_hour", o.TenantPerHour, 1, maxCount)
}

func (c *checker) weights(o WeightOptions) {
	c.part("weights.rate", o.Rate)
	c.part("weights.content", o.Content)
	c.part("weights.history", o.History)
	if sum := micro(o.Rate) + micro(o.Content) + micro(o.History); sum != Micro {
		c.bad("weights", "rate, content and history add up to %v, not 1", float64(sum)/Micro)
	}
}

func (c *checker) thresholds(o ThresholdOptions) {
	c.part("thresholds.soft", o.Soft)
	c.part("thresholds.hard", o.Hard)
	c.part("thresholds.corroboration", o.Corroboration)
	if o.Soft >= o.Hard {
		c.bad("thresholds.soft", "%v must be less than thresholds.hard (%v)", o.Soft, o.Hard)
	}
}

func (c *checker) rate(o RateOptions) {
	c.whole("rate.floor_minute", o.FloorMinute, 1, maxCount)
	c.whole("rate.floor_ten_minutes", o.FloorTenMinutes, 1, maxCount)
	c.whole("rate.floor_hour", o.FloorHour, 1, maxCount)
	c.whole("rate.floor_day", o.FloorDay, 1, maxCount)
	c.whole("rate.floor_new_hour", o.FloorNewHour, 1, maxCount)
	c.whole("rate.floor_new_day", o.FloorNewDay, 1, maxCount)
	c.real("rate.multiple", o.Multiple, 1, 5)
	c.real("rate.onset", o.Onset, 0, 0.99)
	c.part("rate.new_weight", o.NewWeight)
	c.part("rate.known_weight", o.KnownWeight)
	c.real("rate.decay", o.Decay, 0.1, 1)
}

func (c *checker) content(o ContentOptions) {
	for _, s := range []struct {
		key   string
		value float64
	}{{"spam_from", o.SpamFrom}, {"spam_full", o.SpamFull}, {"spam_certain", o.SpamCertain}} {
		c.real("content."+s.key, s.value, -1000, 1000)
	}
	c.pair("content.spam", o.SpamFrom, o.SpamFull)
	c.whole("content.campaign_new_from", o.CampaignNewFrom, 0, maxCount)
	c.pair("content.campaign_new", float64(o.CampaignNewFrom), float64(o.CampaignNewFull))
	c.whole("content.campaign_new_full", o.CampaignNewFull, 1, maxCampaign)
	c.whole("content.campaign_all_from", o.CampaignAllFrom, 0, maxCount)
	c.pair("content.campaign_all", float64(o.CampaignAllFrom), float64(o.CampaignAllFull))
	c.whole("content.campaign_all_full", o.CampaignAllFull, 1, maxCampaign)
	c.part("content.campaign_all_weight", o.CampaignAllWeight)
	c.whole("content.campaign_day_multiple", o.CampaignDayMultiple, 1, 10)
	c.part("content.campaign_weight", o.CampaignWeight)
	c.whole("content.template_days", o.TemplateDays, 1, 365)
	c.part("content.invalid_from", o.InvalidFrom)
	c.pair("content.invalid", o.InvalidFrom, o.InvalidFull)
	c.part("content.invalid_full", o.InvalidFull)
	c.whole("content.invalid_least", o.InvalidLeast, 1, 1000)
	c.part("content.newlist_from", o.NewlistFrom)
	c.pair("content.newlist", o.NewlistFrom, o.NewlistFull)
	c.part("content.newlist_full", o.NewlistFull)
	c.part("content.newlist_weight", o.NewlistWeight)
	c.whole("content.persist_from", o.PersistFrom, 0, maxCount)
	c.pair("content.persist", float64(o.PersistFrom), float64(o.PersistFull))
	c.whole("content.persist_full", o.PersistFull, 1, maxCampaign)
	c.whole("content.home_multiple", o.HomeMultiple, 1, 20)
	c.whole("content.home_day_multiple", o.HomeDayMultiple, 1, 20)
	c.whole("content.away_multiple", o.AwayMultiple, 1, 20)
	c.whole("content.cold_multiple", o.ColdMultiple, 1, 20)
}

// maxCampaign keeps what is counted of a campaign within what State can hold.
const maxCampaign = 1000

func (c *checker) history(o HistoryOptions) {
	c.part("history.new_place", o.NewPlace)
	c.part("history.habit_network", o.HabitNetwork)
	c.real("history.habit_days", o.HabitDays, 1, 20)
	c.part("history.new_network", o.NewNetwork)
	c.whole("history.new_place_minutes", o.NewPlaceMinutes, 1, 7*24*60)
	c.whole("history.new_place_uses", o.NewPlaceUses, 1, 1000)
	c.whole("history.home_hours", o.HomeHours, 1, 24*30)
	c.whole("history.many_countries", o.ManyCountries, 2, placeCount)
	c.whole("history.many_networks", o.ManyNetworks, 2, placeCount)
	c.whole("history.many_hours", o.ManyHours, 1, 24*7)
	c.part("history.strike", o.Strike)
	c.whole("history.strike_half_life_hours", o.StrikeHalfLifeHours, 1, 24*30)
	c.part("history.hour", o.Hour)
	c.part("history.hour_share", o.HourShare)
	c.whole("history.hour_least", o.HourLeast, 1, 1000)
	c.whole("history.cold_hours", o.ColdHours, 1, 24*30)
	c.whole("history.cold_messages", o.ColdMessages, 1, 1000)
}
