package policy

import "slices"

// skewUS is how far the clocks of nodes that share a state may differ. An event that is older than the state by no more
// than that counts as one of the state's last moment. One that is older still tells that a clock was ahead and is right
// again: if the state waited for it, time would stand still until then, and hours of mail would be one minute's.
const skewUS = 10 * minuteUS

// present is the time of an event for the state: it never goes back, unless a clock was ahead.
func (s *State) present(nowUS int64) int64 {
	nowUS = min(max(nowUS, minUS), maxUS)
	if nowUS < s.lastUS-skewUS {
		return nowUS
	}
	return max(nowUS, s.lastUS)
}

// setBack makes the state of a clock that was ahead one of nowUS. What was counted stays as old as it was at the last
// event: nobody is rid of it by a clock that jumps, and nobody is held for longer. What is reserved is reserved now,
// and what would have happened in the future happens now.
func (s *State) setBack(nowUS int64) {
	for _, r := range s.open {
		s.giveBack(&r)
	}
	s.windows.setBack(nowUS)
	for i := range s.open {
		if r := &s.open[i]; r.transaction != 0 {
			r.atUS = nowUS
			s.windows.add(copies, int64(r.copies))
			s.windows.add(fresh, int64(r.fresh))
		}
	}
	for _, at := range []*int64{
		&s.firstUS, &s.levelUS, &s.breachUS, &s.strikeUS, &s.noticedUS, &s.known.sinceUS, &s.refused.sinceUS,
	} {
		*at = min(*at, nowUS)
	}
	s.peakDay = min(s.peakDay, nowUS/dayUS)
	s.setMinutesBack(uint32(nowUS/minuteUS), uint32(nowUS/hourUS))
}

// setMinutesBack is setBack for what is kept in minutes and hours.
func (s *State) setMinutesBack(minute, hour uint32) {
	for _, at := range []*uint32{&s.spamMinute, &s.malwareMinute, &s.urlMinute} {
		*at = min(*at, minute)
	}
	for i := range s.scores {
		s.scores[i].minute = min(s.scores[i].minute, minute)
	}
	for i := range s.prints {
		p := &s.prints[i]
		p.firstHour, p.lastMinute = min(p.firstHour, hour), min(p.lastMinute, minute)
	}
	for i := range s.places {
		p := &s.places[i]
		p.firstMinute, p.lastMinute = min(p.firstMinute, minute), min(p.lastMinute, minute)
		p.countryFirst, p.lastUse = min(p.countryFirst, minute), min(p.lastUse, hour)
	}
}

func (w *windows) setBack(nowUS int64) {
	setRingBack(w.tens[:], &w.ten, nowUS/tenUS)
	setRingBack(w.minutes[:], &w.minute, nowUS/minuteUS)
	setRingBack(w.halves[:], &w.half, nowUS/halfHourUS)
}

// setRingBack makes the newest bucket of a ring that of an earlier time, and keeps their order.
func setRingBack[T any](ring []T, newest *int64, now int64) {
	if now >= *newest {
		return
	}
	by := (*newest - now) % int64(len(ring))
	copy(ring, slices.Concat(ring[by:], ring[:by]))
	*newest = now
}
