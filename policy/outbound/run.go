package outbound

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/store"
)

// How often things are done.
const (
	openEvery    = 2 * time.Second
	followEvery  = time.Second
	writeEvery   = time.Second
	journalEvery = 5 * time.Second
	mergeEvery   = 2 * time.Second
	refreshEvery = time.Minute
	statesEvery  = time.Minute
	repeatsEvery = time.Minute
)

// beginPatience is what Begin waits for the database.
const beginPatience = 5 * time.Second

// Begin reads what is in force from the database, in 5 s at most, when no file tells it: a node without files would else let
// pass those that it does not know to be stopped. Without an answer mail is judged all the same. It ends before Run begins.
func (g *Gate) Begin(ctx context.Context) {
	if g.open == nil || !g.standing.Load().unread() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, beginPatience)
	defer cancel()
	if g.opened = g.openStore(ctx); g.opened == nil {
		g.log.Warn("nobody has told who is stopped: mail is judged without it until the database answers")
		return
	}
	err := g.refreshStanding(ctx, g.opened)
	if g.answered("begin", err); err == nil {
		g.store.Store(g.opened)
	}
}

// Run opens the database, follows what changes there, and writes what was decided, until ctx ends.
func (g *Gate) Run(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() { g.followChanges(ctx) })
	group.Go(func() { g.every(ctx, writeEvery, g.writer.wake, func() { g.writer.flush(ctx) }) })
	group.Go(func() { g.every(ctx, journalEvery, nil, g.saveJournal) })
	group.Go(func() {
		g.every(ctx, statesEvery, nil, func() {
			if db := g.store.Load(); db != nil && !g.away.Load() {
				g.saveStates(ctx, db)
			}
		})
	})
	group.Go(func() { g.every(ctx, repeatsEvery, nil, g.writeRepeats) })
	group.Go(func() { g.every(ctx, countriesEvery, nil, g.refreshCountries) })
	if g.shared != nil {
		group.Go(func() { g.every(ctx, mergeEvery, nil, func() { g.mergeAll(ctx) }) })
	}
	group.Wait()
}

// every does something at each tick and when it is woken.
func (g *Gate) every(ctx context.Context, interval time.Duration, wake <-chan struct{}, do func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-wake:
		}
		do()
	}
}

// leave keeps an account that gives way to others.
func (g *Gate) leave(e *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stored || e.state == nil {
		return
	}
	g.writer.mu.Lock()
	defer g.writer.mu.Unlock()
	if len(g.writer.leaving) < maxDawns {
		g.writer.leaving[e.account] = e
	}
}

func (g *Gate) saveJournal() {
	if err := g.journal.save(g.states); err != nil {
		g.log.Error("states not kept in the file", "err", err)
	}
}

// followChanges opens the database, reads what is in force, and again whenever that changes.
func (g *Gate) followChanges(ctx context.Context) {
	db := g.openStore(ctx)
	if db == nil {
		return
	}
	follower := db.Follow(store.ChangedAccount, store.ForgottenAccount, store.ChangedDomain, store.ChangedProfile, store.ChangedMode)
	var refreshed time.Time
	look := func() {
		next, cancel := context.WithTimeout(ctx, writePatience)
		changes, err := follower.Next(next)
		if errors.Is(err, store.ErrSetBack) {
			refreshed = time.Time{}
			var more []store.Changed
			more, err = follower.Next(next)
			changes = append(changes, more...)
		}
		cancel()
		if err == nil && (refreshed.IsZero() || time.Since(refreshed) > refreshEvery || len(changes) > 0) {
			refreshed = time.Time{}
			if err = g.refreshStanding(ctx, db); err == nil {
				refreshed = time.Now()
				g.store.Store(db)
				g.restoreStops()
			}
		}
		g.answered("follow", err)
		for _, c := range changes {
			if c.Noun == store.ForgottenAccount {
				g.forget(ctx, policy.Account(c.ID))
			}
		}
	}
	look()
	g.every(ctx, followEvery, nil, look)
}

// openStore tries until it works; nil at the end of ctx, or without a database.
func (g *Gate) openStore(ctx context.Context) *store.Store {
	if g.open == nil || g.opened != nil {
		return g.opened
	}
	for told := false; ; told = true {
		db, err := g.open(ctx)
		if err == nil {
			return db
		}
		if !told && ctx.Err() == nil {
			g.log.Warn("outbound works without the database", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(openEvery):
		}
	}
}

// restoreStops writes stops to the database that it does not have: they were decided while it was away, by a process that
// ended before it came back.
func (g *Gate) restoreStops() {
	g.states.each(func(e *entry) {
		s := sender{e.account, e.tenant}
		row, _ := g.standing.Load().row(s)
		if !e.hard.Load() || policy.Level(row.Level) == policy.HardLimit || row.LevelRevision > e.revision {
			return
		}
		st, err := policy.ParseState(e.state)
		if err != nil || st.ByHand() || st.Level() != policy.HardLimit {
			return
		}
		g.writer.setLevel(levelChange{
			sender: s, level: policy.HardLimit, act: actSuspend, revision: e.revision, again: true, reason: "decided by the engine",
			notice: notify.Notice{Tenant: s.tenant, Account: string(s.account), Kind: notify.Suspended, Facts: notify.Facts{
				Action: string(policy.RefuseSuspended), LevelAfter: string(policy.HardLimit),
			}},
		})
	})
}

// mergeAll tells the shared state what was decided without it.
func (g *Gate) mergeAll(ctx context.Context) {
	g.states.each(func(e *entry) {
		if len(e.pending) == 0 || ctx.Err() != nil {
			return
		}
		s := sender{e.account, e.tenant}
		var k known
		if err := g.shared.Update(ctx, string(e.account), func(old []byte) []byte {
			k = g.merge(e, s, old)
			return k.pack()
		}); err != nil {
			return
		}
		e.pending = nil
		if st, err := policy.ParseState(k.state); err == nil {
			g.states.put(e, k, effective(&st))
		}
	})
}

// forget removes what is known of an account.
func (g *Gate) forget(ctx context.Context, a policy.Account) {
	g.states.forget(a)
	g.repeats.forget(a)
	g.writer.comeBack(a)
	if g.shared == nil {
		return
	}
	if err := g.shared.Forget(ctx, string(a)); err != nil {
		g.log.Error("account not forgotten in the shared state: ask for it again", "account", string(a), "err", err)
	}
}

// Check says what does not work, for people: mail flows all the same.
func (g *Gate) Check(context.Context) error {
	var errs []error
	if g.open != nil && (g.store.Load() == nil || g.away.Load()) {
		errs = append(errs, errors.New("the database does not answer: levels and profiles are those known before"))
	}
	if n := g.writer.spool.bytes(); n > 0 {
		errs = append(errs, fmt.Errorf("decisions wait for the database (%d bytes)", n))
	}
	errs = append(errs, g.checkCountries())
	return errors.Join(errs...)
}

// closePatience bounds the last writes.
const closePatience = 5 * time.Second

// Close keeps what was decided, once Run and all messages have ended.
func (g *Gate) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	g.writeRepeats()
	g.writer.flush(ctx)
	if db := g.store.Load(); db != nil && !g.away.Load() {
		g.saveStates(ctx, db)
	}
	g.saveJournal()
	return errors.Join(g.journal.Close(), g.writer.spool.Close())
}
