// Package move takes the objects of one store to another while both are in use.
//
// From the moment the configuration names the new store, and the old one as its predecessor, whatever is written goes to
// the new one, whatever is read may come from either, and whatever is removed is removed from both (Bucket). A copying
// takes over the rest (Run), and may be broken off and begun again at any point: no object is ever in neither.
// docs/adr/0018-s3.md says more.
package move

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"time"

	"github.com/mairust/mairust/store/blob"
)

// Store is what is moved from and to.
type Store interface {
	blob.Bucket
	blob.Replacer
}

// Bucket is a new store and the one before it, as one.
type Bucket struct {
	to, from Store
	// newest is the key of an object of which both may have one, and isLater says that a was written later than b.
	newest  string
	isLater func(a, b []byte) bool
	// isKey says which objects are replaced in both; nil for none.
	isKey func(key string) bool
}

var (
	_ blob.Bucket   = (*Bucket)(nil)
	_ blob.Replacer = (*Bucket)(nil)
	_ blob.Tidier   = (*Bucket)(nil)
)

// New makes one of both. It writes to the first.
func New(to, from Store) *Bucket { return &Bucket{to: to, from: from} }

// ReadNewest has Get compare what both have under a key, and give what was written later: who goes back to a store finds there what was current when
// it was left. isLater says that a was written later than b.
func (b *Bucket) ReadNewest(key string, isLater func(a, b []byte) bool) {
	b.newest, b.isLater = key, isLater
}

// ReplaceInBoth has Replace do so in the old one too, where that has the object, for keys of tenants: who goes back to a store that has the key of before
// needs the operator's key of before.
func (b *Bucket) ReplaceInBoth(isKey func(key string) bool) { b.isKey = isKey }

// Put stores in the new one what is in neither.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	return b.PutAll(ctx, []string{key}, r, size)
}

// PutAll does so under several keys.
func (b *Bucket) PutAll(ctx context.Context, keys []string, r io.ReadSeeker, size int64) error {
	for _, key := range keys {
		if err := b.mustNotBeOld(ctx, key); err != nil {
			return fmt.Errorf("put %s: %w", key, err)
		}
	}
	return b.to.PutAll(ctx, keys, r, size)
}

func (b *Bucket) mustNotBeOld(ctx context.Context, key string) error {
	_, err := b.from.Stat(ctx, key)
	switch {
	case err == nil:
		return blob.ErrExists
	case errors.Is(err, blob.ErrNotFound):
		return nil
	}
	return err
}

// Copy copies from wherever the object is to the new one.
func (b *Bucket) Copy(ctx context.Context, src, dst string) error {
	if err := errors.Join(blob.CheckKey(src), blob.CheckKey(dst), ctx.Err()); err != nil {
		return fmt.Errorf("copy %s to %s: %w", src, dst, err)
	}
	if _, err := b.Stat(ctx, src); err != nil {
		return fmt.Errorf("copy %s to %s: %w", src, dst, err)
	}
	if err := b.mustNotBeOld(ctx, dst); err != nil {
		return fmt.Errorf("copy %s to %s: %w", src, dst, err)
	}
	err := b.to.Copy(ctx, src, dst)
	if !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	r, err := blob.NewReader(ctx, b.from, src)
	if err != nil {
		return err
	}
	return errors.Join(b.to.Put(ctx, dst, r, r.Info().SizeBytes), r.Close())
}

// Replace replaces in the new one, which is asked first from then on. What the old one has stays (but see ReplaceInBoth), also when it is the damaged object that
// was to be mended: a copying that has just written that one takes a removal from the old store for one of the message, and would take
// back what is in the place of its copy. Nor is it known here which of the two is the damaged one. Run names what differs (ErrDiffers).
func (b *Bucket) Replace(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if b.isKey != nil && b.isKey(key) {
		_, err := b.from.Stat(ctx, key)
		if err == nil {
			err = b.from.Replace(ctx, key, r, size)
		}
		if err != nil && !errors.Is(err, blob.ErrNotFound) {
			return err
		}
	}
	return b.to.Replace(ctx, key, r, size)
}

// Get reads from the new one, else from the old one.
func (b *Bucket) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	store := b.to
	if b.newest != "" && key == b.newest {
		var err error
		if store, err = b.withNewest(ctx); err != nil {
			return nil, blob.Info{}, err
		}
	}
	r, info, err := store.Get(ctx, key, offset, n)
	if errors.Is(err, blob.ErrNotFound) {
		return b.from.Get(ctx, key, offset, n)
	}
	return r, info, err
}

// maxNewest bounds what is read to be compared.
const maxNewest = 64 << 10

// withNewest is the store whose object was written later, and the new one when it cannot be told.
func (b *Bucket) withNewest(ctx context.Context) (Store, error) {
	var has [2][]byte
	for i, store := range []Store{b.to, b.from} {
		r, _, err := store.Get(ctx, b.newest, 0, maxNewest)
		if errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrDamaged) {
			return b.to, nil
		}
		if err != nil {
			return nil, err
		}
		has[i], err = io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return nil, fmt.Errorf("read %s: %w", b.newest, err)
		}
	}
	if b.isLater(has[1], has[0]) {
		return b.from, nil
	}
	return b.to, nil
}

// Stat looks in both.
func (b *Bucket) Stat(ctx context.Context, key string) (blob.Info, error) {
	info, err := b.to.Stat(ctx, key)
	if errors.Is(err, blob.ErrNotFound) {
		return b.from.Stat(ctx, key)
	}
	return info, err
}

// Delete removes from the old one first: a copying that has read the object there looks again, when it has written it, and
// takes back what has gone meanwhile.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := b.from.Delete(ctx, key); err != nil {
		return err
	}
	return b.to.Delete(ctx, key)
}

// List yields all objects of the new one, and those of the old one that the new one does not have. It remembers 8 bytes for
// each key of the new one. What could not be read of either (blob.UnlistedError) is told in the end.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		var unlisted blob.UnlistedError
		seed, seen := maphash.MakeSeed(), map[uint64]struct{}{}
		for info, err := range b.to.List(ctx, prefix) {
			if unlisted.Join(err) {
				break
			}
			if err == nil {
				seen[maphash.String(seed, info.Key)] = struct{}{}
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
		for info, err := range b.from.List(ctx, prefix) {
			if unlisted.Join(err) {
				break
			}
			if _, is := seen[maphash.String(seed, info.Key)]; is && err == nil {
				continue
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
		if unlisted.Count > 0 {
			yield(blob.Info{}, &unlisted)
		}
	}
}

// Check checks both.
func (b *Bucket) Check(ctx context.Context) error {
	return errors.Join(b.to.Check(ctx), b.from.Check(ctx))
}

// Tidy tidies those of both that need it.
func (b *Bucket) Tidy(ctx context.Context, before time.Time) (removed int, err error) {
	for _, s := range []Store{b.to, b.from} {
		if t, ok := s.(blob.Tidier); ok {
			n, failed := t.Tidy(ctx, before)
			removed, err = removed+n, errors.Join(err, failed)
		}
	}
	return removed, err
}

// Close closes those of both that can be closed.
func (b *Bucket) Close() error {
	var errs []error
	for _, s := range []Store{b.to, b.from} {
		if c, ok := s.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
