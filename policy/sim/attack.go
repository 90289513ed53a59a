package sim

import (
	"slices"

	"github.com/mairust/mairust/policy"
)

// Families are the kinds of attacks.
var Families = []Family{
	{"fast spam blast", true, false, func(t *thief) {
		t.fast()
		t.spam, t.spread = t.normal(9, 2.5), 2
		t.invalid = 0.05 + 0.2*t.Float64()
		t.from(0.05)
	}},
	{"50-recipient BCC", true, false, func(t *thief) {
		t.size, t.gap = 50, t.span(2*second, 40*second)
		t.spam, t.spread = t.normal(3.5, 3), 1.5
		t.invalid = 0.03 + 0.12*t.Float64()
		t.from(0.05)
	}},
	{"clean phishing blast", true, false, func(t *thief) {
		t.fast()
		t.spam, t.spread = t.normal(0.5, 0.8), 0.8
		t.invalid = 0.02 + 0.1*t.Float64()
		t.from(0.05)
	}},
	{"blast after a test message", true, false, func(t *thief) {
		t.fast()
		t.spam, t.spread = t.normal(3, 3), 1.5
		t.invalid = 0.03 + 0.15*t.Float64()
		t.from(0)
		t.rest = t.span(20*minute, 48*hour)
	}},
	{"blast through a broken web form", true, false, func(t *thief) {
		t.fast()
		t.spam, t.spread = t.normal(8, 2.5), 2
		t.invalid = 0.05 + 0.2*t.Float64()
		t.places = t.victim.homes[:1]
	}},
	{"slow, from many countries", false, false, func(t *thief) {
		t.slow()
		t.spam, t.spread = t.normal(3, 2.5), 1.5
		t.invalid = 0.02 + 0.12*t.Float64()
		t.places = t.countries(t.between(6, 40))
		t.variants = t.between(1, 50)
	}},
	{"known contacts only", false, false, func(t *thief) {
		t.knownOnly = true
		t.spam, t.spread = t.normal(0.5, 1), 1
		t.size, t.gap = []int{1, 1, 20}[t.IntN(3)], t.span(second, minute)
		t.from(0.05)
	}},
	{"unique clean text from the home country", false, false, func(t *thief) {
		t.slow()
		t.spam, t.spread = t.normal(0.3, 0.5), 0.7
		t.invalid = 0.01 + 0.08*t.Float64()
		t.variants = 1 << 30
		t.places = []policy.Place{t.victim.network(japan)}
		if t.chance(0.4) {
			t.places = t.victim.homes[:1]
		}
	}},
	{"answers to known contacts, each its own text", false, true, func(t *thief) {
		t.knownOnly = true
		t.spam, t.spread = t.normal(0.5, 0.8), 0.8
		t.gap = t.span(30*second, 6*minute)
		t.variants = 1 << 30
		t.from(0.05)
	}},
	{"mixture of all of these", false, false, func(t *thief) {
		if t.chance(0.5) {
			t.fast()
		} else {
			t.slow()
		}
		t.spam, t.spread = t.normal(2.5, 3), 1.5
		t.invalid = 0.15 * t.Float64()
		t.variants = []int{1, 20, 1 << 30}[t.IntN(3)]
		t.knownShare = []float64{0, 0, 0.3, 0.7}[t.IntN(4)]
		t.from(0.1)
		if t.chance(0.3) {
			t.places = t.countries(t.between(3, 12))
		}
		if t.chance(0.2) {
			t.rest = t.span(20*minute, 30*hour)
		}
	}},
}

// Family is a kind of attack.
type Family struct {
	Name string
	// Blast says that it is fast.
	Blast bool
	// Extra says that it is harder than what the targets were set for, and measured beside them.
	Extra bool
	setup func(t *thief)
}

// thief sends from a stolen account.
type thief struct {
	dice
	victim *honest
	begin  int64
	size   int   // recipients of a message
	gap    int64 // between messages
	spam   float64
	spread float64
	// invalid is the part of addresses that do not exist, knownShare that of the victim's contacts.
	invalid, knownShare float64
	knownOnly           bool
	places              []policy.Place
	variants            int   // of the text
	known               int   // contacts that were used
	rest                int64 // between a test message and the attack
	seed                uint64
}

func newThief(a *honest, f Family, begin int64) *thief {
	t := &thief{dice: a.dice, victim: a, begin: begin, size: 1, variants: 1, seed: a.Uint64()}
	f.setup(t)
	t.spam = max(t.spam, -2)
	return t
}

// fast is 10 to 600 recipients a minute.
func (t *thief) fast() {
	t.size = []int{1, 1, t.between(2, 10), t.between(10, 30)}[t.IntN(4)]
	t.gap = int64(t.size) * t.span(second/10, 6*second)
}

// slow is 4 to 60 recipients an hour.
func (t *thief) slow() {
	t.size = []int{1, 1, 1, t.between(2, 4)}[t.IntN(4)]
	t.gap = int64(t.size) * t.span(minute, 15*minute)
}

// from puts the attack into a country far away, rarely into the home country or, with the chance given, into the
// victim's own network.
func (t *thief) from(own float64) {
	switch x := t.Float64(); {
	case x < own:
		t.places = t.victim.homes[:1]
	case x < own+0.2:
		t.places = []policy.Place{t.victim.network(japan)}
	default:
		t.places = t.countries(1)
	}
}

func (t *thief) countries(n int) []policy.Place {
	names := []string{"NG", "BR", "RU", "VN", "IN", "UA", "ID", "TR", "PK", "MX", "ZA", "IR", "RO", "TH", "EG"}
	var list []policy.Place
	for range n {
		list = append(list, t.victim.network(names[t.IntN(len(names))]))
	}
	return list
}

// corroborated says that there is a second kind of evidence: a strange place, spam, or addresses that do not exist.
func (t *thief) corroborated() bool {
	return !t.own() || t.spam >= 5 || t.invalid >= 0.12 && !t.knownOnly
}

// own says that the attack comes from the victim's own network.
func (t *thief) own() bool {
	return len(t.places) == 1 && slices.Contains(t.victim.homes, t.places[0])
}

// hidden says that nothing in the attack differs from the victim's own mail: from the own network to the own contacts.
func (t *thief) hidden() bool { return t.own() && t.knownOnly }

// patience is how long a thief waits after a temporary refusal.
const patience = 2 * minute

// steal sends for 24 hours, or until the account is stopped, and gives the recipients that were reached. The same
// attack goes through every judge: its randomness is its own.
func (t *thief) steal(j judge, _ dice) (leaked int) {
	t.dice, t.known = newDice(t.seed, 0), 0
	var q bounces
	at := t.begin
	if t.rest > 0 {
		l := t.letter(at, 1)
		l.bad, l.spam = nil, 0
		leaked += send(j, &l, &q).sent
		at += t.rest
	}
	end := at + day
	contacts := slices.Clone(t.victim.contacts)
	for at < end {
		n := t.size
		if t.knownOnly {
			if n = min(n, len(contacts)); n == 0 {
				break
			}
		}
		l := t.letter(at, n)
		if t.knownOnly {
			l.to, contacts = contacts[:n], contacts[n:]
		}
		q.report(j, at)
		x := send(j, &l, &q)
		leaked += x.sent
		at += t.gap + int64(n)*20_000
		switch x.last {
		case never:
			return leaked
		case later:
			at += patience
		}
	}
	return leaked
}

func (t *thief) letter(at int64, n int) letter {
	l := letter{at: at, place: t.places[t.IntN(len(t.places))], spam: t.normal(t.spam, t.spread), known: true}
	l.print = mix(t.seed + uint64(t.IntN(t.variants)))
	l.bad = make([]int64, n)
	for i := range n {
		who := t.Uint64()
		l.bad[i] = -1
		switch {
		case t.knownOnly:
		case t.chance(t.knownShare) && t.known < len(t.victim.contacts):
			who = t.victim.contacts[t.known]
			t.known++
		case t.chance(t.invalid):
			l.bad[i] = t.span(second, 3*minute)
		}
		l.to = append(l.to, who)
	}
	return l
}
