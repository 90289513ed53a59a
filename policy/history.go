package policy

// historyRules are HistoryOptions made ready.
type historyRules struct {
	newPlace, newNetwork        int64
	habitNetwork, habitDays     int64
	newPlaceUS, newPlaceUses    int64
	homeUS                      int64
	manyCountries, manyNetworks int64
	manyUS                      int64
	strike, strikeUS            int64
	hour, hourShare, hourLeast  int64
	coldUS, coldMessages        int64
}

func (o HistoryOptions) rules() historyRules {
	return historyRules{
		newPlace: micro(o.NewPlace), newNetwork: micro(o.NewNetwork), newPlaceUS: int64(o.NewPlaceMinutes) * minuteUS, newPlaceUses: int64(o.NewPlaceUses),
		habitNetwork: micro(o.HabitNetwork), habitDays: micro(o.HabitDays),
		homeUS:        int64(o.HomeHours) * hourUS,
		manyCountries: int64(o.ManyCountries), manyNetworks: int64(o.ManyNetworks), manyUS: int64(o.ManyHours) * hourUS,
		strike: micro(o.Strike), strikeUS: int64(o.StrikeHalfLifeHours) * hourUS,
		hour: micro(o.Hour), hourShare: micro(o.HourShare), hourLeast: int64(o.HourLeast),
		coldUS: int64(o.ColdHours) * hourUS, coldMessages: int64(o.ColdMessages),
	}
}

// leastForPlaces is how many messages an account must have sent before a place can be new to it.
const leastForPlaces = 3

// strikeEveryUS is how often a breach counts as a strike.
const strikeEveryUS = hourUS

func (j *judgement) history(s *State, r *historyRules) {
	old := s.firstUS != 0 && j.now-s.firstUS >= r.coldUS
	j.cold = !old || s.total < uint64(r.coldMessages)
	j.known = old && s.total >= leastForPlaces
	if j.known {
		j.places(s, r)
	}
	n := s.strikesAt(j.now, r)
	j.pieces[strikes] = measure{value: min(mul(r.strike, n), Micro), raw: (n + Micro/2) / Micro, windowUS: r.strikeUS}
	j.oddHour(s, r)
}

// places looks for new places, and for many at once.
func (j *judgement) places(s *State, r *historyRules) {
	var fresh, strongest, recent, recentNew, countries int64
	for i := range s.places {
		p := &s.places[i]
		if p.firstMinute == 0 {
			continue
		}
		if s.isNew(p.firstMinute, p.uses, j.now, r) {
			fresh++
			// Of those that weigh the same, where the message comes from is the one to tell of.
			if weight := s.newness(p, j.now, r); weight > strongest || weight == strongest && i+1 == int(s.here) {
				strongest = weight
				j.where = whereabouts{kind: s.kindOf(p, j.now, r), countries: [placeCount]uint16{p.country}}
			}
		}
		if j.now-int64(p.lastMinute)*minuteUS >= r.manyUS {
			continue
		}
		if j.now-int64(p.firstMinute)*minuteUS < r.manyUS && !s.original(p.firstMinute, r) {
			recentNew++
		}
		if p.country != 0 && s.firstOfCountry(i, j.now, r) {
			countries++
			if j.now-int64(p.countryFirst)*minuteUS < dayUS && !s.original(p.countryFirst, r) {
				recent++
			}
		}
	}
	m := measure{value: strongest, raw: fresh, windowUS: r.newPlaceUS}
	if many := countries >= r.manyCountries && recent > 0; many || recentNew >= r.manyNetworks {
		m = measure{value: Micro, raw: max(countries, recentNew), windowUS: r.manyUS}
		j.scatter = true
		j.where = s.lately(many, j.now, r)
	}
	j.pieces[newPlace] = m
}

// newness is the evidence of a place. A new country is full evidence for everybody. A new network in a known country is less,
// or one whose country nobody knows, because people change networks; and little for an account that does so all the time.
func (s *State) newness(p *place, nowUS int64, r *historyRules) int64 {
	if s.countryIsNew(p, nowUS, r) {
		return r.newPlace
	}
	return r.newNetwork - mul(s.wandering(r), max(r.newNetwork-r.habitNetwork, 0))
}

// whereabouts tell people of the evidence of places: they decide nothing.
type whereabouts struct {
	kind      string
	countries [placeCount]uint16 // 0 is none
}

// What is new about places, as Evidence.Kind has it.
const (
	kindCountry   = "country"
	kindNetwork   = "network"
	kindCountries = "countries"
	kindNetworks  = "networks"
)

func (s *State) kindOf(p *place, nowUS int64, r *historyRules) string {
	if s.countryIsNew(p, nowUS, r) {
		return kindCountry
	}
	return kindNetwork
}

// lately are the countries of the places that were used within the time of many.
func (s *State) lately(manyCountries bool, nowUS int64, r *historyRules) whereabouts {
	w := whereabouts{kind: kindNetworks}
	if manyCountries {
		w.kind = kindCountries
	}
	for i := range s.places {
		p := &s.places[i]
		if p.country != 0 && nowUS-int64(p.lastMinute)*minuteUS < r.manyUS && s.firstOfCountry(i, nowUS, r) {
			w.countries[i] = p.country
		}
	}
	return w
}

// texts are the codes of the countries.
func (w *whereabouts) texts() (list []string) {
	for _, c := range w.countries {
		if c != 0 {
			list = append(list, countryText(c))
		}
	}
	return list
}

// firstOfCountry says that no place before i is in its country and was used as lately.
func (s *State) firstOfCountry(i int, nowUS int64, r *historyRules) bool {
	for _, q := range s.places[:i] {
		if q.country == s.places[i].country && nowUS-int64(q.lastMinute)*minuteUS < r.manyUS {
			return false
		}
	}
	return true
}

func (j *judgement) oddHour(s *State, r *historyRules) {
	var all int64
	for _, n := range s.hours {
		all += int64(n)
	}
	if all < r.hourLeast {
		return
	}
	share := int64(s.hours[j.now/hourUS%24]) * Micro / all
	m := measure{raw: share, limit: r.hourShare}
	if share < r.hourShare {
		m.value = r.hour
	}
	j.pieces[oddHour] = m
}

// trustIn decides how far the place is trusted. Content that speaks against the message takes a home away.
func (j *judgement) trustIn(s *State, r *historyRules) {
	j.atHome = s.isHome(j.now, r)
	switch {
	case j.pieces[newPlace].value > 0:
		j.trust = unsure
	case j.tainted:
		j.trust = doubt
	case j.cold:
		j.trust = cold
	case j.atHome:
		j.trust = home
	}
}

// strikesAt is the number of strikes, in millionths, after what time took away: half in a half-life, and evenly
// between.
func (s *State) strikesAt(nowUS int64, r *historyRules) int64 {
	gone := max(nowUS-s.strikeUS, 0)
	halvings := gone / r.strikeUS
	if s.strikes == 0 || halvings > 40 {
		return 0
	}
	n := s.strikes >> halvings
	return n - n/2*(gone%r.strikeUS/secondUS)/(r.strikeUS/secondUS)
}

// countHour notes a message in the hour of its day. Old mail fades: at 2,000 messages all hours are halved.
func (s *State) countHour(nowUS int64) {
	var all int
	for _, n := range s.hours {
		all += int(n)
	}
	if all >= 2000 {
		for i := range s.hours {
			s.hours[i] /= 2
		}
	}
	s.hours[nowUS/hourUS%24]++
}
