package policy

// refused are the recipients that a soft limit refused in a day, as a Bloom filter: one that is tried again is no new
// demand. The first 200 are told apart all but surely; beyond it counts too few, never too many.
type refused struct {
	words   [refusedBits / 64]uint64
	sinceUS int64 // of the first one; 0: none
	// again are those of transactions that began when the limit held already and had nothing accepted: not the rest of a
	// message that was too long.
	again int64
}

const refusedBits = 1 << 11

// turn begins a new day of refusals.
func (r *refused) turn(nowUS int64) {
	if r.sinceUS != 0 && nowUS-r.sinceUS >= dayUS {
		*r = refused{}
	}
}

// refuseAll counts recipients that a soft limit refused, each once in a day; again says that the transaction began after that
// limit and is not one that was accepted in part.
func (c *step) refuseAll(recipients []uint64, again bool) {
	var n int64
	for _, hash := range recipients {
		if hasBits(c.refused.words[:], hash) {
			continue
		}
		addBits(c.refused.words[:], hash)
		n++
	}
	if n == 0 {
		return
	}
	if c.refused.sinceUS == 0 {
		c.refused.sinceUS = c.now
	}
	c.windows.add(tried, n)
	if again {
		c.refused.again = min(c.refused.again+n, maxCount)
	}
}

// triedAgain says that a soft limit has refused every recipient of the message before.
func (c *step) triedAgain() bool {
	for _, hash := range c.e.Recipients {
		if !hasBits(c.refused.words[:], hash) {
			return false
		}
	}
	return true
}

// persists measures how many more recipients were tried although a soft limit held. People try the same message again, or
// leave it; who works through a list goes on to the next. At home it says nothing: there an account has its ordinary work to
// do, and the cap is in the way of that.
func (j *judgement) persists(s *State, p *Policy) {
	n := s.refused.again
	m := measure{raw: n, limit: p.content.persistFull, windowUS: dayUS}
	m.value = ramp(n, p.content.persistFrom, p.content.persistFull)
	if !j.tainted {
		m.value = mul(m.value, min(j.pieces[newPlace].value*Micro/max(p.history.newPlace, 1), Micro))
	}
	j.pieces[persistence] = m
}

// overrun measures what an account wants beside what a soft limit and its own peak leave, at a new place or when it is limited,
// or suspended, with evidence about the content: twice as much is full evidence. The floors are too wide there. A limited day has room for
// both, the burst that led to the limit and an ordinary day's work. In a new country a peak that was reached at home counts for
// no more than twice the cap. A limited account at home is not measured by its cap, or the limit would keep itself alive.
func (j *judgement) overrun(s *State, p *Policy, b *bulk) {
	limited, strange := s.level >= soft, j.trust == unsure
	bad := limited && j.tainted
	profiled := b != nil && !limited // the rate of a profile holds anywhere until something else speaks against it
	if !bad && (!strange || profiled) {
		return
	}
	usual := s.usual.all
	if b != nil && !j.foreign {
		usual = b.peaks
	}
	caps := [2]int64{max(p.capHour, s.capHour) * Micro, max(p.capDay, 24*s.capHour) * Micro}
	for i, w := range newWindows {
		c, own := &j.sums[w], usual[w]
		if j.foreign {
			own = min(own, 2*caps[i])
		}
		limit := max(caps[i], own)
		if limited && w == windowDay {
			limit = caps[i] + own
		}
		j.pieces[volume].keep(measure{
			value: ramp((c[copies]+c[tried])*Micro, limit, 2*limit), raw: c[copies] + c[tried], usual: usual[w] / Micro,
			limit: 2 * limit / Micro, windowUS: windowLengthUS[w],
		})
	}
}
