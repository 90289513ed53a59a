package policy

// The factors.
const (
	rateFactor = iota
	contentFactor
	historyFactor
	factorCount
)

var factorNames = [factorCount]string{"rate", "content", "history"}

// The pieces of evidence, in the order of their factors.
const (
	volume = iota
	newcomers
	spam
	campaign
	repeat
	invalidShare
	newlist
	persistence
	listedURL
	malware
	newPlace
	strikes
	oddHour
	pieceCount
)

// piece describes a piece of evidence to readers.
type pieceInfo struct {
	name   string
	factor int
	unit   string
}

var pieces = [pieceCount]pieceInfo{
	volume:       {"volume", rateFactor, "recipients"},
	newcomers:    {"new", rateFactor, "recipients"},
	spam:         {"spam", contentFactor, "score"},
	campaign:     {"campaign", contentFactor, "recipients"},
	repeat:       {"repeat", contentFactor, "recipients"},
	invalidShare: {"invalid", contentFactor, "share"},
	newlist:      {"newlist", contentFactor, "share"},
	persistence:  {"persistence", contentFactor, "recipients"},
	listedURL:    {"url", contentFactor, "messages"},
	malware:      {"malware", contentFactor, "messages"},
	newPlace:     {"place", historyFactor, "places"},
	strikes:      {"strikes", historyFactor, "breaches"},
	oddHour:      {"hour", historyFactor, "share"},
}

// measure is one piece of evidence: its value in millionths, and where it comes from.
type measure struct {
	value             int64
	raw, usual, limit int64
	windowUS          int64
	print             uint64
}

// keep takes m when it is stronger, or the first that was measured.
func (old *measure) keep(m measure) {
	if m.value > old.value || old.value == 0 && m.raw > old.raw {
		*old = m
	}
}

// Trust in the place, which decides how much room there is for strangers.
const (
	away   uint8 = iota // neither new nor known for days, or not known at all
	home                // known for days
	unsure              // new
	cold                // too little history of the account to say
	doubt               // the content speaks against the account, wherever it is
)

var trustNames = [...]string{away: "away", home: "home", unsure: "new", cold: "cold", doubt: "doubt"}

// judgement is what the evidence comes to at one moment.
type judgement struct {
	now     int64
	sums    sums
	pieces  [pieceCount]measure
	factors [factorCount]int64
	score   int64
	trust   uint8
	atHome  bool // the current place is known for days, whatever else there is
	cold    bool
	known   bool // history enough to call a place new
	scatter bool // many places at once
	foreign bool // more than a new network in a known country
	where   whereabouts
	// second are the second kinds of evidence; tainted are those of them that are about content.
	second  [pieceCount]bool
	tainted bool
}

// judge weighs what s knows at nowUS; b is the bulk profile, or nil.
func (s *State) judge(p *Policy, b *bulk, nowUS int64) judgement {
	j := judgement{now: nowUS, sums: s.windows.sums()}
	j.history(s, &p.history)
	j.facts(s, &p.content)
	j.corroborate(p.corroboration, s.wandering(&p.history) >= Micro/2, p.history.newNetwork)
	j.trustIn(s, &p.history)
	room := p.room(j.trust, j.scatter, b)
	j.rate(s, p, b, room)
	j.campaigns(s, &p.content, room)
	j.newlist(s, p, room)
	j.persists(s, p)
	j.add(p)
	return j
}

// add makes factors and score of the pieces.
func (j *judgement) add(p *Policy) {
	v := func(i int) int64 { return j.pieces[i].value }
	j.factors[rateFactor] = nor(v(volume), mul(p.rate.newWeight, v(newcomers)))
	j.factors[contentFactor] = nor(v(spam), v(malware), v(listedURL), v(repeat), v(invalidShare), v(persistence),
		mul(p.content.campaignWeight, v(campaign)), mul(p.content.newlistWeight, v(newlist)))
	j.factors[historyFactor] = nor(v(newPlace), v(strikes), v(oddHour))
	for i, f := range j.factors {
		j.score += mul(p.weights[i], f)
	}
}

// corroborate finds the second kinds of evidence. A new network is none for an account that changes networks as a habit
// (wanders); a new country is.
func (j *judgement) corroborate(least int64, wanders bool, newNetwork int64) {
	for _, i := range []int{spam, malware, listedURL, repeat, invalidShare} {
		j.second[i] = j.pieces[i].value > 0 && j.pieces[i].value >= least
		j.tainted = j.tainted || j.second[i]
	}
	j.foreign = j.pieces[newPlace].value > newNetwork
	j.second[newPlace] = j.pieces[newPlace].value > 0 && (!wanders || j.foreign) // however little a new network weighs to others
}

func (j *judgement) corroborated() bool { return j.tainted || j.second[newPlace] }

// room scales limits by num/den.
type room struct {
	strangers [2]int64 // multiple for new recipients and campaigns, in an hour and in a day
	den       int64    // divides every limit
}

func (p *Policy) room(trust uint8, scatter bool, b *bulk) room {
	r := room{strangers: [2]int64{1, 1}, den: 1}
	switch trust {
	case home:
		r.strangers = [2]int64{p.content.homeMultiple, p.content.homeDayMultiple}
	case cold:
		r.strangers = [2]int64{p.content.coldMultiple, p.content.coldMultiple}
	case away:
		r.strangers = [2]int64{p.content.awayMultiple, p.content.awayMultiple}
	}
	if b != nil && (trust == home || trust == cold) {
		for i := range r.strangers {
			r.strangers[i] = max(r.strangers[i], b.room)
		}
	}
	if scatter {
		r.den = 2
	}
	return r
}
