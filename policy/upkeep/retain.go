package upkeep

import (
	"context"
	"fmt"
	"time"

	"github.com/mairust/mairust/store"
)

const (
	day = 24 * time.Hour
	// sumsName names the days that were summed up.
	sumsName = "outbound-sums"
	// removalName names the runs that removed what was old, or would have.
	removalName = "outbound-removal"
	// sumAgain is how many past days are summed up again each day: decisions may be written days late, when the database
	// was away.
	sumAgain = 7
	// removeAtOnce is how many rows of a kind go before ctx is looked at.
	removeAtOnce = 5_000
	// keepSettled is how long bounces that are settled are known, so that they are not counted again.
	keepSettled = 14 * day
	keepChanges = day
)

// SumUp sums up today so far and, once a day, the days before, back to the last one that was done.
func (u *Upkeep) SumUp(ctx context.Context) error {
	now := u.now().UTC()
	today := now.Truncate(day)
	done, err := u.store.WorkedDay(ctx, sumsName)
	if err != nil {
		return fmt.Errorf("sum up days: %w", err)
	}
	if done.Before(today.Add(-day)) {
		if err := u.sumUpPast(ctx, done, now); err != nil {
			return fmt.Errorf("sum up days: %w", err)
		}
	}
	if err := u.sumUp(ctx, today); err != nil {
		return err
	}
	if err := u.noteWorked(ctx, sumsName, now); err != nil {
		return fmt.Errorf("sum up days: %w", err)
	}
	return nil
}

// sumUpPast sums up the days before today, when done is the last one that was. They are noted only if now can be the time: a day that
// is noted before it comes would count as done once it has come, and so would those before it, which were not over.
func (u *Upkeep) sumUpPast(ctx context.Context, done, now time.Time) error {
	today := now.Truncate(day)
	first, err := u.firstToSum(ctx, done, today)
	if err != nil {
		return err
	}
	for d := first; d.Before(today); d = d.Add(day) {
		if err := u.sumUp(ctx, d); err != nil {
			return err
		}
	}
	sure, err := u.believes(ctx, sumsName, now)
	if err != nil || !sure {
		return err
	}
	return u.store.NoteWorkedDay(ctx, sumsName, today.Add(-day))
}

// firstToSum is the first day to sum up, when done is the last one that was. Whatever comes after that one has all its decisions, however
// old it is, as they wait for their sum; one before has them as long as they are kept, and must not be summed up again when it has lost some.
func (u *Upkeep) firstToSum(ctx context.Context, done, today time.Time) (first time.Time, err error) {
	first = done.Add(day)
	if done.IsZero() {
		if first, err = u.store.OldestDecision(ctx); err != nil {
			return first, err
		}
		first = first.UTC().Truncate(day)
	}
	again := later(today.Add(-sumAgain*day), u.keptSince(today))
	if again.Before(first) {
		first = again
	}
	return later(first, today.Add(-time.Duration(u.options.DailyDays)*day)), nil // older sums are not kept
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (u *Upkeep) sumUp(ctx context.Context, d time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := u.store.RollUpOutbound(ctx, d); err != nil {
		return fmt.Errorf("sum up %s: %w", d.Format(time.DateOnly), err)
	}
	return nil
}

// keptSince is the first day whose decisions are all kept.
func (u *Upkeep) keptSince(today time.Time) time.Time {
	return today.Add(-time.Duration(u.options.LogDays) * day)
}

// Remove removes what is kept no longer. Decisions go by whole days, and only after their day was summed up. Nothing goes in a run
// that has none an hour to two days before it: the clock may be wrong.
func (u *Upkeep) Remove(ctx context.Context) error {
	now := u.now().UTC()
	sure, err := u.believes(ctx, removalName, now)
	switch {
	case err != nil:
	case sure:
		err = u.remove(ctx, now)
	default:
		u.log.Info("nothing old is removed in this run: none was an hour to two days before it, or the clock was set")
	}
	if err == nil {
		err = u.noteWorked(ctx, removalName, now)
	}
	if err != nil {
		return fmt.Errorf("remove old rows: %w", err)
	}
	return nil
}

func (u *Upkeep) remove(ctx context.Context, now time.Time) error {
	done, err := u.store.WorkedDay(ctx, sumsName)
	if err != nil {
		return err
	}
	decisions := u.keptSince(now.Truncate(day))
	if next := done.Add(day); next.Before(decisions) {
		decisions = next
	}
	r := store.OutboundRetention{
		Decisions: decisions, Daily: now.Add(-time.Duration(u.options.DailyDays) * day),
		History: now.Add(-time.Duration(u.options.HistoryDays) * day), Changes: now.Add(-keepChanges),
	}
	r.Accounts = r.History
	for _, remove := range []func(limit int) (int64, error){
		func(limit int) (int64, error) { return u.store.PurgeOutbound(ctx, r, limit) },
		func(limit int) (int64, error) { return u.store.PurgeBounces(ctx, now.Add(-keepSettled), limit) },
		func(limit int) (int64, error) {
			return u.store.PurgeNotices(ctx, now.Add(-time.Duration(u.options.LogDays)*day), limit)
		},
	} {
		if err := u.removeAll(ctx, remove); err != nil {
			return err
		}
	}
	return nil
}

func (u *Upkeep) removeAll(ctx context.Context, remove func(limit int) (int64, error)) error {
	for {
		n, err := remove(removeAtOnce)
		u.removed.Add(float64(n))
		if err != nil || n < removeAtOnce {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
