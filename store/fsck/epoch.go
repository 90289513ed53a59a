package fsck

import (
	"context"
	"errors"
	"fmt"

	"github.com/mairust/mairust/store"
)

// The epoch of database and witness goes on each minute: a database that is set back shows by it, and by as much as it was. So it goes
// on as well while somebody sweeps or repairs for hours, and while the sweep is stopped, as long as they do not contradict each other.

// Watch compares, and moves the epoch on when nobody else is at it.
func (f *Fsck) Watch(ctx context.Context) error {
	compared := f.Compare(ctx)
	if compared != nil && !errors.Is(compared, ErrStopped) {
		return compared
	}
	if err := f.exclusively(ctx, 0, f.moveOn); err != nil && !errors.Is(err, ErrBusy) {
		return err
	}
	return compared
}

// moveOn moves the epoch on when database and witness agree. It is for who holds the lease.
func (f *Fsck) moveOn(ctx context.Context) error {
	f.raising.Lock()
	defer f.raising.Unlock()
	w, st, err := f.readBoth(ctx)
	if err != nil || w.contradicts(st) != "" || st.Stopped == rebuilding {
		return err
	}
	return f.raise(ctx, w, st)
}

// raise moves the epoch of both on. The database is never ahead by more than one: else a database that is set back could
// be ahead of the witness still, and one whose witness cannot be written would seem to have lost its objects.
func (f *Fsck) raise(ctx context.Context, w *witness, st store.SweepState) error {
	if w == nil && st.Epoch == 0 || w != nil && st.Epoch == w.Epoch {
		return f.raiseAnd(ctx, func(ctx context.Context) error { return f.store.NextEpoch(ctx, st.Epoch) })
	}
	return f.writeWitness(ctx, st)
}

// raiseAnd raises the epoch of the database, and writes the witness of what it is then.
func (f *Fsck) raiseAnd(ctx context.Context, raise func(ctx context.Context) error) error {
	if err := raise(ctx); err != nil {
		return fmt.Errorf("raise epoch: %w", err)
	}
	if err := f.step("epoch raised"); err != nil {
		return err
	}
	st, err := f.store.SweepState(ctx)
	if err != nil {
		return fmt.Errorf("raise epoch: %w", err)
	}
	return f.writeWitness(ctx, st)
}

// errMeanwhile says that what a repair has seen to is not all there is.
var errMeanwhile = errors.New("database and objects have come to contradict each other meanwhile: run it again")

// accept makes the database, as it is, the one that the objects belong to. had is how they contradicted each other when the repair began, kept how
// many objects without a row it has kept.
func (f *Fsck) accept(ctx context.Context, had discord, kept int64) error {
	f.raising.Lock()
	defer f.raising.Unlock()
	w, st, err := f.readBoth(ctx)
	switch has := w.discord(st); {
	case err != nil:
	case has == agree:
		err = f.raise(ctx, w, st)
	case has != had:
		err = errMeanwhile
	default:
		err = f.raiseAnd(ctx, func(ctx context.Context) error { return f.store.RaiseEpoch(ctx, w.epoch()) })
	}
	if err == nil {
		err = f.step("witness written")
	}
	if err == nil {
		err = f.store.ResumeSweep(ctx, kept)
	}
	if err != nil {
		return fmt.Errorf("accept database: %w", err)
	}
	f.sure.forget()
	f.metrics.setStopped(false)
	return nil
}

func (w *witness) epoch() int64 {
	if w == nil {
		return 0
	}
	return w.Epoch
}
