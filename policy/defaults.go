package policy

// WithDefaults is o with every zero replaced by its default.
func (o Options) WithDefaults() Options {
	fill(&o.Mode, Shadow)
	fill(&o.AutoSuspend, ptrTo(true))
	fill(&o.RequireCorroboration, ptrTo(true))
	o.SoftLimit = o.SoftLimit.withDefaults()
	o.Limits = o.Limits.withDefaults()
	fill(&o.Weights, WeightOptions{Rate: 0.4, Content: 0.4, History: 0.2})
	fill(&o.Thresholds.Soft, 0.5)
	fill(&o.Thresholds.Hard, 0.8)
	fill(&o.Thresholds.Corroboration, 0.5)
	o.Rate = o.Rate.withDefaults()
	o.Content = o.Content.withDefaults()
	o.History = o.History.withDefaults()
	return o
}

func (o SoftLimitOptions) withDefaults() SoftLimitOptions {
	fill(&o.Action, Action450)
	fill(&o.PerHour, 20)
	fill(&o.PerDay, 40)
	fill(&o.Headroom, 1.2)
	fill(&o.CleanHours, 24)
	return o
}

func (o LimitOptions) withDefaults() LimitOptions {
	fill(&o.UserPerHour, 200)
	fill(&o.UserPerDay, 1000)
	fill(&o.DomainPerHour, 5000)
	fill(&o.TenantPerHour, 10_000)
	return o
}

func (o RateOptions) withDefaults() RateOptions {
	fill(&o.FloorMinute, 15)
	fill(&o.FloorTenMinutes, 40)
	fill(&o.FloorHour, 80)
	fill(&o.FloorDay, 300)
	fill(&o.FloorNewHour, 15)
	fill(&o.FloorNewDay, 30)
	fill(&o.Multiple, 3)
	fill(&o.Onset, 0.4)
	fill(&o.NewWeight, 0.8)
	fill(&o.KnownWeight, 0.7)
	fill(&o.Decay, 0.9)
	return o
}

func (o ContentOptions) withDefaults() ContentOptions {
	fill(&o.SpamFrom, 2)
	fill(&o.SpamFull, 6)
	fill(&o.SpamCertain, 15)
	fill(&o.CampaignNewFrom, 8)
	fill(&o.CampaignNewFull, 30)
	fill(&o.CampaignAllFrom, 25)
	fill(&o.CampaignAllFull, 75)
	fill(&o.CampaignAllWeight, 0.5)
	fill(&o.CampaignDayMultiple, 2)
	fill(&o.CampaignWeight, 0.9)
	fill(&o.TemplateDays, 3)
	fill(&o.InvalidFrom, 0.015)
	fill(&o.InvalidFull, 0.075)
	fill(&o.InvalidLeast, 2)
	fill(&o.NewlistFrom, 0.6)
	fill(&o.NewlistFull, 0.9)
	fill(&o.NewlistWeight, 0.9)
	fill(&o.PersistFrom, 3)
	fill(&o.PersistFull, 15)
	fill(&o.HomeMultiple, 5)
	fill(&o.HomeDayMultiple, 3)
	fill(&o.AwayMultiple, 2)
	fill(&o.ColdMultiple, 4)
	return o
}

func (o HistoryOptions) withDefaults() HistoryOptions {
	fill(&o.NewPlace, 0.6)
	fill(&o.NewNetwork, 0.45)
	fill(&o.NewPlaceMinutes, 24*60)
	fill(&o.NewPlaceUses, 5)
	fill(&o.HabitNetwork, 0.2)
	fill(&o.HabitDays, 4)
	fill(&o.HomeHours, 72)
	fill(&o.ManyCountries, 3)
	fill(&o.ManyNetworks, 4)
	fill(&o.ManyHours, 6)
	fill(&o.Strike, 0.1)
	fill(&o.StrikeHalfLifeHours, 24)
	fill(&o.Hour, 0.3)
	fill(&o.HourShare, 0.01)
	fill(&o.HourLeast, 30)
	fill(&o.ColdHours, 72)
	fill(&o.ColdMessages, 10)
	return o
}

// fill gives a zero its default.
func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func ptrTo[T any](v T) *T { return &v }
