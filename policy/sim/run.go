package sim

import (
	"cmp"
	"slices"

	"github.com/mairust/mairust/policy"
)

// HonestRun is what became of one honest account in the days after the warm-up.
type HonestRun struct {
	Behaviour string
	// Days it was there; Soft and Hard how often it was limited or suspended, and Refused whether that cost it a
	// recipient.
	Days       int
	Soft, Hard int
	Refused    int
	Sent       int
	// Plain is the number of days on which the policy's plain limits refused something, Fixed that on which fixed limits
	// did.
	Plain, Fixed int
	// Why is the explanation of the first stop.
	Why *policy.Explanation
}

// runHonest lives through warm-up and watched days.
func runHonest(o Options, e engines, i int) HonestRun {
	a := newHonest(o, i)
	g := &engine{p: e.shadow, account: a.account(i), blind: o.NoCountries}
	r := HonestRun{Behaviour: Behaviours[a.behaviour].Name, Days: o.Days - max(a.firstDay-o.Warmup, 0)}
	cut := start + int64(o.Warmup)*day
	early := a.live(0, o.Warmup)
	deliver(g, early, func(*letter, outcome) {})
	g.p, g.soft, g.hard, g.reason, g.plain = e.enforce, 0, 0, nil, map[int64]bool{}
	mail := a.live(o.Warmup, o.Warmup+o.Days)
	again := slices.Clone(mail) // retries change it
	deliver(g, mail, func(_ *letter, x outcome) {
		r.Sent += x.sent
		r.Refused += x.refused
	})
	r.Soft, r.Hard, r.Why, r.Plain = g.soft, g.hard, g.reason, len(g.plain)
	f := newFixed(g.account)
	days := map[int64]bool{}
	deliver(f, early, func(*letter, outcome) {})
	deliver(f, again, func(l *letter, x outcome) {
		if x.refused > 0 && l.at >= cut {
			days[(l.at-start)/day] = true
		}
	})
	r.Fixed = len(days)
	return r
}

// newFixed are the plain limits of the spec, with which a bulk profile is free of them up to its rate.
func newFixed(a policy.Account) *fixed {
	if a == bulkAccount {
		return &fixed{perHour: 5000, perDay: 120_000}
	}
	return &fixed{perHour: 200, perDay: 1000}
}

// deliver sends letters in order, those that were refused for now again later, and tells of each.
func deliver(j judge, mail []letter, tell func(*letter, outcome)) {
	var q bounces
	var waiting []letter
	for len(mail) > 0 || len(waiting) > 0 {
		var l letter
		if len(waiting) > 0 && (len(mail) == 0 || waiting[0].at < mail[0].at) {
			l, waiting = waiting[0], waiting[1:]
		} else {
			l, mail = mail[0], mail[1:]
		}
		q.report(j, l.at)
		x := send(j, &l, &q)
		tell(&l, x)
		if x.last == later && x.sent == 0 && l.tries > 0 {
			l.tries--
			l.at += l.wait
			k, _ := slices.BinarySearchFunc(waiting, l.at, func(w letter, at int64) int { return cmp.Compare(w.at, at) })
			waiting = slices.Insert(waiting, k, l)
		}
	}
	q.report(j, 1<<62)
}

// AttackRun is what became of one attack within 24 hours.
type AttackRun struct {
	Family string
	// Leaked recipients with the engine, and with fixed limits.
	Leaked, Fixed int
	// Limited and Suspended say what the engine did; Corroborated that there was a second kind of evidence to find.
	Limited, Suspended, Corroborated bool
	// Own says that it came from the victim's own network.
	Own bool
	// Hidden says that nothing in it differs from the victim's own mail.
	Hidden bool
	// Victim is the behaviour of the account that was stolen.
	Victim string
	// Minutes from the first message to the limit or the suspension, whichever came first; -1 if neither did.
	Minutes int64
	Why     *policy.Explanation
}

// runAttack lets an honest account live through the warm-up, and then steals it. Its owner goes on meanwhile.
func runAttack(o Options, e engines, f Family, i int) AttackRun {
	a := newHonest(o, 10_000_000+i)
	a.firstDay = 0
	if Behaviours[a.behaviour].Name == "newsletter with a profile" && a.chance(0.7) {
		a.behaviour = 0 // an account of its kind is rarer than its part here
	}
	early := a.live(0, o.Warmup)
	v := newThief(a, f, start+int64(o.Warmup)*day+a.Int64N(day))
	r := AttackRun{Family: f.Name, Corroborated: v.corroborated(), Own: v.own(), Hidden: v.hidden(), Victim: Behaviours[a.behaviour].Name, Minutes: -1}

	g := &engine{p: e.shadow, account: a.account(i), blind: o.NoCountries}
	deliver(g, early, func(*letter, outcome) {})
	g.p, g.soft, g.hard, g.softAt, g.hardAt, g.reason = e.enforce, 0, 0, 0, 0, nil
	r.Leaked = v.steal(g, a.dice)
	r.Limited, r.Suspended, r.Why = g.soft+g.hard > 0, g.hard > 0, g.reason
	if first := firstOf(g.softAt, g.hardAt); first > 0 {
		r.Minutes = (first - v.begin) / minute
	}

	fx := newFixed(g.account)
	deliver(fx, early, func(*letter, outcome) {})
	r.Fixed = v.steal(fx, a.dice)
	return r
}

func firstOf(a, b int64) int64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
