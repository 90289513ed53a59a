package policy

// contentRules are ContentOptions made ready: spam scores in thousandths, the rest in millionths or recipients.
type contentRules struct {
	spamFrom, spamFull, spamCertain                           int64
	newFrom, newFull, allFrom, allFull                        int64
	allWeight, dayMultiple                                    int64
	campaignWeight, newlistWeight                             int64
	templateUS                                                int64
	invalidFrom, invalidFull, leastBad                        int64
	newlistFrom, newlistFull                                  int64
	persistFrom, persistFull                                  int64
	homeMultiple, homeDayMultiple, awayMultiple, coldMultiple int64
}

func (o ContentOptions) rules() contentRules {
	milli := func(x float64) int64 { return micro(x) / 1000 }
	return contentRules{
		spamFrom: milli(o.SpamFrom), spamFull: milli(o.SpamFull), spamCertain: milli(o.SpamCertain),
		newFrom: int64(o.CampaignNewFrom), newFull: int64(o.CampaignNewFull),
		allFrom: int64(o.CampaignAllFrom), allFull: int64(o.CampaignAllFull),
		allWeight: micro(o.CampaignAllWeight), dayMultiple: int64(o.CampaignDayMultiple),
		campaignWeight: micro(o.CampaignWeight), newlistWeight: micro(o.NewlistWeight),
		templateUS:  int64(o.TemplateDays) * dayUS,
		invalidFrom: micro(o.InvalidFrom), invalidFull: micro(o.InvalidFull), leastBad: int64(o.InvalidLeast),
		persistFrom: int64(o.PersistFrom), persistFull: int64(o.PersistFull),
		newlistFrom: micro(o.NewlistFrom), newlistFull: micro(o.NewlistFull),
		homeMultiple: int64(o.HomeMultiple), homeDayMultiple: int64(o.HomeDayMultiple), awayMultiple: int64(o.AwayMultiple), coldMultiple: int64(o.ColdMultiple),
	}
}

// sureUS is how long a certainly bad message counts.
const sureUS = hourUS

// enoughScores is how many messages make the mean of their scores full evidence.
const enoughScores = 5

// maxMilli bounds a spam score, in thousandths.
const maxMilli = 1_000_000

// note keeps what is known of a message at its end.
func (s *State) note(c *Content, r *contentRules, nowUS int64) {
	minute := uint32(nowUS / minuteUS)
	if c.SpamKnown {
		milli := min(max(c.Spam/1000, -maxMilli), maxMilli)
		s.scores[s.next] = spamScore{minute, int32(milli)}
		s.next = (s.next + 1) % scoreCount
		if milli >= r.spamCertain {
			s.spamMinute = minute
		}
	}
	if c.Malware {
		s.malwareMinute = minute
	}
	if c.ListedURL {
		s.urlMinute = minute
	}
}

// facts measures what needs no comparison with the account's habits.
func (j *judgement) facts(s *State, r *contentRules) {
	j.spam(s, r)
	j.pieces[malware] = j.sure(s.malwareMinute)
	j.pieces[listedURL] = j.sure(s.urlMinute)
	j.invalid(r, windowHour, r.leastBad)
	j.invalid(r, windowDay, 2*r.leastBad)
	j.repeats(s, r)
}

func (j *judgement) sure(minute uint32) measure {
	if minute == 0 || j.now-int64(minute)*minuteUS >= sureUS {
		return measure{}
	}
	return measure{value: Micro, raw: 1, windowUS: sureUS}
}

// spam is the mean score of the last messages, those of the last day.
func (j *judgement) spam(s *State, r *contentRules) {
	var n, total int64
	for _, x := range s.scores {
		if x.minute != 0 && j.now-int64(x.minute)*minuteUS < dayUS {
			n++
			total += int64(x.milli)
		}
	}
	if n == 0 {
		return
	}
	mean := total / n
	m := measure{raw: mean * 1000, limit: r.spamFull * 1000, windowUS: dayUS}
	m.value = ramp(mean, r.spamFrom, r.spamFull) * min(n, enoughScores) / enoughScores
	if j.sure(s.spamMinute).value > 0 {
		m.value, m.windowUS = Micro, sureUS
	}
	j.pieces[spam] = m
}

// invalid is the share of recipients that do not exist, by its lower bound.
func (j *judgement) invalid(r *contentRules, window int, least int64) {
	bad := j.sums[window][invalid]
	n := j.sums[window][copies] + j.sums[window][tried] + bad // a list that is refused halfway is not worse for that
	m := measure{raw: wilson(bad, n), limit: r.invalidFull, windowUS: windowLengthUS[window]}
	if bad >= least {
		m.value = ramp(m.raw, r.invalidFrom, r.invalidFull)
	}
	j.pieces[invalidShare].keep(m)
}

// repeats finds a campaign that goes on after the account was stopped for it and released.
func (j *judgement) repeats(s *State, r *contentRules) {
	for i := range s.prints {
		q := s.prints[i] // a copy
		if !q.stopped {
			continue
		}
		q.turn(j.now)
		n := q.dayAll.rolling(j.now%dayUS, dayUS)
		m := measure{raw: n, limit: r.newFrom, windowUS: dayUS, print: q.id}
		if n >= r.newFrom {
			m.value = Micro
		}
		j.pieces[repeat].keep(m)
	}
}

// campaigns measures how many had the same body, in an hour and in a day.
func (j *judgement) campaigns(s *State, r *contentRules, room room) {
	for i := range s.prints {
		q := s.prints[i] // a copy
		if q.id == 0 || j.now-int64(q.lastMinute)*minuteUS >= 2*dayUS || q.template(j.now, r) {
			continue
		}
		q.turn(j.now)
		gone := j.now % hourUS
		j.campaign(r, room, &q, hourUS, room.strangers[0], q.strang.rolling(gone, hourUS), q.all.rolling(gone, hourUS))
		gone = j.now % dayUS
		j.campaign(r, room, &q, dayUS, r.dayMultiple*room.strangers[1], q.dayStrang.rolling(gone, dayUS), q.dayAll.rolling(gone, dayUS))
	}
}

func (j *judgement) campaign(r *contentRules, room room, q *print, windowUS, times, strangers, all int64) {
	over := func(n, from, full int64) int64 { return ramp(n*room.den, from*times, full*times) }
	m := measure{windowUS: windowUS, print: q.id}
	if j.foreign && q.times > 1 { // not one message to a group
		strangers += mul(j.pieces[newPlace].value, all-strangers)
	}
	m.value, m.raw, m.limit = over(strangers, r.newFrom, r.newFull), strangers, r.newFull*times/room.den
	j.pieces[campaign].keep(m)
	if q.times < 2 {
		return
	}
	weight := r.allWeight
	if j.trust == unsure {
		weight = Micro
	}
	m.value, m.raw, m.limit = mul(weight, over(all, r.allFrom, r.allFull)), all, r.allFull*times/room.den
	j.pieces[campaign].keep(m)
}

// newlist is the share of new recipients, times how far their number is above normal.
func (j *judgement) newlist(s *State, p *Policy, room room) {
	for i, w := range newWindows {
		c := &j.sums[w]
		if c[fresh] <= 0 || c[copies] <= 0 {
			continue
		}
		share := min(c[fresh]*Micro/c[copies], Micro)
		limit := p.rate.limit(p.rate.newFloors[i], s.usual.newOnes[i], room.strangers[i], room.den)
		j.pieces[newlist].keep(measure{
			value: mul(ramp(share, p.content.newlistFrom, p.content.newlistFull), p.rate.over(c[fresh]*Micro, limit)),
			raw:   share, limit: p.content.newlistFull, windowUS: windowLengthUS[w],
		})
	}
}
