package fsck

import (
	"context"
	"errors"
	"fmt"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// undescribed are descriptions that could not be read or written, past which work goes on: one file that is damaged, or not ours,
// must not keep others from being described.
type undescribed struct {
	f                   *Fsck
	some                []error
	count, inARow, full int
}

// maxFailed is how many such errors are told, and after how many in a row the object store is asked for a sign of life.
const maxFailed = 10

// pass takes the error of one description, which may be nil. It returns one when all work is to end.
func (u *undescribed) pass(ctx context.Context, err error) error {
	switch {
	case err == nil:
		u.inARow, u.full = 0, 0
		return nil
	case ctx.Err() != nil, errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrFull), errors.Is(err, errStep):
		return err
	}
	u.count++
	if errors.Is(err, blob.ErrFull) {
		if u.full++; u.full >= maxFailed {
			return err // of one tenant's quota there may be some; of so many it is the store
		}
	}
	if len(u.some) < maxFailed {
		u.some = append(u.some, err)
	}
	if u.inARow++; u.inARow < maxFailed {
		return nil
	}
	u.inARow = 0
	if _, gone := u.f.objects.Stat(ctx, Witness); gone != nil && !errors.Is(gone, blob.ErrNotFound) {
		return fmt.Errorf("the object store does not answer: %w", gone)
	}
	return nil
}

// err is nil when all was passed without one.
func (u *undescribed) err() error {
	if u.count > len(u.some) {
		return fmt.Errorf("%w\nand %d more", errors.Join(u.some...), u.count-len(u.some))
	}
	return errors.Join(u.some...)
}
