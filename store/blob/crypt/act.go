package crypt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// Keeper is what the acts of an operator need of the index, beside what keys are found with.
type Keeper interface {
	Index
	RewrapTenantKey(ctx context.Context, tenant store.TenantID, id, wrapped string, beside store.Beside) error
	DestroyTenantKeys(ctx context.Context, tenant store.TenantID, beside store.Beside) (int64, error)
	NoteOperator(ctx context.Context, check string) error
	// AdoptOperator is NoteOperator where nothing is recorded yet.
	AdoptOperator(ctx context.Context, check string) (noted bool, err error)
	// NewestTenantKey gives the newest key of all tenants that was not destroyed. store.ErrNotFound when there is none.
	NewestTenantKey(ctx context.Context) (store.TenantKey, error)
}

// errKeeper says that a Keyring was made for reading and writing mail alone.
var errKeeper = errors.New("the index of this keyring cannot change keys")

func (k *Keyring) keeper() (Keeper, error) {
	keeper, ok := k.index.(Keeper)
	if !ok {
		return nil, errKeeper
	}
	return keeper, nil
}

// Rotate makes a new key for a tenant, which new objects are encrypted to. What is there stays as it is, and readable. It
// is also how a tenant whose keys were destroyed begins anew, after a while: store.ErrShredded. trace gives what is written with the key of this id; it
// may be nil.
func (k *Keyring) Rotate(ctx context.Context, tenant store.TenantID, trace func(id string) store.Beside) (Key, error) {
	rows, err := k.index.TenantKeys(ctx, tenant)
	if err != nil {
		return Key{}, fmt.Errorf("keys of tenant %s: %w", tenant, temporary(err))
	}
	last := ""
	if len(rows) > 0 {
		last = rows[len(rows)-1].ID
	}
	return k.add(ctx, tenant, last, func(ctx context.Context, key store.TenantKey) error {
		var beside store.Beside
		if trace != nil {
			beside = trace(key.ID)
		}
		return k.index.AddTenantKey(ctx, key, beside)
	})
}

// Destroy makes a tenant's objects unreadable for good: its private keys are removed from the index, which suspends the
// tenant, and from beside the objects. n is how many there were. It may be repeated, and must be after an error: it removes beside the objects what it can.
// What backups hold it cannot reach.
func (k *Keyring) Destroy(ctx context.Context, tenant store.TenantID, beside store.Beside) (n int64, err error) {
	keeper, err := k.keeper()
	if err != nil {
		return 0, err
	}
	// The index first: what is left beside the objects by a crash is not asked for any more, and removed by a second run.
	if n, err = keeper.DestroyTenantKeys(ctx, tenant, beside); err != nil {
		return 0, err
	}
	k.forget(tenant)
	k.log.Warn("encryption keys destroyed", "tenant_id", string(tenant), "keys", n)
	var left []error
	for info, err := range k.backend.List(ctx, keysPrefix(tenant)) {
		if err == nil {
			err = k.backend.Delete(ctx, info.Key)
		}
		left = append(left, err)
	}
	if err := errors.Join(left...); err != nil {
		return n, fmt.Errorf("keys of tenant %s: destroyed in the database, not all beside the objects (destroy again): %w", tenant, err)
	}
	return n, nil
}

func keysPrefix(tenant store.TenantID) string { return string(tenant) + "/" + keysDir + "/" }

// errStranger says that what was about to be stored could be opened by nobody here.
var errStranger = errors.New("what is encrypted to the operator's recipients (storage.encryption.operator_recipients) cannot be decrypted " +
	"with the operator's identity (operator_identity): put the private key of one of them into it first; nothing was changed")

// NoteOperator records that keys of tenants go to the recipients of this keyring from now on, so that a process that was started with others makes
// none (store.ErrOperator). It comes before the keys are listed that are to be rewrapped: what is made to others is among them. It is tried first whether
// what is encrypted to the recipients can be opened here.
func (k *Keyring) NoteOperator(ctx context.Context) error {
	keeper, err := k.keeper()
	switch {
	case err != nil:
		return err
	case len(k.recipients) == 0:
		return errNoRecipients
	}
	if err := Match(k.recipients, k.operator); err != nil {
		return fmt.Errorf("%w (%w)", errStranger, err)
	}
	return keeper.NoteOperator(ctx, k.check)
}

// Rewrap encrypts a key anew, to the operator's recipients of now. The operator's identities of before and of now are needed: it
// is tried first whether what comes out can be opened.
func (k *Keyring) Rewrap(ctx context.Context, row store.TenantKey, beside store.Beside) error {
	keeper, err := k.keeper()
	if err != nil {
		return err
	}
	if len(k.recipients) == 0 {
		return errNoRecipients
	}
	key, err := k.open(row)
	if err != nil {
		return err
	}
	if err := k.wrapAnew(&key); err != nil {
		return err
	}
	if err := k.putFile(ctx, key.TenantKey); err != nil {
		return err
	}
	defer k.forget(row.Tenant)
	if err = keeper.RewrapTenantKey(ctx, row.Tenant, row.ID, key.Wrapped, beside); errors.Is(err, store.ErrNotFound) {
		return k.dropIfDestroyed(ctx, row)
	}
	return err
}

// IsRewrapped says whether a key is encrypted to the operator's recipients of now and to nobody else, in both copies: encrypting it anew would change nothing. Whom
// else a key goes to cannot be seen without the identities of all recipients; where one is not here, as that of a spare in a safe, it is false.
func (k *Keyring) IsRewrapped(ctx context.Context, row store.TenantKey) (bool, error) {
	identities := k.identityOfEach()
	if len(identities) == 0 {
		return false, nil
	}
	if _, err := k.open(row); err != nil {
		return false, err
	}
	for _, identity := range identities {
		c := &counting{Identity: identity}
		if _, err := unwrap(row.Wrapped, []age.Identity{c}); err != nil || c.recipients != len(k.recipients) {
			return false, nil //nolint:nilerr // it does not go to all of them
		}
	}
	text, err := k.fileText(ctx, objectKey(row.Tenant, row.ID))
	return err == nil && strings.TrimSpace(text) == strings.TrimSpace(row.Wrapped), err
}

// counting is an identity that notes to how many recipients a file is encrypted.
type counting struct {
	age.Identity
	recipients int
}

// Unwrap implements age.Identity.
func (c *counting) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	c.recipients = len(stanzas)
	return c.Identity.Unwrap(stanzas)
}

// wrapAnew encrypts a key to the operator's recipients of now, and tries whether it can be opened then.
func (k *Keyring) wrapAnew(key *Key) (err error) {
	if key.Wrapped, err = wrap(*key, k.recipients); err != nil {
		return err
	}
	if _, err := k.open(key.TenantKey); err != nil {
		return fmt.Errorf("%w (%w)", errStranger, err)
	}
	return nil
}

// dropIfDestroyed removes the copy of a key beside the objects if the index has it as destroyed. When the index does not know it at
// all, as one that was set back in time, the copy is all that is left: store.ErrNotFound.
func (k *Keyring) dropIfDestroyed(ctx context.Context, row store.TenantKey) error {
	now, err := k.row(ctx, row)
	if err != nil || now.Destroyed.IsZero() {
		return err
	}
	return k.backend.Delete(ctx, objectKey(row.Tenant, row.ID))
}

// Examine says what is wrong with a key, in words: that it cannot be unwrapped, that the copy beside the objects is
// missing or another one, or that the recipients of now could not open it. Empty when nothing is. Destroyed keys are as they should be when nothing is left of them.
func (k *Keyring) Examine(ctx context.Context, row store.TenantKey) (wrong string, err error) {
	text, err := k.fileText(ctx, objectKey(row.Tenant, row.ID))
	missing := errors.Is(err, blob.ErrNotFound)
	switch {
	case err != nil && !missing:
		return "", err
	case !row.Destroyed.IsZero() && missing:
		return "", nil
	case !row.Destroyed.IsZero():
		return "it was destroyed, but its copy beside the objects is there still: destroy again", nil
	}
	if _, err := k.open(row); err != nil {
		return err.Error(), nil //nolint:nilerr // the error is what was found
	}
	switch {
	case missing:
		return "its copy beside the objects is missing", nil
	case strings.TrimSpace(text) != strings.TrimSpace(row.Wrapped):
		return "its copy beside the objects is another one", nil
	}
	now, err := k.operatorOfNow()
	if len(now) == 0 { // none belongs to the recipients: mairust check says so
		return "", err
	}
	return former(row.Wrapped, now), err
}

// Mend makes the two copies of a key alike, or removes what is left of a destroyed one. What row says may be old: the
// index is asked before, and after, so that no key comes back that is destroyed this moment.
func (k *Keyring) Mend(ctx context.Context, row store.TenantKey) error {
	now, err := k.row(ctx, row)
	if err != nil {
		return err
	}
	if now.Destroyed.IsZero() {
		if err := k.mendCopies(ctx, now); err != nil {
			return err
		}
	}
	return k.dropIfDestroyed(ctx, row)
}

// mendCopies has the copy in the index count if it can be unwrapped or is the only one, else the one beside the objects. When neither
// can, nothing is changed: another identity of the operator may open one of them.
func (k *Keyring) mendCopies(ctx context.Context, row store.TenantKey) error {
	_, unopened := k.open(row)
	if unopened == nil {
		return k.putFile(ctx, row)
	}
	file, err := k.readFile(ctx, row.Tenant, row.ID)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return k.putFile(ctx, row)
	case err != nil:
		return fmt.Errorf("%w; beside the objects: %w", unopened, err)
	case file.Recipient != row.Recipient:
		return fmt.Errorf("%w; beside the objects is another key", unopened)
	}
	keeper, err := k.keeper()
	if err != nil {
		return err
	}
	defer k.forget(row.Tenant)
	if err := keeper.RewrapTenantKey(ctx, row.Tenant, row.ID, file.Wrapped, store.Beside{}); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil // destroyed meanwhile, which the caller looks for
}

// row reads the row of a key again. store.ErrNotFound when it is gone, with its tenant.
func (k *Keyring) row(ctx context.Context, old store.TenantKey) (store.TenantKey, error) {
	rows, err := k.index.TenantKeys(ctx, old.Tenant)
	if err != nil {
		return store.TenantKey{}, err
	}
	at := slices.IndexFunc(rows, func(now store.TenantKey) bool { return now.ID == old.ID })
	if at < 0 {
		return store.TenantKey{}, fmt.Errorf("key %s of tenant %s: %w", old.ID, old.Tenant, store.ErrNotFound)
	}
	return rows[at], nil
}
