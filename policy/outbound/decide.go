package outbound

import (
	"context"
	"errors"
	"time"

	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// outcome is what came of one event.
type outcome struct {
	decision policy.Decision
	event    policy.Event // as it was decided
	nowUS    int64
	policy   *policy.Policy
	// acts are acts of people, and of other nodes, that the state had not known before.
	acts []outcome
	// checkpoint is the state before the first event of the day; nil for a later one.
	checkpoint []byte
	revision   int64 // LevelRevision of the account's row, as far as the state knows of it
	alone      bool  // the shared state was not there
	count      int   // of refusals that its row stands for; 0 is one
}

// record appends the event for replay.
func (o *outcome) record(b []byte) []byte {
	return policy.AppendRecord(b, o.policy, o.nowUS, o.event, o.decision)
}

// decide lets an event happen to an account, wherever its state is, and keeps what follows from it.
func (g *Gate) decide(ctx context.Context, s sender, e policy.Event) outcome {
	start := time.Now()
	entry := g.states.hold(s.account)
	defer g.states.release(entry)
	entry.tenant = s.tenant
	g.load(ctx, entry)
	var o outcome
	if g.shared != nil {
		o = g.decideShared(ctx, entry, s, e)
	} else {
		var k known
		var level policy.Level
		o, k, level = g.step(s, entry.known, e)
		g.states.put(entry, k, level)
	}
	if !entry.loaded {
		entry.miss(o.record(nil))
	}
	g.metrics.seconds.WithLabelValues(g.backend()).Observe(time.Since(start).Seconds())
	if entry.hard.Load() && o.changed() {
		// A stop must outlive a crash that comes now.
		if err := g.journal.append(entry, true); err != nil {
			g.log.Error("stop not kept in the file", "account", string(s.account), "err", err)
		}
	}
	g.checkpoint(s, &o)
	return o
}

// changed tells whether the level is another one.
func (o *outcome) changed() bool {
	if o.decision.Before != o.decision.After {
		return true
	}
	for i := range o.acts {
		if o.acts[i].decision.Before != o.acts[i].decision.After {
			return true
		}
	}
	return false
}

func (g *Gate) backend() string {
	if g.shared != nil {
		return "shared"
	}
	return "process"
}

// decideShared changes the shared state, and this node's own when that is not there.
func (g *Gate) decideShared(ctx context.Context, entry *entry, s sender, e policy.Event) outcome {
	var o outcome
	var k known
	var level policy.Level
	err := g.shared.Update(ctx, string(s.account), func(old []byte) []byte {
		was := g.merge(entry, s, old)
		o, k, level = g.step(s, was, e)
		return k.pack()
	})
	if err == nil {
		g.states.put(entry, k, level)
		entry.pending = nil
		return o
	}
	e.Degraded |= policy.NoStore
	o, k, level = g.step(s, entry.known, e)
	o.alone = true
	g.states.put(entry, k, level)
	if len(entry.pending) == maxPending {
		entry.pending = entry.pending[1:]
		g.metrics.unmerged.Inc()
	}
	entry.pending = append(entry.pending, pending{o.event, o.nowUS})
	g.metrics.alone.Inc()
	return o
}

// merge brings the shared state and what this node decided without it together: the events that it missed happen to it now.
// What the shared state has lost, this node's copy replaces.
func (g *Gate) merge(entry *entry, s sender, old []byte) known {
	k := unpack(old)
	if k.state == nil {
		return entry.known
	}
	k.tenant = s.tenant
	if k.anew && entry.loaded {
		if g.isOlder(s, entry.known, k) {
			return g.asStrict(s, entry.known, k)
		}
		k.anew = false
	}
	if len(entry.pending) == 0 {
		return k
	}
	st := g.parse(s, k.state)
	p := g.policy.Load()
	for _, missed := range entry.pending {
		_, st = policy.Decide(st, missed.event, p, max(missed.nowUS, st.LastUS())) // late, and no clock was ahead
	}
	k.state, _ = st.AppendBinary(nil) // it never fails
	return k
}

// parse reads a state. One that can't be read is an account that nothing is known of.
func (g *Gate) parse(s sender, state []byte) policy.State {
	st, err := policy.ParseState(state)
	if err != nil {
		g.log.Error("state not readable, the account begins anew", "account", string(s.account), "err", err)
	}
	return st
}

// step lets what people did meanwhile, and then the event, happen to a state.
func (g *Gate) step(s sender, was known, e policy.Event) (outcome, known, policy.Level) {
	st := g.parse(s, was.state)
	now := g.now()
	o := outcome{nowUS: now.UnixMicro(), policy: g.policy.Load()}
	standing := g.standing.Load()
	e.Account, e.Tenant, e.Mode = s.account, string(s.tenant), standing.mode(s)
	if last := st.LastUS(); last > 0 && store.Day(time.UnixMicro(last)) < store.Day(now) {
		o.checkpoint = was.state
	}
	k := known{tenant: s.tenant, revision: was.revision, anew: was.anew}
	if row, ok := standing.row(s); ok && row.LevelRevision > was.revision {
		if act, ok := actOf(row, &st, now.Add(-o.policy.CleanTime())); ok {
			act.Account, act.Tenant, act.Mode = e.Account, e.Tenant, e.Mode
			var d policy.Decision
			d, st = policy.Decide(st, act, o.policy, o.nowUS)
			o.acts = append(o.acts, outcome{decision: d, event: act, nowUS: o.nowUS, policy: o.policy})
		}
		k.revision = row.LevelRevision
	}
	if e.Kind != 0 {
		e.Scope.DomainStopped = standing.domainStopped(s, now)
		o.decision, st = policy.Decide(st, e, o.policy, o.nowUS)
	}
	o.event, o.revision = e, k.revision
	k.state, _ = st.AppendBinary(nil) // it never fails
	return o, k, effective(&st)
}

// effective is the level of a state, as far as it has an effect.
func effective(st *policy.State) policy.Level {
	if st.InShadow() {
		return policy.Normal
	}
	return st.Level()
}

// actOf is what the row of an account means for a state that has not known of it; false for nothing. What the engine of
// another node decided makes a state stricter, since this one may know more. It ends a stop when the row is later: the stop
// was in the row before, and somebody has ended it there. clean is when automatic limits began that end now.
func actOf(row store.OutboundAccount, st *policy.State, clean time.Time) (policy.Event, bool) {
	level, is := policy.Level(row.Level), effective(st)
	e := policy.Event{Kind: policy.KindSetLevel, Level: level, Cap: row.CapPerHour, UntilUS: micros(row.Until)}
	switch row.Act {
	case actSuspend, actLimit, actReenable, actRecover:
		if ranOut(&row, clean) {
			e.Level = policy.Normal
		}
		e.Kind, e.SinceUS = policy.KindLearnLevel, micros(row.Since)
		return automatic(e, row, st)
	}
	switch {
	case level == policy.HardLimit:
		e = policy.Event{Kind: policy.KindStop, UntilUS: e.UntilUS}
	case is == policy.HardLimit || row.Act == "release":
		e.Kind = policy.KindReenable
	}
	return e, true
}

// automatic is actOf a row that the engine of another node has written; e gives the level of the row.
func automatic(e policy.Event, row store.OutboundAccount, st *policy.State) (policy.Event, bool) {
	is := effective(st)
	switch {
	case row.Act == actSuspend:
		return e, rank(e.Level) > rank(is)
	case is == policy.HardLimit:
		e.Kind = policy.KindReenable
		return e, row.Act == actReenable || endsStop(row, st)
	case row.Act == actReenable:
		return e, false
	}
	return e, rank(e.Level) > rank(is) || row.Act == actRecover && is == policy.SoftLimit
}

// ranOut tells whether an automatic limit of a row is over. The row need not say so: such a limit has no end that others than
// the node that decided it could see, and that one has perhaps not heard of the account since.
func ranOut(row *store.OutboundAccount, clean time.Time) bool {
	automatic := row.Act == actLimit || row.Act == actReenable
	return automatic && row.Level == store.LevelSoftLimit && row.Until.IsZero() && !row.Since.After(clean)
}

// micros is a time as the engine has it; 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// endsStop tells whether a row of a lower level is later than the stop of a state. A stop by hand is always known from an
// earlier row; one that was just decided here may not have been written yet.
func endsStop(row store.OutboundAccount, st *policy.State) bool {
	return st.ByHand() || time.UnixMicro(st.SinceUS()).Before(row.Since)
}

func rank(l policy.Level) int {
	switch l {
	case policy.HardLimit:
		return 2
	case policy.SoftLimit:
		return 1
	}
	return 0
}

// loadPatience is what an account that this node does not know may wait for the database.
const loadPatience = 100 * time.Millisecond

// askEvery is how often an account asks a database that did not answer.
const askEvery = time.Second

// load finds an account that nothing is known of here: among those that gave way, else in the database. When that does not
// answer, its state begins anew, until it does.
func (g *Gate) load(ctx context.Context, entry *entry) {
	if entry.loaded {
		return
	}
	if left := g.writer.comeBack(entry.account); left != nil {
		g.takeOver(entry, left)
	}
	if db := g.store.Load(); !entry.loaded && (db == nil || g.away.Load() || !g.ask(ctx, db, entry)) {
		entry.anew = g.open != nil
	}
}

// ask takes an account's state from the database, to which what happened meanwhile happens too; false when it does not answer.
func (g *Gate) ask(ctx context.Context, db *store.Store, entry *entry) bool {
	if !entry.asked.IsZero() && time.Since(entry.asked) < askEvery {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, loadPatience)
	defer cancel()
	row, err := db.OutboundState(ctx, entry.tenant, store.StateOfAccount, string(entry.account), 0)
	switch {
	case err == nil:
		st, err := policy.ParseState(row.State)
		if err != nil {
			g.log.Error("stored state not readable, the account begins anew", "account", string(entry.account), "err", err)
			break
		}
		k := known{tenant: entry.tenant, revision: row.Revision, state: row.State}
		if entry.state != nil {
			k = g.catchUp(entry, k)
			st = g.parse(sender{entry.account, entry.tenant}, k.state)
		}
		g.states.put(entry, k, effective(&st))
	case errors.Is(err, store.ErrNotFound):
	default:
		g.metrics.storeErrors.WithLabelValues("load").Inc()
		entry.asked = time.Now()
		return false
	}
	entry.anew, entry.loaded, entry.missed = false, true, nil // what began anew is all there is, and is stored from now on
	return true
}
