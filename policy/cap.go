package policy

// caps are what a soft limit leaves in an hour and in 24 hours.
type caps struct {
	all, strangers [2]int64
}

// caps are those of the configuration or of an act by hand. At home, and with no evidence about the content, the
// account may send what it usually sends and a little more.
func (c *step) caps() (k caps) {
	k.all = [2]int64{c.p.capHour, c.p.capDay}
	if c.capHour > 0 {
		k.all = [2]int64{c.capHour, 24 * c.capHour}
	}
	k.strangers = k.all
	if c.capHour == 0 && !c.j.tainted && (c.j.trust == home || c.j.trust == cold) {
		usual := c.usual
		if c.bulk != nil {
			usual.all = c.bulk.peaks
		}
		for i, w := range newWindows {
			k.all[i] = max(k.all[i], mul(c.p.headroom, usual.all[w])/Micro)
			k.strangers[i] = max(k.strangers[i], mul(c.p.headroom, usual.newOnes[i])/Micro)
		}
	}
	return k
}

// half are the caps while something that should judge is down.
func (k caps) half() caps {
	for i := range k.all {
		k.all[i] = max(k.all[i]/2, 1)
		k.strangers[i] = max(k.strangers[i]/2, 1)
	}
	return k
}

// capMet is the cap that the counts are over, or nil; missing says that only what could not be judged put it so low.
func (c *step) capMet() (met *Limit, missing bool) {
	whole := c.caps()
	met = whole.met(&c.j.sums)
	if met != nil || c.e.Degraded&(NoFilter|NoStore) == 0 {
		return met, false
	}
	met = whole.half().met(&c.j.sums)
	return met, met != nil
}

// met is the first cap that the counts are over, or nil.
func (k caps) met(w *sums) *Limit {
	for i, window := range newWindows {
		if n := w[window][copies]; n > k.all[i] {
			return &Limit{Reason: ReasonSoftLimit, Count: n, Max: k.all[i]}
		}
		if n := w[window][fresh]; n > k.strangers[i] {
			return &Limit{Reason: ReasonSoftLimit, Count: n, Max: k.strangers[i]}
		}
	}
	return nil
}
