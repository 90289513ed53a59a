package main

import (
	"context"
	"errors"
	"fmt"

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
	state, fault := i.SweepState(ctx)
	switch {
	case fault != nil:
		return store.Target{}, fault
	case state.Stopped != "":
		return store.Target{}, fmt.Errorf("no mailbox is known, and the sweep is stopped: %s", state.Stopped)
	}
	return store.Target{}, err
}
