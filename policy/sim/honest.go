package sim

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/mairust/mairust/policy"
)

// Behaviours are the kinds of honest accounts, with their part of all.
var Behaviours = []Behaviour{
	{"person in an office", 0.44, office},
	{"person who writes little", 0.18, light},
	{"sales, recruiting: many new recipients", 0.08, sales},
	{"person who travels and attends conferences", 0.06, traveller},
	{"person on mobile networks", 0.03, mobile},
	{"person behind a VPN with exits abroad", 0.02, tunnelled},
	{"person who now and then mails very many", 0.05, massMailer},
	{"owner of a mailing list", 0.03, listOwner},
	{"forwards all mail elsewhere", 0.02, forwarder},
	{"alerts and reports of machines", 0.04, alerts},
	{"shop: confirmations to ever new customers", 0.02, shop},
	{"newsletter with a profile", 0.02, newsletter},
	{"newsletter without a profile", 0.01, smallNewsletter},
}

// Behaviour makes the mail of a kind of honest account.
type Behaviour struct {
	Name  string
	Share float64
	days  func(a *honest, day int)
}

// honest is one honest account and its habits.
type honest struct {
	dice
	behaviour int
	contacts  []uint64
	next      uint64 // of hashes
	homes     []policy.Place
	busy      float64 // messages on a working day
	from, to  float64 // working hours, local
	prints    []uint64
	awayUntil int // day
	abroad    policy.Place
	exits     []policy.Place
	vacation  int // day it ends
	list      []uint64
	out       []letter
	firstDay  int
}

const japan = "JP"

func newHonest(o Options, i int) *honest {
	a := &honest{dice: newDice(o.Seed, i), next: uint64(i+1) << 40}
	a.behaviour = pick(a.Float64())
	for range 1 + a.IntN(3) {
		a.homes = append(a.homes, a.network(japan))
	}
	a.busy = math.Exp(a.normal(2.2, 0.6))
	a.from = a.normal(9, 1)
	a.to = a.from + a.normal(9, 1)
	a.meet(a.between(15, 200))
	for range 4 {
		a.prints = append(a.prints, a.Uint64())
	}
	if a.chance(0.06) { // new at the site while we watch
		a.firstDay = o.Warmup + a.IntN(o.Days)
	}
	return a
}

func pick(x float64) int {
	for i, b := range Behaviours {
		if x -= b.Share; x < 0 {
			return i
		}
	}
	return 0
}

func (a *honest) stranger() uint64 {
	a.next++
	return mix(a.next)
}

// mix spreads a number over 64 bits, as a keyed hash does.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

func (a *honest) meet(n int) {
	for range n {
		a.contacts = append(a.contacts, a.stranger())
	}
}

func (a *honest) network(country string) policy.Place {
	return policy.Place{Country: country, Network: 4<<32 | uint64(a.IntN(1<<16))}
}

// contact is somebody the account knows, often one of a few.
func (a *honest) contact() uint64 {
	return a.contacts[int(float64(len(a.contacts))*math.Pow(a.Float64(), 2.5))]
}

// someone is a contact, or with the chance given somebody new who is a contact from then on.
func (a *honest) someone(fresh float64) uint64 {
	if a.chance(fresh) {
		a.meet(1)
		return a.contacts[len(a.contacts)-1]
	}
	return a.contact()
}

func (a *honest) someones(n int, fresh float64) []uint64 {
	var list []uint64
	for range n * 3 {
		if who := a.someone(fresh); !slices.Contains(list, who) {
			list = append(list, who)
		}
		if len(list) == n {
			break
		}
	}
	return list
}

// write adds a letter; people make typing errors, and their spam scores are low.
func (a *honest) write(at int64, to []uint64, print uint64) *letter {
	l := letter{at: at, place: a.where(at), to: to, spam: a.normal(0.2, 1), known: true, print: print, tries: 1, wait: 10 * minute}
	if a.chance(0.02) {
		l.spam += 4 * a.Float64()
	}
	for i := range to {
		if a.chance(0.004) {
			l.invalid(a.dice, i)
		}
	}
	a.out = append(a.out, l)
	return &a.out[len(a.out)-1]
}

func (l *letter) invalid(d dice, i int) {
	if l.bad == nil {
		l.bad = slices.Repeat([]int64{-1}, len(l.to))
	}
	l.bad[i] = d.span(second, 4*minute)
	if d.chance(0.2) {
		l.bad[i] = 0
	}
}

func (a *honest) where(at int64) policy.Place {
	if int((at-start)/day) < a.awayUntil {
		return a.abroad
	}
	if a.chance(0.03) {
		return a.homes[a.IntN(len(a.homes))]
	}
	return a.homes[(at/(6*hour))%int64(len(a.homes))]
}

// moment is a time in the working hours of a day, more often before noon and in the afternoon.
func (a *honest) moment(d int) int64 {
	h := a.from + (a.to-a.from)*a.Float64()
	if a.chance(0.06) {
		h = 24 * a.Float64()
	}
	return start + int64(d)*day - zone + int64(h*float64(hour)) + a.Int64N(minute)
}

// recipients of a person's message: mostly one, sometimes a whole thread.
func (a *honest) recipients() int {
	switch x := a.Float64(); {
	case x < 0.62:
		return 1
	case x < 0.90:
		return a.between(2, 4)
	case x < 0.985:
		return a.between(5, 14)
	default:
		return a.between(15, 45)
	}
}

func workday(d int) bool { return d%7 < 5 }

// ordinary is a day of a person who writes n messages on a working day.
func (a *honest) ordinary(d int, n, fresh float64) {
	if a.vacation < d && a.chance(1.0/90) {
		a.vacation = d + a.between(3, 10)
	}
	switch {
	case a.vacation > d:
		n *= 0.03
	case !workday(d):
		n *= 0.06
	}
	for range a.poisson(n) {
		a.write(a.moment(d), a.someones(a.recipients(), fresh), a.Uint64())
	}
	if a.chance(1.0 / 500) {
		a.moved(d)
	}
	if a.chance(1.0 / 120) { // another provider, another office
		a.homes[a.IntN(len(a.homes))] = a.network(japan)
	}
}

// moved tells everybody of a new address: one body to all contacts, some of them gone, in batches or one by one.
func (a *honest) moved(d int) {
	all := slices.Clone(a.contacts)
	a.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	a.mass(d, all[:min(len(all), a.between(40, 180))], 0.02)
}

// mass sends one body to many: as one message, in batches, or as a mail merge.
func (a *honest) mass(d int, to []uint64, stale float64) {
	at, print := a.moment(d), a.Uint64()
	size := []int{len(to), a.between(20, 50), 1}[a.IntN(3)]
	gap := a.span(second, 20*second)
	if size > 1 {
		gap = a.span(20*second, 5*minute)
	}
	for part := range slices.Chunk(to, size) {
		l := a.write(at, part, print)
		for i := range part {
			if a.chance(stale) {
				l.invalid(a.dice, i)
			}
		}
		at += gap
	}
}

func office(a *honest, d int) { a.ordinary(d, a.busy, 0.05) }

func light(a *honest, d int) { a.ordinary(d, a.busy/15, 0.15) }

// sales write to many strangers, some of it from templates.
func sales(a *honest, d int) {
	a.ordinary(d, 1.5*a.busy, 0.15)
	if !workday(d) || a.vacation > d {
		return
	}
	for range a.poisson(0.7 * a.busy) {
		print := a.Uint64()
		if a.chance(0.5) {
			print = a.prints[a.IntN(len(a.prints))]
		}
		l := a.write(a.moment(d), a.someones(1, 0.8), print)
		if a.chance(0.02) {
			l.invalid(a.dice, 0)
		}
	}
}

// traveller goes abroad for days; at a conference there are new people to write to, at its end many at once.
func traveller(a *honest, d int) {
	if a.awayUntil <= d && a.chance(1.0/40) {
		a.awayUntil = d + a.between(2, 6)
		a.abroad = a.network([]string{"US", "DE", "FR", "SG", "KR", "GB", "TW"}[a.IntN(7)])
	}
	a.ordinary(d, a.busy, 0.06)
	if a.awayUntil <= d {
		return
	}
	for range a.poisson(5) {
		a.write(a.moment(d), a.someones(1, 1), a.Uint64())
	}
	if a.awayUntil == d+1 && a.chance(0.3) {
		a.mass(d, a.someones(a.between(8, 35), 0.8), 0.02)
	}
}

// mobile changes networks every day, some of them never seen before.
func mobile(a *honest, d int) {
	if a.chance(0.3) {
		a.homes[len(a.homes)-1] = a.network(japan)
	}
	a.ordinary(d, a.busy, 0.05)
}

// tunnelled is at home on some days, and behind one of a few exits of a VPN on the others.
func tunnelled(a *honest, d int) {
	if a.exits == nil {
		for _, country := range []string{"US", "NL", "SG", "DE", "GB", "US"}[:a.between(3, 6)] {
			a.exits = append(a.exits, a.network(country))
		}
	}
	if a.chance(0.6) {
		a.awayUntil, a.abroad = d+1, a.exits[a.IntN(len(a.exits))]
	}
	a.ordinary(d, a.busy, 0.05)
}

// massMailer sends invitations, minutes and season's greetings to many, most of them known.
func massMailer(a *honest, d int) {
	a.ordinary(d, a.busy, 0.05)
	if a.chance(1.0 / 30) {
		a.mass(d, a.someones(a.between(25, 110), []float64{0, 0.2, 0.5}[a.IntN(3)]), 0.02)
	}
}

// listOwner expands a list by itself, the same members each time.
func listOwner(a *honest, d int) {
	a.ordinary(d, a.busy, 0.05)
	if a.list == nil {
		a.list = a.someones(a.between(30, 150), 1)
	}
	if a.chance(0.3) {
		a.mass(d, a.list, 0)
	}
	if a.chance(0.1) {
		a.list = append(a.list, a.stranger())
	}
}

// forwarder sends whatever comes in to one address, spam too, day and night.
func forwarder(a *honest, d int) {
	if a.list == nil {
		a.list = a.someones(1, 1)
	}
	for range a.poisson(3 * a.busy) {
		l := a.write(start+int64(d)*day+a.Int64N(day), a.list, a.Uint64())
		l.bad, l.tries = nil, 5
		if a.chance(0.2) {
			l.spam = a.normal(7, 3)
		}
	}
}

// alerts go to the same few day and night, and now and then hundreds of them.
func alerts(a *honest, d int) {
	if a.list == nil {
		a.list = a.someones(a.between(1, 6), 1)
	}
	some := func(at int64) {
		l := a.write(at, a.list[:a.between(1, len(a.list))], a.prints[a.IntN(4)])
		l.bad, l.tries, l.wait = nil, 8, 15*minute
		l.place = a.homes[0]
	}
	for range a.poisson(4 * a.busy) {
		some(start + int64(d)*day + a.Int64N(day))
	}
	if a.chance(0.04) {
		at := start + int64(d)*day + a.Int64N(day-hour)
		for range a.between(30, 150) {
			some(at + a.Int64N(40*minute))
		}
	}
}

// shop writes to somebody new all the time, from a few templates that change now and then.
func shop(a *honest, d int) {
	if a.chance(0.03) {
		a.prints[a.IntN(4)] = a.Uint64()
	}
	for range a.poisson(4 * a.busy) {
		l := a.write(start+int64(d)*day+a.Int64N(day), []uint64{a.stranger()}, a.prints[a.IntN(4)])
		l.bad, l.tries, l.place = nil, 8, a.homes[0]
		if a.chance(0.01) {
			l.invalid(a.dice, 0)
		}
	}
}

// newsletter has a bulk profile and goes to some thousands on one day of the week.
func newsletter(a *honest, d int) { a.issue(d, 7, 400, 3000, second/5) }

// smallNewsletter has none.
func smallNewsletter(a *honest, d int) { a.issue(d, 7, 50, 160, 2*second) }

func (a *honest) issue(d, every, least, most int, gap int64) {
	if a.list == nil {
		a.list = a.someones(a.between(least, most)/3, 1)
		for len(a.list) < least {
			a.list = append(a.list, a.stranger())
		}
	}
	if d%every != int(a.next>>40)%every {
		return
	}
	for range a.poisson(float64(len(a.list)) / 40) {
		a.list[a.IntN(len(a.list))] = a.stranger()
	}
	at, print := a.moment(d), a.Uint64()
	for _, to := range a.list {
		l := a.write(at, []uint64{to}, print)
		l.bad, l.tries, l.wait, l.place = nil, 5, 20*minute, a.homes[0]
		l.spam = a.normal(1, 0.8)
		if a.chance(0.004) {
			l.invalid(a.dice, 0)
		}
		at += gap
	}
}

// live makes the mail of days from…to-1, in order.
func (a *honest) live(from, to int) []letter {
	a.out = nil
	for d := max(from, a.firstDay); d < to; d++ {
		Behaviours[a.behaviour].days(a, d)
	}
	slices.SortStableFunc(a.out, func(x, y letter) int { return cmp.Compare(x.at, y.at) })
	return a.out
}

// account is the name under which a profile may know it.
func (a *honest) account(i int) policy.Account {
	if Behaviours[a.behaviour].Name == "newsletter with a profile" {
		return bulkAccount
	}
	return policy.Account(fmt.Sprintf("user%d@example.com", i))
}

const bulkAccount = policy.Account("news@example.com")

// profiles are those of the simulated site.
func profiles() []policy.Profile {
	return []policy.Profile{{ID: "newsletter", Accounts: []string{string(bulkAccount)}, MaxRate: "5000 msgs/hour"}}
}
