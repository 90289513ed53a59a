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

// Beside lists the keys that lie beside the objects, whether or not the index knows them, of a tenant or, with "", of all. What they
// are is not read: of each there are ID, Tenant and the time that the id tells. All of the backend is listed for all tenants, as the index need not know
// each, and saw is called for each object. When not all could be listed (blob.UnlistedError), the keys that were seen are given too.
func (k *Keyring) Beside(ctx context.Context, tenant store.TenantID, saw func()) ([]store.TenantKey, error) {
	prefix := ""
	if tenant != "" {
		prefix = keysPrefix(tenant)
	}
	var list []store.TenantKey
	for info, err := range k.backend.List(ctx, prefix) {
		if err != nil {
			return list, fmt.Errorf("list keys beside the objects: %w", err)
		}
		saw()
		of, rest, _ := strings.Cut(info.Key, "/")
		if !isKeyFile(rest) {
			continue
		}
		id := strings.TrimSuffix(strings.TrimPrefix(rest, keysDir+"/"), ".age")
		list = append(list, store.TenantKey{Tenant: store.TenantID(of), ID: id, Created: madeAt(id, info.Modified)})
	}
	return list, nil
}

// RewrapLone encrypts a key anew that is beside the objects alone, as after the index was set back or made again: objects of a tenant that
// the index does not know may be encrypted to it, those below orphan/ too. Where the index knows the tenant, it comes to know the key, as when an object is read.
// Else as Rewrap. written says whether what is beside was: not where the index does not know the tenant.
func (k *Keyring) RewrapLone(ctx context.Context, lone store.TenantKey, beside store.Beside) (written bool, err error) {
	if len(k.recipients) == 0 {
		return false, errNoRecipients
	}
	key, err := k.readFile(ctx, lone.Tenant, lone.ID)
	if err != nil {
		return false, err
	}
	if err := k.wrapAnew(&key); err != nil {
		return false, err
	}
	// The index first: it says when the tenant's keys were destroyed, and then none must come back.
	err = k.index.AddTenantKey(ctx, key.TenantKey, beside)
	switch {
	case errors.Is(err, store.ErrNotFound): // no such tenant, so that nobody can destroy its keys either
		return false, k.putFile(ctx, key.TenantKey)
	case errors.Is(err, store.ErrExists):
		return true, k.rewrapKnown(ctx, lone, beside)
	case err != nil:
		return false, err
	}
	defer k.forget(key.Tenant)
	if err := k.putFile(ctx, key.TenantKey); err != nil {
		return true, err
	}
	return true, k.dropIfDestroyed(ctx, key.TenantKey)
}

// rewrapKnown is for a key that the index has come to know meanwhile.
func (k *Keyring) rewrapKnown(ctx context.Context, lone store.TenantKey, beside store.Beside) error {
	row, err := k.row(ctx, lone)
	switch {
	case err != nil:
		return err
	case !row.Destroyed.IsZero():
		return k.dropIfDestroyed(ctx, row)
	}
	return k.Rewrap(ctx, row, beside)
}

// ExamineLone says what is wrong with a key that is beside the objects alone, in words: that it cannot be read, or that nobody could open
// it who has the identities of the operator's recipients of now. Empty when nothing is.
func (k *Keyring) ExamineLone(ctx context.Context, lone store.TenantKey) (wrong string, err error) {
	text, err := k.fileText(ctx, objectKey(lone.Tenant, lone.ID))
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return "", nil // destroyed this moment
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return err.Error(), nil //nolint:nilerr // the error is what was found
	}
	if _, err := unwrap(text, k.operator); err != nil {
		return err.Error(), nil //nolint:nilerr // see above
	}
	now, err := k.operatorOfNow()
	if err == nil && len(now) == 0 {
		return ErrOtherOperator.Error(), nil
	}
	return former(text, now), err
}

// operatorOfNow gives those of the operator's identities that belong to the recipients of now; all where there are no recipients.
func (k *Keyring) operatorOfNow() ([]age.Identity, error) {
	if len(k.recipients) == 0 {
		return k.operator, nil
	}
	var now []age.Identity
	for _, identity := range k.operator {
		switch err := Match(k.recipients, []age.Identity{identity}); {
		case err == nil:
			now = append(now, identity)
		case !errors.Is(err, ErrOtherOperator):
			return nil, err
		}
	}
	return now, nil
}

// identityOfEach gives an identity for each of the operator's recipients; none when one has none here, or is given twice.
func (k *Keyring) identityOfEach() []age.Identity {
	var list []age.Identity
	for i, recipient := range k.recipients {
		again := slices.ContainsFunc(k.recipients[:i], func(r age.Recipient) bool { return fmt.Sprint(r) == fmt.Sprint(recipient) })
		at := slices.IndexFunc(k.operator, func(identity age.Identity) bool {
			return Match([]age.Recipient{recipient}, []age.Identity{identity}) == nil
		})
		if again || at < 0 {
			return nil
		}
		list = append(list, k.operator[at])
	}
	return list
}

// former says, in words, that a wrapped key could not be opened any more without the operator's identities of before.
func former(wrapped string, now []age.Identity) string {
	if _, err := unwrap(wrapped, now); err != nil {
		return "it is not encrypted to the operator's recipients of now: rewrap"
	}
	return ""
}
