package fsck

import (
	"context"
	"errors"
	"io"

	"github.com/mairust/mairust/store/blob"
)

// moveAside puts what belongs to no mailbox below orphan/, where it stays for a while. The bytes are copied, so that the
// copy's age is that of the move.
func (s *settler) moveAside(ctx context.Context, o object, why string) (outcome, string, error) {
	to := asidePrefix + o.Key
	if o.young {
		return indexed, "", nil
	}
	if s.keepStrangers {
		return kept, why, nil
	}
	if blob.CheckKey(to) != nil {
		return kept, why, nil //nolint:nilerr // a key too long to be moved is no error: it stays
	}
	err := s.copyAside(ctx, o.Key, to)
	if errors.Is(err, blob.ErrExists) {
		var same bool
		if same, err = s.areSame(ctx, o.Key, to); err == nil && !same {
			return kept, "there is another object of this name below " + asidePrefix, nil
		}
	}
	if err == nil {
		err = s.step("copied aside")
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return failed, "", err
	}
	if err := s.objects.Delete(ctx, o.Key); err != nil {
		return failed, "", err
	}
	return moved, why, s.step("moved aside")
}

// copyAside copies an object that can be read, as it is stored.
func (f *Fsck) copyAside(ctx context.Context, key, to string) error {
	r, err := blob.NewReader(ctx, f.objects, key)
	if err != nil {
		return err
	}
	if stored, ok := f.objects.(blob.Stored); ok {
		if _, err = io.Copy(io.Discard, r); err == nil {
			err = stored.CopyStored(ctx, key, to)
		}
	} else {
		err = f.objects.Put(ctx, to, r, r.Info().SizeBytes)
	}
	return errors.Join(err, r.Close())
}

func (f *Fsck) areSame(ctx context.Context, a, b string) (bool, error) {
	var digests [2][32]byte
	for i, key := range []string{a, b} {
		c, err := f.content(ctx, key)
		if err != nil {
			return false, err
		}
		digests[i] = c.digest
	}
	return digests[0] == digests[1], nil
}
