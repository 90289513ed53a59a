package crypt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/google/uuid"

	"github.com/mairust/mairust/store"
)

// Key is the key pair of a tenant. What is put is encrypted to the newest one that was not destroyed; older ones go on
// decrypting.
type Key struct {
	store.TenantKey
	recipient *age.X25519Recipient
	// identity is nil when it could not be unwrapped.
	identity *age.X25519Identity
}

// exampleKeyID is as long as every key's id.
const exampleKeyID = "00000000-0000-0000-0000-000000000000"

// keyFileBytes bounds a wrapped identity. One for ten recipients has about 2,000 bytes.
const keyFileBytes = 64 << 10

// objectKey is where a key is kept beside the objects.
func objectKey(tenant store.TenantID, id string) string {
	return fmt.Sprintf("%s/%s/%s.age", tenant, keysDir, id)
}

// newKeyID makes a UUIDv7 (RFC 9562, 5.7) that comes after last, the newest id of the tenant, if it has one: clocks of nodes differ, and may be set back, and
// the newest key is the last one by id.
func newKeyID(now time.Time, last string) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make id: %w", err)
	}
	ms := uint64(now.UnixMilli())
	if last != "" {
		before, err := uuid.Parse(last)
		if err != nil {
			return "", fmt.Errorf("make id after %.40q: %w", last, err)
		}
		ms = max(ms, binary.BigEndian.Uint64(before[:8])>>16+1)
	}
	if ms >= 1<<48 {
		return "", fmt.Errorf("make id after %.40q: there is none", last)
	}
	binary.BigEndian.PutUint64(id[:8], ms<<16|uint64(binary.BigEndian.Uint16(id[6:8])))
	return id.String(), nil
}

// newKey makes a key pair, wrapped for the operator. last is the newest id of the tenant's keys, empty when it has none.
func (k *Keyring) newKey(tenant store.TenantID, last string) (Key, error) {
	if len(k.recipients) == 0 {
		return Key{}, errNoRecipients
	}
	now := k.now()
	id, err := newKeyID(now, last)
	if err != nil {
		return Key{}, err
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return Key{}, fmt.Errorf("generate key: %w", err)
	}
	key := Key{recipient: identity.Recipient(), identity: identity}
	key.TenantKey = store.TenantKey{
		ID: id, Tenant: tenant, Recipient: identity.Recipient().String(), Created: now,
		Operator: k.check,
	}
	key.Wrapped, err = wrap(key, k.recipients)
	return key, err
}

// wrap encrypts an identity to the operator, as an identity file that age takes.
func wrap(key Key, operator []age.Recipient) (string, error) {
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, operator...)
	if err == nil {
		_, err = fmt.Fprintf(w, "# created: %s\n# tenant: %s\n# key: %s\n# public key: %s\n%s\n",
			key.Created.UTC().Format(time.RFC3339), key.Tenant, key.ID, key.Recipient, key.identity)
	}
	if err == nil {
		err = w.Close()
	}
	if err = errors.Join(err, text.Close()); err != nil {
		return "", fmt.Errorf("wrap key of tenant %s: %w", key.Tenant, err)
	}
	return out.String(), nil
}

// errUnwrap says that a key cannot be decrypted with what the operator has given.
var errUnwrap = errors.New("unwrap key")

// unwrap decrypts an identity with the operator's. errUnwrap.
func unwrap(wrapped string, operator []age.Identity) (*age.X25519Identity, error) {
	if len(operator) == 0 {
		return nil, fmt.Errorf("%w: %w", errUnwrap, errNoOperator)
	}
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(wrapped)), operator...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnwrap, err)
	}
	raw, err := io.ReadAll(io.LimitReader(r, keyFileBytes))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnwrap, err)
	}
	list, err := age.ParseIdentities(bytes.NewReader(raw))
	if err != nil || len(list) != 1 {
		return nil, fmt.Errorf("%w: there is not one identity in it", errUnwrap) // and no word of what is
	}
	identity, ok := list[0].(*age.X25519Identity)
	if !ok {
		return nil, fmt.Errorf("%w: it is no X25519 identity", errUnwrap)
	}
	return identity, nil
}

// open makes a Key of a row.
func (k *Keyring) open(row store.TenantKey) (Key, error) {
	key := Key{TenantKey: row}
	var err error
	if key.recipient, err = age.ParseX25519Recipient(row.Recipient); err != nil {
		return key, fmt.Errorf("key %s of tenant %s: its public key: %w", row.ID, row.Tenant, err)
	}
	if !row.Destroyed.IsZero() {
		return key, nil
	}
	if key.identity, err = unwrap(row.Wrapped, k.operator); err != nil {
		return key, fmt.Errorf("key %s of tenant %s: %w", row.ID, row.Tenant, err)
	}
	if key.identity.Recipient().String() != row.Recipient {
		key.identity = nil
		return key, fmt.Errorf("key %s of tenant %s: the wrapped key belongs to another public key", row.ID, row.Tenant)
	}
	return key, nil
}

// madeAt is when a key was made, which its id (UUIDv7) tells.
func madeAt(id string, otherwise time.Time) time.Time {
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 {
		return otherwise
	}
	return time.Unix(u.Time().UnixTime()).UTC()
}
