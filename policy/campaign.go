package policy

// printCount is how many bodies an account is remembered by.
const printCount = 32

// maxPrint is the most that is counted of one body; it bounds the encoding.
const maxPrint = 1<<14 - 1

// print is one body: its fingerprint and how many recipients had it.
type print struct {
	id          uint64 // 0: an empty place
	firstHour   uint32 // of first use, hours since 1970
	lastMinute  uint32 // of last use, minutes since 1970
	days        uint8  // days it was used on, up to 255
	times       uint8  // messages with it, up to 255
	stopped     bool   // the account was suspended while it was a campaign, and then forgiven
	all, strang pair   // recipients in the hour, and those that were new
	dayAll      pair   // in 24 hours
	dayStrang   pair
}

// pair counts in two fixed spans; together they approximate a rolling one.
type pair struct{ now, before uint16 }

func (p *pair) add(n int64) { p.now = uint16(min(int64(p.now)+n, maxPrint)) }

// rolling is the count of the last span, when gone of a span's length has passed since now began: what was counted
// before is taken to have come evenly.
func (p pair) rolling(gone, length int64) int64 {
	return int64(p.now) + int64(p.before)*(length-gone)/length
}

func (p *pair) turn(steps int64) {
	switch {
	case steps <= 0:
	case steps == 1:
		*p = pair{before: p.now}
	default:
		*p = pair{}
	}
}

// turn moves the spans on from the last use to nowUS.
func (p *print) turn(nowUS int64) {
	lastUS := int64(p.lastMinute) * minuteUS
	hours, days := nowUS/hourUS-lastUS/hourUS, nowUS/dayUS-lastUS/dayUS
	p.all.turn(hours)
	p.strang.turn(hours)
	p.dayAll.turn(days)
	p.dayStrang.turn(days)
	if nowUS > lastUS {
		p.lastMinute = uint32(nowUS / minuteUS)
	}
}

// use counts one message of the body.
func (p *print) use(nowUS, recipients, strangers int64) {
	day := nowUS / dayUS
	if p.days == 0 || int64(p.lastMinute)*minuteUS/dayUS != day {
		p.days = uint8(min(int(p.days)+1, 255))
	}
	p.times = uint8(min(int(p.times)+1, 255))
	p.turn(nowUS)
	p.all.add(recipients)
	p.strang.add(strangers)
	p.dayAll.add(recipients)
	p.dayStrang.add(strangers)
}

// template says that the body has been in use for long enough and on more than one day.
func (p *print) template(nowUS int64, r *contentRules) bool {
	return p.days > 1 && !p.stopped && nowUS-int64(p.firstHour)*hourUS >= r.templateUS
}

// seen finds or makes the print of a body. The place of the one that was used on the fewest days is taken, and of
// these that of the longest unused.
func (s *State) seen(id uint64, nowUS int64) *print {
	worst := &s.prints[0]
	for i := range s.prints {
		p := &s.prints[i]
		if p.id == id {
			return p
		}
		if p.before(worst) {
			worst = p
		}
	}
	*worst = print{id: id, firstHour: uint32(nowUS / hourUS), lastMinute: uint32(nowUS / minuteUS)}
	return worst
}

// before says that p is forgotten before q. Old templates give way in the end: each unused day counts as one less.
func (p *print) before(q *print) bool {
	if p.id == 0 || q.id == 0 {
		return p.id == 0 && q.id != 0
	}
	if a, b := p.worth(), q.worth(); a != b {
		return a < b
	}
	return p.lastMinute < q.lastMinute
}

func (p *print) worth() int64 {
	w := int64(p.lastMinute) + int64(p.days-min(p.days, 1))*24*60
	if p.stopped {
		w += 30 * 24 * 60
	}
	return w
}
