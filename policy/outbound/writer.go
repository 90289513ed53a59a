package outbound

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// writer takes what is to be in the database, and keeps it while that is away: rows in a bounded queue and then in a file,
// the latest level of each account and the states that days began with in memory.
type writer struct {
	g     *Gate
	spool *spool
	wake  chan struct{}

	mu     sync.Mutex
	rows   []store.OutboundDecision
	levels map[policy.Account]levelChange
	// dawns are the states that a day began with, by account.
	dawns map[policy.Account]store.OutboundState
	// leaving are accounts that gave way to others, until their states are written.
	leaving map[policy.Account]*entry
}

const (
	// maxRows wait in memory; more go to the file at once.
	maxRows = 4096
	// batch is how many rows are written together.
	batch = 100
	// maxDawns bounds the states of days that wait.
	maxDawns = 20_000
	// writePatience bounds one write.
	writePatience = 20 * time.Second
)

func newWriter(g *Gate, spoolMax int64) (*writer, error) {
	s, err := openSpool(g.file("rows"), spoolMax, g.log)
	if err != nil {
		return nil, err
	}
	return &writer{
		g: g, spool: s, wake: make(chan struct{}, 1),
		levels: map[policy.Account]levelChange{}, dawns: map[policy.Account]store.OutboundState{},
		leaving: map[policy.Account]*entry{},
	}, nil
}

// add takes a row. It never waits for the database.
func (w *writer) add(row store.OutboundDecision) {
	w.mu.Lock()
	full := len(w.rows) >= maxRows
	if !full {
		w.rows = append(w.rows, row)
	}
	soon := len(w.rows) >= batch
	w.mu.Unlock()
	if full {
		w.keep([]store.OutboundDecision{row})
	}
	if soon {
		w.nudge()
	}
}

func (w *writer) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// setLevel takes a level to be written. It replaces another one of the account; of the same the first stays, which explains it.
func (w *writer) setLevel(c levelChange) {
	w.mu.Lock()
	if was, waits := w.levels[c.sender.account]; !waits || was.level != c.level || was.revision < c.revision || was.again && !c.again {
		w.levels[c.sender.account] = c
	}
	w.mu.Unlock()
	w.nudge()
}

func (w *writer) addDawn(st store.OutboundState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.dawns) < maxDawns {
		w.dawns[policy.Account(st.Name)] = st
	}
}

func (w *writer) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.rows)
}

// keep puts rows into the file.
func (w *writer) keep(rows []store.OutboundDecision) {
	if n, err := w.spool.add(rows); err != nil {
		w.g.metrics.dropped.Add(float64(len(rows) - n))
		w.g.log.Error("decisions lost: neither database nor file takes them", "count", len(rows)-n, "err", err)
	}
}

// flush writes all that waits, and keeps it when the database is away.
func (w *writer) flush(ctx context.Context) {
	db := w.g.store.Load()
	w.flushRows(ctx, db)
	if db == nil || w.g.away.Load() {
		return
	}
	w.flushLevels(ctx, db)
	w.flushDawns(ctx, db)
	if !w.g.away.Load() {
		w.flushSpool(ctx, db)
	}
}

// flushRows writes the rows that wait now: levels are not to wait for those that come meanwhile.
func (w *writer) flushRows(ctx context.Context, db *store.Store) {
	kept := false
	for left := w.waiting(); left > 0; left -= batch {
		w.mu.Lock()
		rows := w.rows[:min(len(w.rows), left, batch)]
		w.rows = w.rows[len(rows):]
		w.mu.Unlock()
		if w.g.away.Load() { // one batch has waited for it, or who follows it
			db = nil
		}
		if err := w.insert(ctx, db, rows); err != nil {
			w.keep(rows)
			kept = true
		}
	}
	if w.waiting() >= batch {
		w.nudge()
	}
	if !kept {
		return
	}
	if err := w.spool.sync(); err != nil {
		w.g.log.Error("file of decisions", "err", err)
	}
}

// insert writes rows. One that the database refuses must not keep the others out: it is left out, and told.
func (w *writer) insert(ctx context.Context, db *store.Store, rows []store.OutboundDecision) error {
	if db == nil {
		return store.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	err := db.InsertOutboundDecisions(ctx, rows)
	if w.g.answered("rows", err); err == nil {
		w.g.metrics.written.Add(float64(len(rows)))
		return nil
	}
	if isAway(err) || ctx.Err() != nil {
		return err
	}
	for i := range rows {
		if err := db.InsertOutboundDecisions(ctx, rows[i:i+1]); isAway(err) {
			return err
		} else if err != nil {
			w.g.metrics.dropped.Inc()
			w.g.log.Error("the database refuses a decision", "decision", rows[i].ID, "account", rows[i].Account, "err", err)
		}
	}
	return nil
}

// isAway tells an error that passes by itself.
func isAway(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrFull) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// answered notes whether the database did, and counts and logs when it did not.
func (g *Gate) answered(what string, err error) {
	if err == nil {
		if g.away.Swap(false) {
			g.log.Info("the database answers again")
		}
		return
	}
	if errors.Is(err, context.Canceled) { // we are stopping
		return
	}
	g.metrics.storeErrors.WithLabelValues(what).Inc()
	if isAway(err) && !g.away.Swap(true) {
		g.log.Warn("the database does not answer: decisions go on and are written later", "what", what, "err", err)
	} else if !isAway(err) {
		g.log.Error("the database refuses what the outbound engine wants", "what", what, "err", err)
	}
}

func (w *writer) flushLevels(ctx context.Context, db *store.Store) {
	w.mu.Lock()
	levels := w.levels
	w.levels = map[policy.Account]levelChange{}
	w.mu.Unlock()
	for account, c := range levels {
		ctx, cancel := context.WithTimeout(ctx, writePatience)
		err := w.g.writeLevel(ctx, db, c)
		cancel()
		if err == nil {
			continue
		}
		w.g.answered("level", err)
		w.mu.Lock()
		if _, later := w.levels[account]; !later {
			w.levels[account] = c
		}
		w.mu.Unlock()
	}
}

// flushDawns writes the states that days began with, and those of accounts that gave way.
func (w *writer) flushDawns(ctx context.Context, db *store.Store) {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	w.mu.Lock()
	dawns, leaving := w.dawns, slices.Collect(maps.Values(w.leaving))
	w.dawns = map[policy.Account]store.OutboundState{}
	w.mu.Unlock()
	list := slices.Collect(maps.Values(dawns))
	for i, e := range leaving {
		st, known := w.g.lastState(ctx, db, e)
		if !known {
			leaving = leaving[:i] // the others stay until the database answers
			break
		}
		list = append(list, st)
	}
	if len(list) == 0 {
		return
	}
	err := w.g.storeStates(ctx, db, list)
	w.g.answered("states", err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		maps.Copy(dawns, w.dawns)
		w.dawns = dawns
		return
	}
	for _, e := range leaving {
		if w.leaving[e.account] == e {
			delete(w.leaving, e.account)
		}
	}
}

// lastState is the state of an account that gave way, as the database is to have it; false when that must be asked first and
// does not answer.
func (g *Gate) lastState(ctx context.Context, db *store.Store, e *entry) (store.OutboundState, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.anew && !g.ask(ctx, db, e) {
		return store.OutboundState{}, false
	}
	if e.hard.Swap(false) { // the stored one was; it is not remembered here
		g.states.stopped.Add(-1)
	}
	return stateOf(e), true
}

// comeBack gives an account that gave way and is not yet written, and forgets that it did; nil when there is none.
func (w *writer) comeBack(a policy.Account) *entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.leaving[a]
	delete(w.leaving, a)
	return e
}

// flushSpool writes what the file has, oldest first.
func (w *writer) flushSpool(ctx context.Context, db *store.Store) {
	n, err := w.spool.drain(func(rows []store.OutboundDecision) error { return w.insert(ctx, db, rows) })
	if n > 0 {
		w.g.log.Info("decisions of an outage written", "count", n)
	}
	if err != nil && !isAway(err) {
		w.g.log.Error("file of decisions", "err", err)
	}
}

// checkpoint keeps the state that the day of an account began with, for replay.
func (g *Gate) checkpoint(s sender, o *outcome) {
	if o.checkpoint == nil {
		return
	}
	at := time.UnixMicro(o.nowUS)
	g.writer.addDawn(store.OutboundState{
		Tenant: s.tenant, Kind: store.StateOfAccount, Name: string(s.account), Day: store.Day(at), State: o.checkpoint, Updated: at,
	})
}

// saveStates writes the latest states of accounts that have sent since to the database.
func (g *Gate) saveStates(ctx context.Context, db *store.Store) {
	var unsaved []policy.Account
	g.states.each(func(e *entry) {
		if e.unsaved() {
			unsaved = append(unsaved, e.account)
		}
	})
	for names := range slices.Chunk(unsaved, batch) {
		if !g.savePiece(ctx, db, names) {
			return
		}
	}
}

// savePiece is saveStates of a few accounts; false after an error. None of them gives way before it is known what became of
// the write: the database might not have what is no longer remembered here.
func (g *Gate) savePiece(ctx context.Context, db *store.Store, names []policy.Account) bool {
	var entries []*entry
	var list []store.OutboundState
	for _, a := range names {
		e := g.states.holdKnown(a)
		switch {
		case e == nil: // it gave way, and is written by who writes those
		case !e.unsaved():
			g.states.release(e)
		default:
			entries, list = append(entries, e), append(list, stateOf(e))
			e.stored = true
			e.mu.Unlock()
		}
	}
	var err error
	if len(list) > 0 {
		ctx, cancel := context.WithTimeout(ctx, writePatience)
		err = g.storeStates(ctx, db, list)
		cancel()
		g.answered("states", err)
	}
	for _, e := range entries {
		e.mu.Lock()
		if err != nil {
			e.stored = false
		}
		g.states.release(e)
	}
	return err == nil
}

// stateOf is the latest state of a held entry.
func stateOf(e *entry) store.OutboundState {
	updated := time.Time{}
	if st, err := policy.ParseState(e.state); err == nil {
		updated = time.UnixMicro(st.LastUS())
	}
	return store.OutboundState{Tenant: e.tenant, Kind: store.StateOfAccount, Name: string(e.account), State: e.state, Revision: e.revision, Updated: updated}
}

// clockSkew is how far the clocks of nodes may differ, as for the engine.
const clockSkew = 10 * time.Minute

// storeStates writes states to the database. Those that a clock stored while it was ahead would be newer until its time has
// come: they give way when this process writes its first states, and when its clock has gone back.
func (g *Gate) storeStates(ctx context.Context, db *store.Store, list []store.OutboundState) error {
	if err := g.outliveClock(ctx, db); err != nil {
		return err
	}
	return db.SaveOutboundStates(ctx, list)
}

func (g *Gate) outliveClock(ctx context.Context, db *store.Store) error {
	g.stored.Lock()
	defer g.stored.Unlock()
	now := g.now()
	if g.storedAt.IsZero() || now.Before(g.storedAt.Add(-clockSkew)) {
		n, err := db.GiveWayOutboundStates(ctx, now.Add(clockSkew))
		if err != nil {
			return err
		}
		if n > 0 {
			g.log.Warn("states of accounts were from the future: a clock was ahead", "count", n)
		}
	}
	g.storedAt = now
	return nil
}
