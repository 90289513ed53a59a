package fsck

import (
	"context"
	"errors"
	"fmt"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// No sweep goes from the index to the objects: that one is missing or damaged the first to see are those who read mail. What they meet
// is looked at again apart from them, so that no answer waits for it, and by one at a time, however often somebody asks.

// maxSuspects is how many messages wait to be looked at. One more is left until somebody reads it again, or mairust fsck runs.
const maxSuspects = 4096

// Suspect has a message looked at again when err, which a reader met, is blob.ErrNotFound or blob.ErrDamaged. Other errors say nothing
// about the message. It does not wait: Examine does the work.
func (f *Fsck) Suspect(id store.MessageID, err error) {
	if !errors.Is(err, blob.ErrNotFound) && !errors.Is(err, blob.ErrDamaged) {
		return
	}
	select {
	case f.suspects <- id:
	default:
	}
}

// Examine marks the messages whose objects are as bad as readers found them, until ctx ends.
func (f *Fsck) Examine(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-f.suspects:
			if err := f.examineSuspect(ctx, id); err != nil && ctx.Err() == nil {
				f.log.Warn("message not examined", "message_id", string(id), "err", err)
			}
		}
	}
}

// examineSuspect reads the whole object, since the reader may have met something else: a message that went, an object that was mended
// meanwhile. One that is marked already is not read.
func (f *Fsck) examineSuspect(ctx context.Context, id store.MessageID) error {
	row, found, err := f.row(ctx, id)
	if err != nil || !found || !row.Damaged.IsZero() {
		return err
	}
	if err := f.isListed(ctx, row.Key); err != nil {
		return err // what a crash has left may be on its way to its place
	}
	want := blob.Want{Key: row.Key, SizeBytes: row.SizeBytes, Digest: row.Digest}
	bad := blob.NewVerifier(f.objects).Check(ctx, want)
	if !errors.Is(bad, blob.ErrNotFound) && !errors.Is(bad, blob.ErrDamaged) {
		return bad
	}
	// After the object: if its disk went before it was read, this shows it. The last comparison may be from before that.
	if w, st, err := f.readBoth(ctx); err != nil || w.discord(st) != agree {
		return err
	}
	now, found, err := f.row(ctx, id)
	if err != nil || !found || now.Key != row.Key {
		return err
	}
	_, err = f.mark(ctx, now, bad.Error())
	return err
}

// isListed is an error while the object store does not say what it has.
func (f *Fsck) isListed(ctx context.Context, key string) error {
	for _, err := range f.listStored(ctx, key) {
		if err != nil && !isUnlisted(err) {
			return err
		}
	}
	return nil
}

// CountDamaged is the number of messages that are marked as damaged, by whoever found it; the metric says the same from then on.
func (f *Fsck) CountDamaged(ctx context.Context) (int64, error) {
	n, err := f.store.CountDamaged(ctx)
	if err != nil {
		return 0, fmt.Errorf("count damaged messages: %w", err)
	}
	f.metrics.damaged.Set(float64(n))
	return n, nil
}
