package policy

import "time"

// passTime ends what has run its time: a suspension to a soft limit, a soft limit at its end or else after its clean hours.
func (c *step) passTime() {
	if c.level == hard && c.runsOut() {
		c.put(soft)
		c.d.Notice = NoticeReenabled
	}
	if c.level == soft && c.limitEnds() {
		c.put(normal)
		c.d.Notice = NoticeNormal
	}
}

// limitEnds says that a soft limit ends by itself.
func (c *step) limitEnds() bool {
	if c.untilUS > 0 {
		return c.now >= c.untilUS
	}
	return c.now-max(c.breachUS, c.levelUS) >= c.p.cleanUS
}

// runsOut says that a suspension ends by itself. In shadow, where nobody releases, one ends as a soft limit does.
func (c *step) runsOut() bool {
	switch {
	case c.untilUS > 0:
		return c.now >= c.untilUS
	case c.byHand:
		return false
	case c.shadow:
		return c.now-max(c.breachUS, c.levelUS) >= c.p.cleanUS
	}
	return c.p.reenableUS > 0 && c.now-c.levelUS >= c.p.reenableUS
}

// put sets a level by an automatic decision.
func (c *step) put(level uint8) {
	c.level, c.levelUS = level, c.now
	c.byHand, c.shadow = false, c.mode != Enforce
	c.untilUS, c.capHour = 0, 0
}

// weigh changes the level as the score wants it. Only what was sent suspends, or what goes on against a soft limit
// (sent): a first reservation, whose content nobody knows, leads no further than to a soft limit.
func (c *step) weigh(sent bool) {
	if c.mode == Off {
		return
	}
	score := c.j.score
	if score < c.p.soft {
		return
	}
	c.breach()
	if c.byHand && c.mode == Shadow {
		return // what is only recorded must not replace what a person set
	}
	over := sent && score >= c.p.hard && c.p.suspend
	switch {
	case over && (c.j.corroborated() && !c.untold() || !c.p.corroborate) && c.level < hard:
		c.put(hard)
		c.d.Notice = NoticeSuspended
	case c.level < soft:
		c.put(soft)
		c.d.Notice = NoticeSoftLimit
	}
	if over && c.level == soft && !c.j.corroborated() && (c.noticedUS == 0 || c.now-c.noticedUS >= dayUS) {
		c.noticedUS = c.now
		c.d.Notice = NoticeUncorroborated
	}
}

// untold says that nothing speaks against the account but numbers and its place, and that it did not go on yet after a soft
// limit refused something. Its message is refused, but it is not suspended: a person stops here, a thief goes on.
func (c *step) untold() bool { return !c.j.tainted && c.refused.again == 0 }

// breach notes that the score is over the soft threshold, as a strike at most once in an hour.
func (c *step) breach() {
	c.breachUS = c.now
	if c.strikeUS != 0 && c.now-c.strikeUS < strikeEveryUS {
		return
	}
	c.strikes = min(c.strikesAt(c.now, &c.p.history)+Micro, 100*Micro)
	c.strikeUS = c.now
}

// overLimit refuses what is over a plain limit. A bulk profile has its own and no other.
func (c *step) overLimit() bool {
	if c.mode == Off {
		return false
	}
	w := &c.j.sums
	if b := c.bulk; b != nil {
		return c.over(ReasonProfile, w[b.window][copies], b.rate.Copies)
	}
	return c.over(ReasonUserHour, w[windowHour][copies], c.p.userHour) ||
		c.over(ReasonUserDay, w[windowDay][copies], c.p.userDay) ||
		c.over(ReasonDomainHour, c.e.Scope.DomainHour+1, c.p.domainHour) ||
		c.over(ReasonTenantHour, c.e.Scope.TenantHour+1, c.p.tenantHour)
}

// over refuses a count that is more than most.
func (c *step) over(why Reason, count, most int64) bool {
	if count <= most {
		return false
	}
	if c.d.Reason == ReasonNone {
		c.limit = &Limit{Reason: why, Count: count, Max: most}
	}
	return c.refuse(RefuseRate, why, false)
}

// overCap refuses what a soft limit has no room for, or holds it at the end of a message where that is configured;
// then nothing is refused before (pass).
func (c *step) overCap(pass bool) bool {
	if c.mode == Off || c.level != soft || pass {
		return false
	}
	tooFar := c.j.score >= c.p.hard && c.j.corroborated() && c.untold() && c.p.corroborate
	c.limit, c.missing = c.capMet()
	c.missing = c.missing && !tooFar
	if c.limit == nil && !tooFar {
		return false
	}
	if c.p.hold && c.e.Kind == KindCommit {
		c.refuse(Hold, ReasonSoftLimit, c.byHand)
		return false // it is sent, later and by an admin
	}
	return c.refuse(RefuseRate, ReasonSoftLimit, c.byHand)
}

// byPerson is an act of a person, or a level that another engine decided.
func (c *step) byPerson() {
	switch {
	case c.e.Kind == KindStop:
		c.put(hard)
		c.byHand, c.shadow, c.untilUS = true, false, c.e.UntilUS
	case c.e.Kind == KindReenable:
		c.forgive()
		if c.e.Level == Normal {
			c.put(normal)
			break
		}
		c.put(soft)
		c.capHour, c.untilUS = c.e.Cap, c.e.UntilUS
	case c.e.Level == HardLimit:
		c.put(hard)
		c.shadow, c.untilUS = false, c.e.UntilUS
	case c.e.Level == SoftLimit:
		c.put(soft)
		c.byHand, c.shadow, c.capHour, c.untilUS = c.e.Kind == KindSetLevel, false, c.e.Cap, c.e.UntilUS
	default:
		c.put(normal)
	}
	if c.e.SinceUS > 0 {
		c.levelUS = min(c.e.SinceUS, c.now)
	}
}

// LevelEvent gives another state of the account the level of s, as by hand or automatic as it is. A soft limit's clean hours go on
// from its last breach, which the other state need not know of.
func (s *State) LevelEvent() Event {
	e := Event{Kind: KindLearnLevel, Level: s.Level(), UntilUS: s.untilUS, Cap: s.capHour}
	switch {
	case s.byHand && s.level == hard:
		e.Kind = KindStop
	case s.byHand:
		e.Kind = KindSetLevel
	case s.level == soft:
		e.SinceUS = max(s.levelUS, s.breachUS)
	default:
		e.SinceUS = s.levelUS
	}
	return e
}

// CleanTime without a breach ends an automatic soft limit.
func (p *Policy) CleanTime() time.Duration { return time.Duration(p.cleanUS) * time.Microsecond }

// forgive forgets what spoke against the account, once: bodies that were campaigns are remembered, and the same
// campaign again is evidence by itself.
func (c *step) forgive() {
	for i := range c.prints {
		p := &c.prints[i]
		if p.id == 0 {
			continue
		}
		q := *p
		q.turn(c.now)
		if q.dayAll.rolling(c.now%dayUS, dayUS) >= c.p.content.newFrom && !q.template(c.now, &c.p.content) {
			p.stopped = true
		}
		p.all, p.strang, p.dayAll, p.dayStrang = pair{}, pair{}, pair{}, pair{}
	}
	c.windows = windows{}
	c.windows.turn(c.now)
	c.open = [reservationCount]reservation{}
	c.refused = refused{}
	c.scores, c.next = [scoreCount]spamScore{}, 0
	c.spamMinute, c.malwareMinute, c.urlMinute = 0, 0, 0
	c.strikes, c.strikeUS, c.breachUS, c.noticedUS = 0, 0, 0, 0
}
