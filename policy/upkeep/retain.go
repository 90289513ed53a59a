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
	today := u.now().UTC().Truncate(day)
	done, err := u.store.WorkedDay(ctx, sumsName)
	if err != nil {
		return fmt.Errorf("sum up days: %w", err)
	}
	if yesterday := today.Add(-day); done.Before(yesterday) {
		first, err := u.firstToSum(ctx, done, yesterday)
		if err != nil {
			return fmt.Errorf("sum up days: %w", err)
		}
		for d := first; !d.After(yesterday); d = d.Add(day) {
			if err := u.sumUp(ctx, d); err != nil {
				return err
			}
		}
		if err := u.store.NoteWorkedDay(ctx, sumsName, yesterday); err != nil {
			return fmt.Errorf("sum up days: %w", err)
		}
	}
	return u.sumUp(ctx, today)
}

// firstToSum is the first day to sum up, when done is the last one that was. Whatever comes after that one has all its decisions, however
// old it is, as they wait for their sum; one before has them as long as they are kept, and must not be summed up again when it has lost some.
func (u *Upkeep) firstToSum(ctx context.Context, done, yesterday time.Time) (first time.Time, err error) {
	first = done.Add(day)
	if done.IsZero() {
		if first, err = u.store.OldestDecision(ctx); err != nil {
			return first, err
		}
		first = first.UTC().Truncate(day)
	}
	again := later(yesterday.Add(-(sumAgain-1)*day), u.keptSince())
	if again.Before(first) {
		first = again
	}
	return later(first, u.now().UTC().Truncate(day).Add(-time.Duration(u.options.DailyDays)*day)), nil // older sums are not kept
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
func (u *Upkeep) keptSince() time.Time {
	return u.now().UTC().Truncate(day).Add(-time.Duration(u.options.LogDays) * day)
}

// Remove removes what is kept no longer. Decisions go by whole days, and only after their day was summed up.
func (u *Upkeep) Remove(ctx context.Context) error {
	now := u.now().UTC()
	done, err := u.store.WorkedDay(ctx, sumsName)
	if err != nil {
		return fmt.Errorf("remove old rows: %w", err)
	}
	decisions := u.keptSince()
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
			return fmt.Errorf("remove old rows: %w", err)
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
