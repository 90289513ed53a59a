// Package fsck keeps objects and index at one: a sweep in the background that errs towards keeping, the check and repair
// of mairust fsck, and the descriptions of mailboxes from which an index can be made again.
//
// An object without a row is first of all a message that the database lost. Nothing is removed unless it is known to be
// stored elsewhere, or nobody's for a month; and nothing at all while the database may be another one than the objects
// belong to. docs/adr/0011 says why.
package fsck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// Options of the sweep. Zero values mean the defaults.
type Options struct {
	// Interval is the time between sweeps; default 1 hour.
	Interval time.Duration `yaml:"interval"`
	// MinAge is how old an object must be to be missed in the index: those of deliveries under way have no row yet;
	// default 1 hour.
	MinAge time.Duration `yaml:"min_age"`
	// KeepOrphans is how long what belongs to no mailbox stays below orphan/; default 30 days.
	KeepOrphans time.Duration `yaml:"keep_orphans"`
	// MassObjects and MassPercent (of all objects) are how many objects without a row a sweep takes for the remains of
	// crashes; the greater number counts. More of them stop it; default 100 and 1.
	MassObjects int64 `yaml:"mass_objects"`
	MassPercent int64 `yaml:"mass_percent"`
}

func (o Options) withDefaults() Options {
	o.Interval = cmp.Or(o.Interval, time.Hour)
	o.MinAge = cmp.Or(o.MinAge, time.Hour)
	o.KeepOrphans = cmp.Or(o.KeepOrphans, 30*24*time.Hour)
	o.MassObjects = cmp.Or(o.MassObjects, 100)
	o.MassPercent = cmp.Or(o.MassPercent, 1)
	return o
}

// Bucket is where the objects are.
type Bucket interface {
	blob.Bucket
	blob.Replacer
}

// Deps are what a Fsck works with. Store, Objects and Verify are required.
type Deps struct {
	Store   *store.Store
	Objects Bucket
	// Verify checks the MAC of a scan header.
	Verify func(mac string, fields ...string) error
	// Log may be nil.
	Log *slog.Logger
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Fsck compares and mends. Its methods may be called from many goroutines and processes: what changes things runs once
// at a time, whoever shares the database.
type Fsck struct {
	options Options
	store   *store.Store
	objects Bucket
	verify  func(mac string, fields ...string) error
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	done    describedFolders
	// describing is held by who describes mailboxes.
	describing sync.Mutex
	sure       sure
	// raising is held by who moves the epoch on, each watchEvery.
	raising    sync.Mutex
	watchEvery time.Duration
	late       lateness
	// maxDocument and tellEvery are the constants of those names, but for tests.
	maxDocument int64
	tellEvery   time.Duration
	// renewed is when this process has given all folders a new UIDVALIDITY.
	renewed renewals
	// told and toldUndescribed are the last errors of sweeps and of descriptions in the log.
	told, toldUndescribed told
	// suspects are messages that readers could not read.
	suspects chan store.MessageID
	// step is called after each act that a crash could follow; tests end it there.
	step func(name string) error
}

// ErrStopped says that nothing may be removed until an operator has run mairust fsck --repair.
var ErrStopped = errors.New("the sweep is stopped")

// ErrAnother is the ErrStopped of a database that is another one than the objects belong to, was set back, or is being made anew.
var ErrAnother = fmt.Errorf("%w, and the database does not know all that the objects do", ErrStopped)

// New makes a Fsck.
func New(o Options, d Deps) (*Fsck, error) {
	if d.Store == nil || d.Objects == nil || d.Verify == nil {
		return nil, errors.New("fsck: Store, Objects and Verify are required")
	}
	o = o.withDefaults()
	if min(o.Interval, o.MinAge, o.KeepOrphans) < 0 || min(o.MassObjects, o.MassPercent) < 0 {
		return nil, errors.New("fsck: an option is negative")
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	f := &Fsck{
		options: o, store: d.Store, objects: d.Objects, verify: d.Verify, log: d.Log, now: d.Now,
		metrics: newMetrics(d.Registerer), watchEvery: watchEvery, sure: sure{asking: make(chan struct{}, 1)}, step: func(string) error { return nil },
		suspects: make(chan store.MessageID, maxSuspects), maxDocument: maxDocument, tellEvery: tellEvery,
	}
	f.late.began, f.late.busy = f.now(), f.now()
	f.sure.forget()
	return f, nil
}

const (
	// describeEvery is how soon a mailbox or folder that was made, or a quota that was changed, is described in the object store.
	describeEvery = 5 * time.Second
	// watchEvery is how often the database is compared with the object store's idea of it: one that was set back by
	// less shows by its orphans only.
	watchEvery = time.Minute
)

// Run watches the database, describes mailboxes, and sweeps, until ctx ends.
func (f *Fsck) Run(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() { f.describeOnAndOn(ctx) })
	group.Go(func() { f.sweepOnAndOn(ctx) })
	group.Wait()
}

func (f *Fsck) describeOnAndOn(ctx context.Context) {
	changed, done := f.followChanges(), f.now()
	var group sync.WaitGroup
	defer group.Wait()
	all := true
	var describing atomic.Bool
	describe := func() {
		began := f.now()
		err := changed.describe(ctx)
		if errors.Is(err, store.ErrSetBack) {
			all, err = true, changed.describe(ctx)
		}
		if err == nil && all && describing.CompareAndSwap(false, true) { // what changed before is described with all, which takes as long as there are mailboxes
			all = false
			group.Go(func() {
				f.describeAllOnce(ctx)
				describing.Store(false)
			})
		}
		since := f.DescribeSince(ctx, done)
		if since == nil {
			done = began
		}
		f.tellUndescribed(ctx, errors.Join(err, since))
	}
	describe()
	every(ctx, describeEvery, describe)
}

// describeAllOnce describes all mailboxes, and tries again until it could, less and less often, since there may be a million of them.
func (f *Fsck) describeAllOnce(ctx context.Context) {
	for wait := describeEvery; ; wait = min(2*wait, f.options.Interval) {
		err := f.DescribeAll(ctx)
		f.tellUndescribed(ctx, err)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (f *Fsck) tellUndescribed(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil && f.toldUndescribed.isNews(err, f.now(), tellOthers) {
		f.log.Warn("mailboxes not described", "err", err)
	}
}

func (f *Fsck) sweepOnAndOn(ctx context.Context) {
	f.tell(ctx, f.Watch(ctx))
	var failed failures
	every(ctx, f.watchEvery, func() {
		err := f.Watch(ctx)
		if err == nil && failed.mayTry(f.now()) && f.isDue(ctx) {
			_, err = f.Sweep(ctx)
			failed.note(err, f.now(), f.watchEvery, f.options.Interval)
			if failed.wait > 0 {
				f.late.noteFailed(f.now())
			}
		}
		f.tell(ctx, err)
	})
}

// tell counts an error, and logs it, unless that was done already or it is none.
func (f *Fsck) tell(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrStopped) || errors.Is(err, ErrBusy) {
		return
	}
	f.metrics.failures.Inc()
	if f.told.isNews(err, f.now(), 0) {
		f.log.Error("sweep", "err", err)
	}
}

// isDue says whether the last complete sweep, on whatever node, was long enough ago, or was noted by a clock that was far ahead.
func (f *Fsck) isDue(ctx context.Context) bool {
	st, err := f.store.SweepState(ctx)
	return err == nil && st.Stopped == "" && f.now().Sub(st.SweptAt).Abs() >= f.options.Interval
}

func every(ctx context.Context, interval time.Duration, do func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}
