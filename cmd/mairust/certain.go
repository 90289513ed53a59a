package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/fsck"
)

// certainIndex says that there is no mailbox only when that is certain, since Postfix then bounces mail that it has taken: while the
// sweep is stopped the database may be another one, or an old one, which does not know all mailboxes, and one that knows none may be a new one. And it takes nothing while the
// objects that belong to the database are not there, since what is stored then is hidden when they are back.
type certainIndex struct {
	*store.Store
	fsck *fsck.Fsck
}

// Resolve is that of the store, but for store.ErrNotFound while that is not certain, and while what is delivered would leave objects and
// no rows: then the error is a temporary one.
func (i certainIndex) Resolve(ctx context.Context, rcpt mail.Address, delimiters string) (store.Target, error) {
	if err := i.fsck.HasObjects(ctx); err != nil {
		return store.Target{}, err
	}
	target, err := i.Store.Resolve(ctx, rcpt, delimiters)
	if err == nil {
		if err := i.Accepting(ctx); err != nil {
			return store.Target{}, err
		}
	}
	if errors.Is(err, store.ErrNotFound) {
		if err := errors.Join(i.fsck.Certain(ctx), i.knowsSomebody(ctx)); err != nil {
			return store.Target{}, fmt.Errorf("no mailbox is known, but that is not certain: %w", err)
		}
	}
	return target, err
}

// Deliver is that of the store, for objects that are where they belong.
func (i certainIndex) Deliver(ctx context.Context, copies []store.Copy) []store.Result {
	err := i.fsck.HasObjects(ctx)
	if err == nil {
		return i.Store.Deliver(ctx, copies)
	}
	results := make([]store.Result, len(copies))
	for n := range results {
		results[n].Err = fmt.Errorf("%w: %w", store.ErrNotStored, err)
	}
	return results
}

// DeliverWhile is that of the store.
func (i certainIndex) DeliverWhile(ctx context.Context, c store.Copy, put func() error) (store.Result, error) {
	if err := i.fsck.HasObjects(ctx); err != nil {
		return store.Result{}, err
	}
	return i.Store.DeliverWhile(ctx, c, put)
}

// isUncertain says whether the database may not know all mailboxes, of a domain that it knows or of others. Where it is the one that the
// objects belong to, and only the sweep is stopped, it knows all domains.
func (i certainIndex) isUncertain(ctx context.Context, known bool) (bool, error) {
	err := i.fsck.Certain(ctx)
	if errors.Is(err, fsck.ErrStopped) {
		return known || errors.Is(err, fsck.ErrAnother), nil
	}
	if err == nil {
		err = i.knowsSomebody(ctx)
	}
	if errors.Is(err, errEmpty) {
		return true, nil
	}
	return false, err
}

var errEmpty = errors.New("the database knows no mailbox at all: it may be a new one, made where the disk of the old one is not mounted")

// knowsSomebody is errEmpty while there is no mailbox: who has none would not have mail sent here.
func (i certainIndex) knowsSomebody(ctx context.Context) error {
	has, err := i.HasMailboxes(ctx)
	if err == nil && !has {
		err = errEmpty
	}
	return err
}
