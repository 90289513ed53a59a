package outbound

import "github.com/mairust/mairust/policy"

// maxMissed bounds the events of one account that wait for the database; the oldest are then left out.
const maxMissed = 256

// miss keeps the record of an event for the state in the database.
func (e *entry) miss(record []byte) {
	if len(e.missed) == maxMissed {
		e.missed = e.missed[1:]
	}
	e.missed = append(e.missed, record)
}

// takeOver makes an entry what one that gave way was.
func (g *Gate) takeOver(e, left *entry) {
	left.mu.Lock()
	defer left.mu.Unlock()
	if left.tenant != e.tenant {
		return
	}
	e.missed = left.missed
	st := g.parse(sender{e.account, e.tenant}, left.state)
	g.states.put(e, left.known, effective(&st))
}

// catchUp lets what happened to the state that an entry began anew happen to k, which is from the database.
func (g *Gate) catchUp(e *entry, k known) known {
	s := sender{e.account, e.tenant}
	st := g.parse(s, k.state)
	p := g.policy.Load()
	for _, record := range e.missed {
		events, err := policy.ParseRecords(record)
		if err != nil {
			continue // it was written by this process
		}
		for _, r := range events {
			r.Event.Account, r.Event.Tenant = s.account, string(s.tenant)
			_, st = policy.Decide(st, r.Event, p, max(r.NowUS, st.LastUS())) // late, and no clock was ahead
		}
	}
	k.state, _ = st.AppendBinary(nil) // it never fails
	return g.asStrict(s, k, e.known)
}

// asStrict gives k the level of another state of the account if that is stricter: events that led to it may be lost, a stop
// must not be. It counts as known of at the other's revision, so that a release since then is heard.
func (g *Gate) asStrict(s sender, k, other known) known {
	st, o := g.parse(s, k.state), g.parse(s, other.state)
	if rank(effective(&o)) <= rank(effective(&st)) {
		return k
	}
	e := o.LevelEvent()
	e.Account, e.Tenant, e.Mode = s.account, string(s.tenant), g.standing.Load().mode(s)
	_, st = policy.Decide(st, e, g.policy.Load(), max(st.LastUS(), o.LastUS()))
	k.state, _ = st.AppendBinary(nil)
	k.revision = other.revision
	return k
}

// isOlder tells whether a state began before another one, and is not its copy.
func (g *Gate) isOlder(s sender, k, other known) bool {
	if k.state == nil {
		return false
	}
	st, o := g.parse(s, k.state), g.parse(s, other.state)
	return st.FirstUS() < o.FirstUS()
}
