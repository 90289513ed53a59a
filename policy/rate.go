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

// limit is where a count is full evidence: the greater of its floor and a multiple of the account's own peak.
func (r *rateRules) limit(floor, peak, times, den int64) int64 {
	own := mul(r.multiple, min(peak, maxLimit))
	return min(max(floor, own)*times/den, maxLimit)
}

// over is the evidence of a count (micro-copies) beside its limit.
func (r *rateRules) over(count, limit int64) int64 {
	return ramp(count, mul(r.onset, limit), limit)
}

// newWindows are the windows in which new recipients are judged.
var newWindows = [2]int{windowHour, windowDay}

// rate measures volume in every window, and new recipients.
func (j *judgement) rate(s *State, r *rateRules, b *bulk, room room) {
	peaks := s.peaks
	if b != nil {
		peaks = b.peaks
	}
	for w := range windowCount {
		c := &j.sums[w]
		strangers := min(c[fresh], c[copies])
		weighed := (strangers+c[tried])*Micro + (c[copies]-strangers)*r.knownPart
		limit := r.limit(r.floors[w], peaks[w], 1, room.den)
		j.pieces[volume].keep(measure{
			value: r.over(weighed, limit), raw: c[copies] + c[tried], usual: peaks[w] / Micro, limit: limit / Micro,
			windowUS: windowLengthUS[w],
		})
	}
	for i, w := range newWindows {
		count, limit := j.sums[w][fresh], r.limit(r.newFloors[i], s.newPeak[i], room.strangers, room.den)
		j.pieces[newcomers].keep(measure{
			value: r.over(count*Micro, limit), raw: count, usual: s.newPeak[i] / Micro, limit: limit / Micro,
			windowUS: windowLengthUS[w],
		})
	}
}

// learn raises the account's own peaks to what it sent just now.
func (s *State) learn(w *sums) {
	for i := range w {
		s.peaks[i] = max(s.peaks[i], min(w[i][copies], maxCount)*Micro)
	}
	for i, window := range newWindows {
		s.newPeak[i] = max(s.newPeak[i], min(w[window][fresh], maxCount)*Micro)
	}
}

// forgetPeaks lets the peaks decay, once for each day that began.
func (s *State) forgetPeaks(r *rateRules, nowUS int64) {
	day := nowUS / dayUS
	for range min(day-s.peakDay, 365) {
		for i := range s.peaks {
			s.peaks[i] = mul(s.peaks[i], r.decay)
		}
		for i := range s.newPeak {
			s.newPeak[i] = mul(s.newPeak[i], r.decay)
		}
	}
	s.peakDay = max(s.peakDay, day)
}
