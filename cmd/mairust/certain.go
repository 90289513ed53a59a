package main

import (
	"context"
	"errors"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// certainIndex says that there is no mailbox only when that is certain, since Postfix then bounces mail that it has taken. While the
// sweep is stopped the database may be another one, or an old one, which does not know all mailboxes.
type certainIndex struct{ *store.Store }

// Resolve is that of the store, but for store.ErrNotFound while the sweep is stopped: then the error is a temporary one.
func (i certainIndex) Resolve(ctx context.Context, rcpt mail.Address, delimiters string) (store.Target, error) {
	target, err := i.Store.Resolve(ctx, rcpt, delimiters)
	if !errors.Is(err, store.ErrNotFound) {
		return target, err
	}
	uncertain, fault := i.isUncertain(ctx)
	switch {
	case fault != nil:
		return store.Target{}, fault
	case uncertain:
		return store.Target{}, errors.New("no mailbox is known, and the sweep is stopped: the database may be another or an old one")
	}
	return store.Target{}, err
}

func (i certainIndex) isUncertain(ctx context.Context) (bool, error) {
	state, err := i.SweepState(ctx)
	return err == nil && state.Stopped != "", err
}
