package fsck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// Swept is what a sweep saw and did.
type Swept struct {
	// Objects that were seen, and Young ones that were left alone.
	Objects, Young int64
	// Orphans are the objects without a row, by what became of them.
	Orphans map[string]int64
	// Back are objects that came back from orphan/, since their mailbox is known now; Expired ones were removed there.
	Back, Expired int64
	// Stale copies of attachments, whose message is gone or that nobody knows, were removed.
	Stale int64
	// Damaged messages were found to have an object of another size.
	Damaged int64
	// Unfinished is what crashes had left in the object store that is no object.
	Unfinished int
}

// collectMost is how many objects without a row, and how many that expired, one sweep settles: it bounds memory.
const collectMost = 100_000

// sweep is one under way.
type sweep struct {
	*settler
	Swept
	orphans, asides []object
	stale           []object
	orphanCount     int64
	// at is when it began. steady says whether ages, which are up to then, can be believed; waiting counts what would have expired if they could.
	at      time.Time
	steady  bool
	waiting int64
	// nested is how many objects of another installation below this one there are, and nestedKey one of them.
	nested    int64
	nestedKey string
	// untimely is how many messages in orphan/ are old and never expire (isTimely), and untimelyKey one of them.
	untimely    int64
	untimelyKey string
}

// Sweep walks all objects once, and settles those that no row speaks of: it adopts what the database lost, removes what
// is stored twice, and moves aside what is nobody's. It also describes all mailboxes. ErrStopped when too many objects
// have no row, or when the database is not the one that the objects belong to, or was set back in time: then it has
// removed nothing. ErrBusy when another process sweeps. What cannot be read it goes past, and tells in the end (blob.UnlistedError): then
// nothing has expired, and the sweep does not count as a complete one.
func (f *Fsck) Sweep(ctx context.Context) (Swept, error) {
	w := &sweep{settler: f.newSettler(), Swept: Swept{Orphans: map[string]int64{}}}
	err := f.exclusively(ctx, 0, func(ctx context.Context) error {
		began := time.Now()
		if err := w.run(ctx); err != nil {
			return err
		}
		f.metrics.seconds.Set(time.Since(began).Seconds())
		f.metrics.swept.Set(float64(f.now().Unix()))
		f.log.Info("swept", "objects", w.Objects, "young", w.Young, "orphans", w.orphanCount, "outcomes", w.Orphans,
			"back", w.Back, "expired", w.Expired, "stale", w.Stale, "damaged", w.Damaged, "unfinished", w.Unfinished, "took", time.Since(began))
		return nil
	})
	return w.Swept, err
}

func (w *sweep) run(ctx context.Context) error {
	if err := w.Compare(ctx); err != nil {
		return err
	}
	began := time.Now() // of the clock that nobody sets
	w.at = w.now()
	st, err := w.store.SweepState(ctx)
	if err != nil {
		return err
	}
	w.steady = w.isSteady(st, w.at)
	var unlisted error
	if w.Young, unlisted = w.walk(ctx, w.options.MinAge, false, func(batch []object) error { return w.look(ctx, batch) }); unlisted != nil && !isUnlisted(unlisted) {
		return unlisted
	}
	w.steady = w.steady && unlisted == nil // nobody knows what belongs to what was not seen
	w.metrics.seen.Set(float64(w.Objects + w.Young))
	if w.nested > 0 {
		w.log.Warn("objects of another installation lie below this one's, and are left alone; give each a prefix or base_path of its own", "objects", w.nested, "key", w.nestedKey)
	}
	if most := w.most(); w.orphanCount-st.Kept > most {
		return w.stop(ctx, fmt.Sprintf("%d of %d objects have no row in the database, more than the %d that crashes may leave and the %d that were kept before",
			w.orphanCount, w.Objects, most, st.Kept))
	}
	if err := w.settleAll(ctx); err != nil {
		return err
	}
	if err := w.settleAsides(ctx); err != nil {
		return err
	}
	if err := w.removeStale(ctx); err != nil {
		return err
	}
	w.tellUndescribed(ctx, w.DescribeAll(ctx)) // what is not described is no reason to walk all objects again at once
	if w.Unfinished, err = w.tidyUp(ctx, w.at.Add(-w.options.MinAge)); err != nil {
		return err
	}
	if _, err := w.CountDamaged(ctx); err != nil {
		return err
	}
	if unlisted != nil {
		return unlisted // all else is done, but the sweep is not complete
	}
	return w.store.NoteSwept(ctx, w.at.Add(time.Since(began)), w.keptThen(st.Kept))
}

// keptThen is how many objects without a row every sweep would keep, when it was before. What was not settled, since it is more than one sweep settles or
// could not be read, is not taken for kept beyond that: it adds up until the sweep is stopped.
func (w *sweep) keptThen(before int64) int64 {
	is, left := w.keptForGood(), w.orphanCount-int64(len(w.orphans))+w.Orphans[string(failed)]
	return is + min(left, max(0, before-is))
}

// most is how many objects without a row a sweep takes for the remains of crashes.
func (w *sweep) most() int64 {
	return min(collectMost, max(w.options.MassObjects, w.Objects*w.options.MassPercent/100))
}

// look sorts a batch of objects.
func (w *sweep) look(ctx context.Context, batch []object) error {
	w.Objects += int64(len(batch))
	for _, o := range batch {
		switch {
		case o.isOrphan():
			w.orphanCount++
			w.orphans = collect(w.orphans, o)
		case o.stale:
			w.stale = collect(w.stale, o)
		case o.kind == aside && (o.isMessageAside() || w.isExpired(o)):
			w.asides = collect(w.asides, o)
		case o.kind == nested:
			w.nested, w.nestedKey = w.nested+1, o.Key
			w.Objects--
		case o.kind == message && !w.canHold(o.Info, o.row.SizeBytes):
			w.Damaged++
			if _, err := w.mark(ctx, *o.row, fmt.Sprintf("it is stored in %d bytes, which cannot hold the %d it had", o.SizeBytes, o.row.SizeBytes)); err != nil {
				return err
			}
		}
	}
	return nil
}

func collect(list []object, o object) []object {
	if len(list) == collectMost {
		return list
	}
	return append(list, o)
}

// mark marks a message whose object is damaged, and tells it the first time.
func (f *Fsck) mark(ctx context.Context, row store.ObjectState, what string) (first bool, err error) {
	if !row.Damaged.IsZero() {
		return false, nil
	}
	if first, err = f.store.MarkDamaged(ctx, row.ID); err != nil {
		return false, fmt.Errorf("mark %s as damaged: %w", row.ID, err)
	}
	if first {
		f.log.Error("object damaged", "message_id", string(row.ID), "key", row.Key, "what", what)
	}
	return first, f.step("marked")
}

// tidyUp removes what the object store keeps of acts that crashes have broken off, where it keeps any. That it cannot is
// logged and counted, and keeps nothing else from being done: there are servers that list no unfinished uploads.
func (f *Fsck) tidyUp(ctx context.Context, before time.Time) (removed int, err error) {
	t, ok := f.objects.(blob.Tidier)
	if !ok {
		return 0, nil
	}
	removed, err = t.Tidy(ctx, before)
	if err != nil && ctx.Err() == nil {
		f.metrics.untidied.Inc()
		f.log.Warn("what crashes have left in the object store was not all removed", "removed", removed, "err", err)
		err = nil
	}
	return removed, err
}

func (w *sweep) settleAll(ctx context.Context) error {
	return inParallel(ctx, w.orphans, func(ctx context.Context, o object) error {
		done, _, err := w.settle(ctx, o)
		w.mu.Lock()
		w.Orphans[string(done)]++
		w.mu.Unlock()
		return w.giveUp(ctx, o.Key, err)
	})
}

// giveUp says whether an error ends all work; one of a single object is logged.
func (f *Fsck) giveUp(ctx context.Context, key string, err error) error {
	if err == nil || endsAll(ctx, err) {
		return err
	}
	f.log.Error("object not settled", "key", key, "err", err)
	return nil
}

// endsAll says whether an error is about more than one object.
func endsAll(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrFull) || errors.Is(err, blob.ErrFull) || errors.Is(err, errStep)
}

// errStep is what tests end an act with.
var errStep = errors.New("stopped by a test")

// removeStale removes copies of attachments. They are made again when they are asked for. Those that cannot be removed, because the
// object store does not allow it, take nothing but space: they are counted, and told once for all.
func (w *sweep) removeStale(ctx context.Context) error {
	var left int64
	var last error
	err := inParallel(ctx, w.stale, func(ctx context.Context, o object) error {
		err := w.objects.Delete(ctx, o.Key)
		if err != nil && endsAll(ctx, err) {
			return fmt.Errorf("remove copy of an attachment: %w", err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil {
			left, last = left+1, err
			return nil
		}
		w.Stale++
		return w.step("stale copy removed")
	})
	if left > 0 {
		w.metrics.unremoved.Add(float64(left))
		w.log.Error("copies of attachments not removed", "objects", left, "err", last)
	}
	return err
}

// settleAsides takes back from orphan/ what belongs to a mailbox after all, and removes what was nobody's for long enough.
func (w *sweep) settleAsides(ctx context.Context) error {
	err := inParallel(ctx, w.asides, func(ctx context.Context, o object) error {
		back, keep, err := w.takeBack(ctx, o)
		switch {
		case err != nil, keep:
		case back:
			w.mu.Lock()
			w.Back++
			w.mu.Unlock()
		case w.isOld(o) && !w.isTimely(o):
			w.mu.Lock()
			w.untimely, w.untimelyKey = w.untimely+1, o.Key
			w.mu.Unlock()
		case w.isExpired(o) && !w.steady:
			w.mu.Lock()
			w.waiting++
			w.mu.Unlock()
		case w.isExpired(o):
			err = w.expire(ctx, o)
		}
		return w.giveUp(ctx, o.Key, err)
	})
	if w.waiting > 0 {
		w.log.Warn("what was nobody's for long enough is kept until the next sweep: the last complete one was long ago, the clock was set, or not all could be listed", "objects", w.waiting)
	}
	if w.untimely > 0 {
		w.log.Warn("messages below orphan/ never expire, since by their files' times they were moved there before they were delivered; set the time of each file with touch (copy an object onto itself), or remove it",
			"objects", w.untimely, "key", w.untimelyKey)
	}
	return err
}

// isExpired says whether an object in orphan/ was nobody's for long enough, as far as its time can be believed.
func (w *sweep) isExpired(o object) bool { return w.isOld(o) && w.isTimely(o) }

func (w *sweep) isOld(o object) bool { return w.at.Sub(o.Modified) > w.options.KeepOrphans }

// isTimely says whether the time of an object in orphan/ can be that of its move. A message that seems to have been moved there before it was
// there at all was moved while the clock was wrong, and stays: by the time of its delivery it may have been old already.
func (w *sweep) isTimely(o object) bool {
	m := placeOf(strings.TrimPrefix(o.Key, asidePrefix)).message
	return !o.isMessageAside() || !o.Modified.Before(timeOf(m, o.Modified, w.at))
}

// minSteady is what may be between two sweeps, though the interval is shorter.
const minSteady = 48 * time.Hour

// isSteady says whether the last complete sweep was not long before this one, and not after it: a clock that is a month ahead, for a minute or
// for good, makes all seem old. Nothing is removed for its age then before another sweep, an interval later.
func (f *Fsck) isSteady(st store.SweepState, now time.Time) bool {
	since := now.Sub(st.SweptAt)
	return 0 <= since && since <= max(2*f.options.Interval, minSteady)
}

func (w *sweep) expire(ctx context.Context, o object) error {
	if err := w.objects.Delete(ctx, o.Key); err != nil {
		return fmt.Errorf("remove what expired: %w", err)
	}
	w.mu.Lock()
	w.Expired++
	w.mu.Unlock()
	w.metrics.orphans.WithLabelValues("expired").Inc()
	w.log.Warn("object removed that was nobody's", "key", o.Key, "since", o.Modified)
	return w.step("expired")
}
