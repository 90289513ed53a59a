package fsck

import (
	"context"
	"errors"
	"fmt"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// dropDuplicate removes an object whose very bytes the mailbox has under another id, once it is sure that they are there to stay.
// If they are not there, this object mends them, and a later sweep removes it.
func (s *settler) dropDuplicate(ctx context.Context, o object, c *content, same store.ObjectState) (outcome, string, error) {
	if same.Key == o.Key {
		return indexed, "", nil // its row came this moment, and it is the only object of the message
	}
	if !c.is(same) {
		return kept, "its delivery id is that of a message with other bytes, " + string(same.ID), nil
	}
	if o.young {
		return indexed, "", nil
	}
	whole, err := s.isWhole(ctx, same)
	if err != nil {
		return failed, "", err
	}
	if !whole {
		if err := s.mendFrom(ctx, o, same); err != nil {
			return failed, "", err
		}
		return mended, "the same as " + string(same.ID) + "; it goes with a later sweep", nil
	}
	if mayGo, err := s.mayGo(ctx, o, same.Key); err != nil || !mayGo {
		return indexed, "", err
	}
	if err := ctx.Err(); err != nil {
		return failed, "", err
	}
	if err := s.objects.Delete(ctx, o.Key); err != nil {
		return failed, "", err
	}
	return duplicate, "the same as " + string(same.ID), s.step("duplicate deleted")
}

// mayGo says whether an object may be removed for the one at key, which was found whole. It may not as long as that one is young: mairust
// migrate-storage may have written it this moment, and takes back what it then finds mended, or removed from the old store.
func (s *settler) mayGo(ctx context.Context, o object, key string) (bool, error) {
	info, err := s.objects.Stat(ctx, key)
	return err == nil && !info.Modified.After(o.youngAfter), err
}

// isWhole reads an object, and says whether it is what its row says.
func (f *Fsck) isWhole(ctx context.Context, row store.ObjectState) (bool, error) {
	err := blob.NewVerifier(f.objects).Check(ctx, blob.Want{Key: row.Key, SizeBytes: row.SizeBytes, Digest: row.Digest})
	if errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrDamaged) {
		return false, nil
	}
	return err == nil, err
}

// mendFrom puts the bytes of an object, which are the right ones, in the place of a damaged or missing one. The object must outlive the sweep:
// a copying to another store (package move) that wrote the damaged one takes back what it finds in its place, and the next sweep mends again.
func (s *settler) mendFrom(ctx context.Context, o object, damaged store.ObjectState) error {
	r, err := blob.NewReader(ctx, s.objects, o.Key)
	if err != nil {
		return err
	}
	err = s.objects.Replace(ctx, damaged.Key, r, r.Info().SizeBytes)
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("mend %s: %w", damaged.Key, err)
	}
	s.log.Warn("damaged object mended by a copy", "message_id", string(damaged.ID), "key", damaged.Key, "copy", o.Key)
	if err := s.step("object mended"); err != nil {
		return err
	}
	whole, err := s.isWhole(ctx, damaged)
	if err == nil && !whole {
		err = blob.ErrDamaged
	}
	if err != nil {
		return fmt.Errorf("mend %s: %w", damaged.Key, err)
	}
	return s.store.ClearDamaged(ctx, damaged.ID)
}
