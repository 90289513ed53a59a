package policy

// Decision is what Decide made of an event.
type Decision struct {
	// Action is what the sender meets.
	Action Action
	// Would is what Action would be in mode enforce; it differs only in shadow.
	Would Action
	// Shadow says that Would was suppressed.
	Shadow bool
	// Reason says why the message was not allowed (or would not be).
	Reason Reason
	// Before and After are the account's levels, as far as they take effect in this mode.
	Before, After Level
	// WouldLevel is After in mode enforce.
	WouldLevel Level
	// Notice says what an administrator should be told.
	Notice Notice
	// Score is the account's score after the event, in millionths.
	Score int64
	// New is how many of the event's recipients the account never wrote to before.
	New int64
	// Seq is the number of this event in the account's life: 1 and up without gaps. 0 when the state did not change.
	Seq uint64
	// Explanation is there at each end of a message, each refusal and each change of level, else nil.
	Explanation *Explanation
}

// Reason says which rule refused; empty when none did.
type Reason string

// The reasons.
const (
	ReasonNone            Reason = ""
	ReasonSuspended       Reason = "suspended"
	ReasonDomainSuspended Reason = "domain_suspended"
	ReasonSoftLimit       Reason = "soft_limit"
	ReasonUserHour        Reason = "user_per_hour"
	ReasonUserDay         Reason = "user_per_day"
	ReasonDomainHour      Reason = "domain_per_hour"
	ReasonTenantHour      Reason = "tenant_per_hour"
	ReasonProfile         Reason = "profile_max_rate"
)

// Notice is a change that somebody should hear of.
type Notice string

// The notices.
const (
	NoticeNone           Notice = ""
	NoticeSoftLimit      Notice = "soft_limit"
	NoticeSuspended      Notice = "suspended"
	NoticeUncorroborated Notice = "uncorroborated" // over the hard threshold, but on one kind of evidence only
	NoticeReenabled      Notice = "reenabled"      // by time, to the soft limit
	NoticeNormal         Notice = "normal"         // after the clean hours
)

// Decide applies e to s at nowUS (µs since 1970). It changes nothing but what it returns; a zero State is an
// account that nothing is known of. A nowUS up to ten minutes before the state's last one counts as that one, since the
// clocks of nodes differ; one before that means that a clock was ahead, and the state goes on at nowUS with what it had
// counted. One before 1971 counts as 1971. Calls may run at once.
func Decide(s State, e Event, p *Policy, nowUS int64) (Decision, State) {
	c := step{State: s, e: e.bounded(), p: p, now: s.present(nowUS), mode: e.Mode, bulk: p.bulk(e.Tenant, e.Account)}
	if c.mode == "" {
		c.mode = p.Mode(e.Tenant, e.Account)
	}
	c.begin()
	switch e.Kind {
	case KindMail:
		c.mail()
	case KindReserve:
		c.reserve()
	case KindRefused, KindBounce:
		c.undeliverable()
	case KindCommit:
		c.commit()
	case KindRelease:
		c.release()
	case KindStop, KindReenable, KindSetLevel, KindLearnLevel:
		c.byPerson()
	}
	return c.end(), c.State
}

// step is one call of Decide. It holds the state itself, so that nothing of it is allocated.
type step struct {
	State
	e    Event
	p    *Policy
	now  int64
	mode Mode
	bulk *bulk

	d      Decision
	j      judgement
	judged bool
	limit  *Limit
	// missing says that a cap refused only because something that should judge is down.
	missing bool
}

// begin brings the state to now: windows move on, reservations and levels run out.
func (c *step) begin() {
	c.seq++
	if c.firstUS == 0 && c.e.Kind <= KindCommit {
		c.firstUS = c.now
		c.peakDay = c.now / dayUS
	}
	if c.now < c.lastUS {
		c.setBack(c.now)
	}
	c.lastUS = c.now
	c.turn(c.now)
	c.turnPeaks(&c.p.rate, c.now)
	if c.shadow && c.mode == Enforce {
		c.standing = standing{breachUS: c.breachUS, strikeUS: c.strikeUS, strikes: c.strikes}
	}
	c.d = Decision{Action: Allow, Would: Allow, Before: c.effective(), Seq: c.seq}
	c.passTime()
}

// effective is the level as far as it holds in the mode in force.
func (c *step) effective() Level {
	if c.mode == Enforce || c.mode == Shadow && c.byHand {
		return levels[c.level]
	}
	return Normal
}

// end completes the decision.
func (c *step) end() Decision {
	d := &c.d
	d.After, d.WouldLevel = c.effective(), levels[c.level]
	d.Score = c.j.score
	d.Shadow = d.Action != d.Would
	if d.Would != Allow || d.Before != d.After || d.Notice != NoticeNone || c.e.Kind == KindCommit {
		if !c.judged {
			c.judge()
		}
		d.Score = c.j.score
		d.Explanation = c.explain()
	}
	return *d
}

// judge weighs the evidence as it is now.
func (c *step) judge() {
	c.j = c.State.judge(c.p, c.bulk, c.now)
	c.judged = true
}

// refuse sets what the sender meets, or in shadow what he would meet. It is true when it takes effect.
func (c *step) refuse(a Action, why Reason, byHand bool) bool {
	if c.d.Would == Allow {
		c.d.Would, c.d.Reason = a, why
	}
	if c.mode == Enforce || byHand && c.mode == Shadow {
		c.d.Action = a
		return true
	}
	return false
}

// stopped refuses when the account or its domain is suspended.
func (c *step) stopped() bool {
	switch {
	case c.mode == Off:
		return false
	case c.e.Scope.DomainStopped:
		return c.refuse(RefuseSuspended, ReasonDomainSuspended, true)
	case c.level == hard:
		return c.refuse(RefuseSuspended, ReasonSuspended, c.byHand)
	}
	return false
}
