package fsck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mairust/mairust/store"
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
		s.strangers.Add(1)
		return kept, why, nil
	}
	if blob.CheckKey(to) != nil {
		return kept, why, nil //nolint:nilerr // a key too long to be moved is no error: it stays
	}
	err := s.copyAside(ctx, o, to)
	if errors.Is(err, blob.ErrExists) {
		var same bool
		if same, err = s.areSame(ctx, o, to); err == nil && !same {
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

// takeBack gives a message that was moved aside its old key again, when its row, its mailbox or a description of it is there now: a newer dump
// was restored, or other objects. The next sweep indexes it. keep says that it must not expire: a key is not at hand, or what is in its
// place is not whole, or may not stay (mayGo). What this puts there itself stays: a copying to another store finds the place taken.
func (s *settler) takeBack(ctx context.Context, o object) (back, keep bool, err error) {
	if !o.isMessageAside() {
		return false, false, nil
	}
	key := strings.TrimPrefix(o.Key, asidePrefix)
	if back, err = s.isWanted(ctx, key); err == nil && back {
		err = s.copyAside(ctx, o, key)
	}
	switch {
	case errors.Is(err, blob.ErrNoKey):
		return false, !errors.Is(err, blob.ErrKeyDestroyed), nil
	case err == nil && !back:
		return false, false, nil
	}
	if errors.Is(err, blob.ErrExists) {
		if back, keep, err = s.agrees(ctx, o, key); err != nil || !back {
			return false, keep, err
		}
	}
	if err == nil {
		err = s.step("copied back")
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = s.objects.Delete(ctx, o.Key)
	}
	if err != nil {
		return false, true, fmt.Errorf("take back from %s: %w", asidePrefix, err)
	}
	s.metrics.orphans.WithLabelValues("back").Inc()
	s.log.Warn("object taken back, it belongs to a mailbox after all", "key", key)
	return true, false, s.step("taken back")
}

// agrees says whether what is at the key is the message that lies aside, byte for byte, and is there to stay. If that is damaged and the one
// aside is not, it is mended, and the one aside is kept for a later sweep; so it is if neither is what the index says, or there is no row.
func (s *settler) agrees(ctx context.Context, o object, key string) (same, keep bool, err error) {
	same, err = s.areSame(ctx, o, key)
	if err == nil && same {
		same, err = s.mayGo(ctx, o, key)
		return same, true, err
	}
	if err != nil && !errors.Is(err, blob.ErrDamaged) {
		return false, true, err
	}
	row, found, err := s.row(ctx, placeOf(key).message)
	if err != nil || !found || row.Key != key {
		return false, true, err
	}
	if whole, err := s.isWhole(ctx, row); err != nil || whole {
		return false, !whole, err
	}
	c, err := s.content(ctx, o.Key)
	if err != nil || !c.is(row) {
		return false, true, err
	}
	return false, true, s.mendFrom(ctx, o, row)
}

// isMessageAside says whether it was moved aside for want of a mailbox, as far as its key tells. An empty object is no message.
func (o object) isMessageAside() bool {
	return o.SizeBytes > 0 && placeOf(strings.TrimPrefix(o.Key, asidePrefix)).kind == message
}

// isWanted says whether the message of a key would not be moved aside.
func (s *settler) isWanted(ctx context.Context, key string) (bool, error) {
	p := placeOf(key)
	rows, err := s.store.ObjectStates(ctx, []store.MessageID{p.message})
	if err != nil {
		return false, err
	}
	if row, found := rows[p.message]; found {
		return row.Key == key, nil
	}
	address, why, err := s.mailbox(ctx, p)
	return err == nil && (why != "" || !address.IsZero()), err
}

// errListed says that an object was read with another size than it was listed with: one of the two answers is wrong.
var errListed = errors.New("it was listed with another size than it was read with")

// errAltered says that a copy is not what was copied. It was removed again.
var errAltered = errors.New("the copy of it had other bytes")

// copyAside copies an object that can be read, as it is stored, and compares both: who calls it removes the object then.
func (f *Fsck) copyAside(ctx context.Context, o object, to string) error {
	r, err := blob.NewReader(ctx, f.objects, o.Key)
	if err != nil {
		return err
	}
	stored, ok := f.objects.(blob.Stored)
	switch {
	case !f.canHold(o.Info, r.Info().SizeBytes):
		err = fmt.Errorf("read %s: %w", o.Key, errListed)
	case ok:
		if _, err = io.Copy(io.Discard, r); err == nil {
			err = stored.CopyStored(ctx, o.Key, to)
		}
	default:
		err = f.objects.Put(ctx, to, r, r.Info().SizeBytes)
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	same, err := f.areSame(ctx, o, to)
	if err == nil && !same {
		err = errors.Join(fmt.Errorf("copy %s to %s: %w", o.Key, to, errAltered), f.objects.Delete(ctx, to))
	}
	return err
}

// areSame compares the bytes of an object, all that were listed, with those of another one.
func (f *Fsck) areSame(ctx context.Context, o object, other string) (bool, error) {
	c, err := f.content(ctx, o.Key)
	if err != nil {
		return false, err
	}
	if !f.canHold(o.Info, c.sizeBytes) {
		return false, fmt.Errorf("read %s: %w", o.Key, errListed)
	}
	with, err := f.content(ctx, other)
	return err == nil && with.digest == c.digest, err
}
