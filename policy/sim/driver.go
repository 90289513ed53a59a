package sim

import (
	"cmp"
	"slices"

	"github.com/mairust/mairust/policy"
)

// letter is a message that an account wants to send.
type letter struct {
	at    int64
	place policy.Place
	to    []uint64
	// bad are those of to that do not exist: refused at once with bad[i] 0, else bounced so many µs later; -1 exists.
	bad   []int64
	spam  float64
	known bool // the spam filter answered
	url   bool
	virus bool
	print uint64
	tries int // retries left after a temporary refusal
	wait  int64
}

// judge is what stands between an account and the world: the engine, or fixed limits.
type judge interface {
	// rcpt says whether a recipient is accepted.
	rcpt(l *letter, to uint64, at int64) verdict
	// end says whether the message leaves for the recipients that were accepted.
	end(l *letter, to []uint64, at int64) verdict
	// abort ends a message none of whose recipients was accepted.
	abort(at int64)
	// bounce is a recipient that turned out not to exist, refused at once or later.
	bounce(to uint64, at int64, refused bool)
}

type verdict int

const (
	passed verdict = iota
	later          // 450
	never          // 550
)

// outcome is what became of a letter.
type outcome struct {
	sent, refused int
	last          verdict
}

// send takes one letter through the dialogue and gives what left.
func send(j judge, l *letter, q *bounces) outcome {
	var o outcome
	var accepted []uint64
	at := l.at
	for i, to := range l.to {
		at += 20_000
		if l.bad != nil && l.bad[i] == 0 {
			j.bounce(to, at, true)
			continue
		}
		v := j.rcpt(l, to, at)
		if v == passed {
			accepted = append(accepted, to)
			continue
		}
		o.refused++
		o.last = v
	}
	at += second / 2
	if len(accepted) == 0 {
		j.abort(at)
		return o
	}
	if v := j.end(l, accepted, at); v != passed {
		o.refused += len(accepted)
		o.last = v
		return o
	}
	o.sent = len(accepted)
	for i, to := range l.to {
		if l.bad != nil && l.bad[i] > 0 && slices.Contains(accepted, to) {
			q.add(at+l.bad[i], to)
		}
	}
	return o
}

// bounces are failed deliveries that are still to be reported, in the order of time.
type bounces struct{ list []pendingBounce }

type pendingBounce struct {
	at int64
	to uint64
}

func (q *bounces) add(at int64, to uint64) {
	i, _ := slices.BinarySearchFunc(q.list, at, func(b pendingBounce, at int64) int { return cmp.Compare(b.at, at+1) })
	q.list = slices.Insert(q.list, i, pendingBounce{at, to})
}

// report tells the judge of all bounces up to at.
func (q *bounces) report(j judge, at int64) {
	n := 0
	for n < len(q.list) && q.list[n].at <= at {
		j.bounce(q.list[n].to, q.list[n].at, false)
		n++
	}
	q.list = q.list[n:]
}

// engine is the policy engine as the milter uses it.
type engine struct {
	p       *policy.Policy
	account policy.Account
	s       policy.State
	tx      uint64
	// blind: the site does not know countries.
	blind bool
	// soft and hard count the decisions that changed the level for the worse; the times are those of the first ones.
	soft, hard     int
	softAt, hardAt int64
	reason         *policy.Explanation // of the last one
	plain          map[int64]bool      // days on which a plain limit refused
}

func (e *engine) decide(ev policy.Event, at int64) policy.Decision {
	ev.Account, ev.Transaction = e.account, e.tx
	if e.blind {
		ev.Place.Country = ""
	}
	d, s := policy.Decide(e.s, ev, e.p, at)
	e.s = s
	if d.Action == policy.RefuseRate && d.Reason != policy.ReasonSoftLimit && e.plain != nil {
		e.plain[at/day] = true
	}
	if d.Notice == policy.NoticeSoftLimit || d.Notice == policy.NoticeUncorroborated && d.Before == policy.Normal {
		e.soft++
		e.softAt = cmp.Or(e.softAt, at)
		e.reason = d.Explanation
	}
	if d.Notice == policy.NoticeSuspended {
		e.hard++
		e.hardAt = cmp.Or(e.hardAt, at)
		e.reason = d.Explanation
	}
	return d
}

func verdictOf(d policy.Decision) verdict {
	switch d.Action {
	case policy.RefuseRate, policy.Hold:
		return later
	case policy.RefuseSuspended:
		return never
	}
	return passed
}

func (e *engine) rcpt(l *letter, to uint64, at int64) verdict {
	if e.tx == 0 {
		e.tx = uint64(at)
	}
	return verdictOf(e.decide(policy.Event{Kind: policy.KindReserve, Recipients: []uint64{to}, Place: l.place}, at))
}

func (e *engine) end(l *letter, to []uint64, at int64) verdict {
	d := e.decide(policy.Event{Kind: policy.KindCommit, Recipients: to, Place: l.place, Content: policy.Content{
		Spam: int64(l.spam * policy.Micro), SpamKnown: l.known, Malware: l.virus, ListedURL: l.url, Fingerprint: l.print,
	}}, at)
	e.tx = 0
	return verdictOf(d)
}

func (e *engine) abort(at int64) {
	e.decide(policy.Event{Kind: policy.KindRelease}, at)
	e.tx = 0
}

func (e *engine) bounce(to uint64, at int64, refused bool) {
	kind := policy.KindBounce
	if refused {
		kind = policy.KindRefused
	}
	e.decide(policy.Event{Kind: kind, Recipients: []uint64{to}, DSN: "5.1.1"}, at)
}

// fixed are rolling limits and nothing else, as most servers have them.
type fixed struct {
	perHour, perDay int
	sent            []int64 // times of the last day
	refusals        int
}

func (f *fixed) count(at, span int64) int {
	i, _ := slices.BinarySearch(f.sent, at-span)
	return len(f.sent) - i
}

func (f *fixed) rcpt(_ *letter, _ uint64, at int64) verdict {
	if f.count(at, hour) >= f.perHour || f.count(at, day) >= f.perDay {
		f.refusals++
		return later
	}
	f.sent = append(f.sent, at)
	if len(f.sent) > 4*f.perDay {
		f.sent = slices.Clone(f.sent[len(f.sent)-f.perDay:])
	}
	return passed
}

func (f *fixed) end(*letter, []uint64, int64) verdict { return passed }
func (f *fixed) abort(int64)                          {}
func (f *fixed) bounce(uint64, int64, bool)           {}
