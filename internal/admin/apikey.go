package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

// CreateAPIKey makes an API key; its secret is in the answer and nowhere else. A tenant's role needs a tenant,
// by default the asker's. A key made with a key that expires ends with it at the latest. auth.ErrForbidden, or a *Refused for bad input.
func (a *Admin) CreateAPIKey(ctx context.Context, p auth.Principal, want wire.NewAPIKey) (wire.APIKeyCreated, error) {
	if !p.Can(auth.ManageAPIKeys) {
		return wire.APIKeyCreated{}, auth.ErrForbidden
	}
	role := auth.Role(want.Role)
	tenant, err := a.keyTenant(ctx, p, role, want.Tenant)
	if err != nil {
		return wire.APIKeyCreated{}, err
	}
	if !p.MayGrant(role, tenant) {
		return wire.APIKeyCreated{}, auth.ErrForbidden
	}
	now, key := a.now(), auth.NewKey()
	row := store.APIKey{
		ID: store.NewAPIKeyID(), Tenant: tenant, Name: want.Name, Role: want.Role,
		Hash: key.Hash, Prefix: key.Prefix, Created: now,
	}
	if want.ExpiresDays > 0 {
		row.Expires = now.Add(time.Duration(want.ExpiresDays) * 24 * time.Hour)
	}
	if ends := p.Expires; !ends.IsZero() && (row.Expires.IsZero() || row.Expires.After(ends)) {
		row.Expires = ends
	}
	if err := a.store.CreateAPIKey(ctx, row); err != nil {
		return wire.APIKeyCreated{}, fmt.Errorf("create API key: %w", err)
	}
	if err := a.audit(ctx, p, tenant, "api_key.create", string(row.ID), map[string]string{"name": want.Name, "role": want.Role}); err != nil {
		return wire.APIKeyCreated{}, err
	}
	return wire.APIKeyCreated{APIKey: keyWire(row), Key: key.Secret}, nil
}

// keyTenant is the tenant that a new key of this role belongs to; empty for the whole installation.
func (a *Admin) keyTenant(ctx context.Context, p auth.Principal, role auth.Role, name string) (store.TenantID, error) {
	switch {
	case (role == auth.SuperAdmin || role == auth.Postfix) && name != "":
		return "", refuse("key_without_tenant", role)
	case role == auth.SuperAdmin, role == auth.Postfix:
		return "", nil
	case name == "" && p.Scope().Tenant != "":
		return p.Scope().Tenant, nil
	case name == "":
		return "", refuse("key_needs_tenant", role)
	case store.TenantID(name) == p.Scope().Tenant:
		return p.Scope().Tenant, nil
	}
	t, err := a.store.TenantByName(ctx, name)
	if errors.Is(err, store.ErrNotFound) || err == nil && !p.Scope().All && t.ID != p.Scope().Tenant {
		return "", refuse(noTenant, name) // not even whether another tenant exists is told
	}
	if err != nil {
		return "", err
	}
	return t.ID, nil
}

// RevokeAPIKey ends an API key. auth.ErrForbidden or store.ErrNotFound.
func (a *Admin) RevokeAPIKey(ctx context.Context, p auth.Principal, id store.APIKeyID) error {
	if !p.Can(auth.ManageAPIKeys) {
		return auth.ErrForbidden
	}
	k, err := a.store.DeleteAPIKey(ctx, p.Scope(), id)
	if err != nil {
		return err
	}
	return a.audit(ctx, p, k.Tenant, "api_key.revoke", string(id), map[string]string{"name": k.Name, "role": k.Role})
}

func keyWire(k store.APIKey) wire.APIKey {
	w := wire.APIKey{
		ID: string(k.ID), TenantID: string(k.Tenant), Name: k.Name, Role: k.Role, Prefix: k.Prefix, CreatedAt: k.Created,
	}
	if !k.Expires.IsZero() {
		w.ExpiresAt = &k.Expires
	}
	if !k.LastUsed.IsZero() {
		w.LastUsedAt = &k.LastUsed
	}
	return w
}
