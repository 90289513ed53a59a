package policy

// rateRules are RateOptions made ready: counts in micro-copies, the rest in millionths.
type rateRules struct {
	floors                                [windowCount]int64
	newFloors                             [2]int64
	multiple, onset, newWeight, knownPart int64
	decay                                 int64
}

func (o RateOptions) rules() rateRules {
	whole := func(n int) int64 { return int64(n) * Micro }
	return rateRules{
		floors:    [windowCount]int64{whole(o.FloorMinute), whole(o.FloorTenMinutes), whole(o.FloorHour), whole(o.FloorDay)},
		newFloors: [2]int64{whole(o.FloorNewHour), whole(o.FloorNewDay)},
		multiple:  micro(o.Multiple), onset: micro(o.Onset), newWeight: micro(o.NewWeight), knownPart: micro(o.KnownWeight),
		decay: micro(o.Decay),
	}
}

// maxLimit keeps products of limits in 63 bits.
const maxLimit = 5 * maxCount * Micro

// limit is where a count is full evidence: the greater of its floor, that so many times, and a multiple of the
// account's own peak.
func (r *rateRules) limit(floor, peak, times, den int64) int64 {
	own := mul(r.multiple, min(peak, maxCount*Micro))
	return min(max(floor*times, own)/den, maxLimit)
}

// over is the evidence of a count (micro-copies) beside its limit.
func (r *rateRules) over(count, limit int64) int64 {
	return ramp(count, mul(r.onset, limit), limit)
}

// newWindows are the windows in which new recipients are judged.
var newWindows = [2]int{windowHour, windowDay}

// rate measures volume in every window, and new recipients.
func (j *judgement) rate(s *State, p *Policy, b *bulk, room room) {
	r := &p.rate
	usual := s.usual.all
	if b != nil {
		usual = b.peaks
	}
	for w := range windowCount {
		c := &j.sums[w]
		strangers := min(c[fresh], c[copies])
		weighed := (strangers+c[tried])*Micro + (c[copies]-strangers)*r.knownPart
		limit := r.limit(r.floors[w], usual[w], 1, room.den)
		value := r.over(weighed, limit)
		if w < windowHour && j.groupMail(s, w) {
			value /= 2
		}
		j.pieces[volume].keep(measure{
			value: value, raw: c[copies] + c[tried], usual: usual[w] / Micro, limit: limit / Micro,
			windowUS: windowLengthUS[w],
		})
	}
	j.overrun(s, p, b)
	for i, w := range newWindows {
		count, limit := j.sums[w][fresh], r.limit(r.newFloors[i], s.usual.newOnes[i], room.strangers[i], room.den)
		j.pieces[newcomers].keep(measure{
			value: r.over(count*Micro, limit), raw: count, usual: s.usual.newOnes[i] / Micro, limit: limit / Micro,
			windowUS: windowLengthUS[w],
		})
	}
}

// groupMail says that what left within a short window is one message and nothing else, with nothing against its
// content. All its recipients come within a second, which is no haste of the sender.
func (j *judgement) groupMail(s *State, window int) bool {
	if j.scatter || j.tainted || j.sums[window][messages] > 0 {
		return false
	}
	open := 0
	for i := range s.open {
		if s.open[i].transaction != 0 {
			open++
		}
	}
	return open <= 1
}

// peaks are the highest counts of each window, in micro-copies.
type peaks struct {
	all     [windowCount]int64
	newOnes [2]int64 // new recipients in newWindows
}

// learn raises the peaks of today to what the account sent just now. They are no measure before the day is over:
// else a flood would make itself usual. At a place that is not known for days only little is learned, up to half a
// floor, so that a thief cannot train the account.
func (s *State) learn(w *sums, r *rateRules, trusted bool) {
	most := func(floor int64) int64 {
		if trusted {
			return maxCount * Micro
		}
		return floor / 2
	}
	for i := range w {
		s.today.all[i] = max(s.today.all[i], min(w[i][copies]*Micro, most(r.floors[i])))
	}
	for i, window := range newWindows {
		s.today.newOnes[i] = max(s.today.newOnes[i], min(w[window][fresh]*Micro, most(r.newFloors[i])))
	}
}

// turnPeaks lets the usual peaks decay, once for each day that began, and takes in those of the day that is over.
func (s *State) turnPeaks(r *rateRules, nowUS int64) {
	day := nowUS / dayUS
	for n := min(day-s.peakDay, 365); n > 0; n-- {
		for i := range s.usual.all {
			s.usual.all[i] = max(mul(s.usual.all[i], r.decay), s.today.all[i])
		}
		for i := range s.usual.newOnes {
			s.usual.newOnes[i] = max(mul(s.usual.newOnes[i], r.decay), s.today.newOnes[i])
		}
		s.today = peaks{}
	}
	s.turnHabit(day)
	s.peakDay = max(s.peakDay, day)
}
