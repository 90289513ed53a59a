package crypt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

var (
	errNoOperator   = errors.New("the operator's identity is not given (storage.encryption.operator_identity)")
	errNoTenant     = errors.New("there is no such tenant")
	errNoRecipients = errors.New("no operator recipients are given (storage.encryption.operator_recipients)")
)

// Index keeps the wrapped keys of tenants.
type Index interface {
	// TenantKeys lists a tenant's keys, destroyed ones too, oldest first.
	TenantKeys(ctx context.Context, tenant store.TenantID) ([]store.TenantKey, error)
	// AddTenantKey stores a key. ErrExists when one with this id is there.
	AddTenantKey(ctx context.Context, key store.TenantKey, beside store.Beside) error
	// AddFirstTenantKey stores a key, unless the tenant has one: ErrExists.
	AddFirstTenantKey(ctx context.Context, key store.TenantKey) error
	// CheckOperator gives store.ErrOperator when keys are encrypted to other recipients of the operator by now.
	CheckOperator(ctx context.Context, check string) error
}

// KeyringOptions are what a Keyring works with. Index and Backend are required.
type KeyringOptions struct {
	Index Index
	// Backend is where the keys are kept beside the objects.
	Backend Backend
	// Recipients are the operator's public keys, to which new keys are wrapped. Without one no key can be made.
	Recipients []age.Recipient
	// Operator are the operator's private keys. Without one nothing can be decrypted; mail is taken in all the same.
	Operator []age.Identity
	// Log may be nil.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Keyring finds, makes and unwraps the keys of tenants. It keeps them in memory for a while; what another process does to
// them is seen after RememberFor at the latest. Its methods may be called from many goroutines.
type Keyring struct {
	index      Index
	backend    Backend
	recipients []age.Recipient
	operator   []age.Identity
	// check tells the recipients from others.
	check string
	log   *slog.Logger
	now   func() time.Time

	// making is held while a tenant's first key is made.
	making sync.Mutex

	mu    sync.Mutex
	known map[store.TenantID]tenantKeys
}

// tenantKeys are the keys of a tenant, oldest first, until they are asked for again.
type tenantKeys struct {
	keys  []Key
	until time.Time
}

// RememberFor is how long a destroyed key may live on in the memory of other processes.
const RememberFor = 30 * time.Second

// NewKeyring makes a Keyring.
func NewKeyring(o KeyringOptions) *Keyring {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Keyring{
		index: o.Index, backend: o.Backend, recipients: o.Recipients, operator: o.Operator, check: RecipientsCheck(o.Recipients),
		log: o.Log, now: o.Now,
		known: map[store.TenantID]tenantKeys{},
	}
}

// Current gives the key that a tenant's new objects are encrypted to. It makes the tenant's first one. blob.ErrNoKey when
// all were destroyed, or when there is none and it cannot be made (store.ErrOperator too); else a fault of the index or the backend.
func (k *Keyring) Current(ctx context.Context, tenant store.TenantID) (Key, error) {
	keys, err := k.keys(ctx, tenant)
	if err != nil {
		return Key{}, err
	}
	if key, ok := newest(keys); ok {
		return key, nil
	}
	if len(keys) > 0 {
		return Key{}, fmt.Errorf("%w: the keys of tenant %s were destroyed", blob.ErrNoKey, tenant)
	}
	return k.first(ctx, tenant)
}

func newest(keys []Key) (Key, bool) {
	for i := len(keys) - 1; i >= 0; i-- {
		if keys[i].Destroyed.IsZero() {
			return keys[i], true
		}
	}
	return Key{}, false
}

// first makes a tenant's first key, or finds the one that somebody else has made this moment.
func (k *Keyring) first(ctx context.Context, tenant store.TenantID) (Key, error) {
	k.making.Lock()
	defer k.making.Unlock()
	k.forget(tenant)
	keys, err := k.keys(ctx, tenant)
	if key, ok := newest(keys); ok || err != nil {
		return key, err
	}
	if len(keys) > 0 {
		return Key{}, fmt.Errorf("%w: the keys of tenant %s were destroyed", blob.ErrNoKey, tenant)
	}
	key, err := k.add(ctx, tenant, "", k.index.AddFirstTenantKey)
	if !errors.Is(err, store.ErrExists) {
		return key, err
	}
	k.forget(tenant)
	if keys, err = k.keys(ctx, tenant); err != nil {
		return Key{}, err
	}
	if key, ok := newest(keys); ok {
		return key, nil
	}
	return Key{}, fmt.Errorf("%w: the keys of tenant %s were destroyed", blob.ErrNoKey, tenant)
}

// add makes a key that comes after the tenant's last one and stores it: beside the objects first, so that no row speaks of a key that is not there.
func (k *Keyring) add(ctx context.Context, tenant store.TenantID, last string, insert func(context.Context, store.TenantKey) error) (Key, error) {
	key, err := k.newKey(tenant, last)
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", blob.ErrNoKey, err)
	}
	if err := k.CheckOperator(ctx); err != nil { // before anything lies beside the objects that nobody wants
		return Key{}, fmt.Errorf("make key of tenant %s: %w", tenant, temporary(err))
	}
	if err := k.putFile(ctx, key.TenantKey); err != nil {
		return Key{}, err
	}
	err = insert(ctx, key.TenantKey)
	if isRefused(err) { // nothing was encrypted to it
		err = errors.Join(err, k.backend.Delete(ctx, objectKey(tenant, key.ID)))
	}
	if err != nil {
		return Key{}, fmt.Errorf("store key of tenant %s: %w", tenant, temporary(err))
	}
	k.log.Info("made an encryption key", "tenant_id", string(tenant), "key", key.ID)
	k.forget(tenant)
	return key, nil
}

// isRefused says whether the index has surely not stored a key.
func isRefused(err error) bool {
	for _, refusal := range []error{store.ErrExists, store.ErrNotFound, store.ErrShredded, store.ErrOperator} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// temporary keeps the index's word that there is no such tenant from being taken for one about a recipient.
func temporary(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("%w: %w", blob.ErrNoKey, errNoTenant)
	case errors.Is(err, store.ErrOperator):
		return fmt.Errorf("%w: %w", blob.ErrNoKey, err)
	}
	return err
}

func (k *Keyring) putFile(ctx context.Context, key store.TenantKey) error {
	return k.backend.Replace(ctx, objectKey(key.Tenant, key.ID), strings.NewReader(key.Wrapped), int64(len(key.Wrapped)))
}

// identity gives the key of an object. One that the index does not know is looked for beside the objects: so an index that
// was made again, or set back in time, comes to know it. blob.ErrKeyDestroyed when it was destroyed, blob.ErrKeyLocked when it cannot be
// unwrapped, another blob.ErrNoKey when it is nowhere.
func (k *Keyring) identity(ctx context.Context, tenant store.TenantID, id string) (*age.X25519Identity, error) {
	keys, err := k.keys(ctx, tenant)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(keys, func(key Key) bool { return key.ID == id })
	if at < 0 {
		return k.recover(ctx, tenant, id)
	}
	switch key := keys[at]; {
	case !key.Destroyed.IsZero():
		return nil, fmt.Errorf("%w: key %s of tenant %s was destroyed", blob.ErrKeyDestroyed, id, tenant)
	case key.identity == nil:
		return k.beside(ctx, key.TenantKey)
	default:
		return key.identity, nil
	}
}

// beside gives a key whose row cannot be unwrapped, from the copy beside the objects: either of the two is enough. So it is after an
// index came back that is older than a change of the operator's key. blob.ErrKeyLocked when that cannot be unwrapped either.
func (k *Keyring) beside(ctx context.Context, row store.TenantKey) (*age.X25519Identity, error) {
	_, unopened := k.open(row)
	noKey := fmt.Errorf("%w: %v", blob.ErrKeyLocked, unopened) //nolint:errorlint // whose error it is must not be tested for
	if len(k.operator) == 0 {
		return nil, noKey
	}
	file, err := k.readFile(ctx, row.Tenant, row.ID)
	switch {
	case errors.Is(err, blob.ErrNotFound), errors.Is(err, errUnwrap):
		return nil, noKey
	case err != nil:
		return nil, err
	case file.Recipient != row.Recipient:
		return nil, noKey
	}
	return file.identity, nil
}

// keys gives the keys of a tenant that the index knows, oldest first.
func (k *Keyring) keys(ctx context.Context, tenant store.TenantID) ([]Key, error) {
	k.mu.Lock()
	known, ok := k.known[tenant]
	k.mu.Unlock()
	if ok && k.now().Before(known.until) {
		return known.keys, nil
	}
	rows, err := k.index.TenantKeys(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("keys of tenant %s: %w", tenant, temporary(err))
	}
	var keys []Key
	for _, row := range rows {
		key, err := k.open(row)
		if err != nil && len(k.operator) > 0 {
			k.log.Error("encryption key not unwrapped", "tenant_id", string(tenant), "key", row.ID, "err", err)
		}
		if key.recipient != nil {
			keys = append(keys, key)
		}
	}
	k.remember(tenant, keys)
	return keys, nil
}

func (k *Keyring) remember(tenant store.TenantID, keys []Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known[tenant] = tenantKeys{keys, k.now().Add(RememberFor)}
}

func (k *Keyring) forget(tenant store.TenantID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.known, tenant)
}

// recover reads a key that is beside the objects, and puts it into the index if the tenant is there.
func (k *Keyring) recover(ctx context.Context, tenant store.TenantID, id string) (*age.X25519Identity, error) {
	object := objectKey(tenant, id)
	if blob.CheckKey(object) != nil {
		return nil, fmt.Errorf("%w: tenant %s has no key %.40q", blob.ErrNoKey, tenant, id)
	}
	key, err := k.readFile(ctx, tenant, id)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return nil, fmt.Errorf("%w: tenant %s has no key %.40q", blob.ErrNoKey, tenant, id)
	case errors.Is(err, errUnwrap):
		return nil, fmt.Errorf("%w: %s: %w", blob.ErrKeyLocked, object, err)
	case err != nil:
		return nil, err
	}
	switch err := k.index.AddTenantKey(ctx, key.TenantKey, store.Beside{}); {
	case err == nil:
		k.forget(tenant)
		k.log.Warn("encryption key put into the index again", "tenant_id", string(tenant), "key", id)
	case errors.Is(err, store.ErrExists): // destroyed or added this moment
		k.forget(tenant)
	case !errors.Is(err, store.ErrNotFound):
		return nil, fmt.Errorf("keys of tenant %s: %w", tenant, err)
	}
	return key.identity, nil
}

// readFile reads a key that is kept beside the objects.
func (k *Keyring) readFile(ctx context.Context, tenant store.TenantID, id string) (Key, error) {
	wrapped, err := k.fileText(ctx, objectKey(tenant, id))
	if err != nil {
		return Key{}, err
	}
	identity, err := unwrap(wrapped, k.operator)
	if err != nil {
		return Key{}, err
	}
	row := store.TenantKey{
		ID: id, Tenant: tenant, Recipient: identity.Recipient().String(), Wrapped: wrapped, Created: madeAt(id, k.now()),
	}
	return Key{TenantKey: row, recipient: identity.Recipient(), identity: identity}, nil
}

func (k *Keyring) fileText(ctx context.Context, object string) (string, error) {
	r, _, err := k.backend.Get(ctx, object, 0, keyFileBytes)
	if err != nil {
		return "", err
	}
	raw, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return "", fmt.Errorf("read %s: %w", object, err)
	}
	return string(raw), nil
}
