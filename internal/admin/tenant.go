package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

// tenantNamed finds a tenant in scope by name or id; empty is the principal's own. *Refused.
func (a *Admin) tenantNamed(ctx context.Context, p auth.Principal, name string) (store.TenantID, error) {
	sc := p.Scope()
	switch {
	case name == "" && sc.Tenant != "":
		return sc.Tenant, nil
	case name == "":
		return "", refuse("which_tenant")
	case store.TenantID(name) == sc.Tenant:
		return sc.Tenant, nil
	}
	t, err := a.store.TenantByName(ctx, name)
	if errors.Is(err, store.ErrNotFound) && sc.All {
		t, err = a.store.Tenant(ctx, store.TenantID(name))
	}
	if errors.Is(err, store.ErrNotFound) || err == nil && !sc.All && t.ID != sc.Tenant {
		return "", refuse(noTenant, name) // not even whether another tenant exists is told
	}
	if err != nil {
		return "", err
	}
	return t.ID, nil
}

// tenantShown is tenantNamed for what is shown: a tenant that is not there, or not in scope, is store.ErrNotFound.
func (a *Admin) tenantShown(ctx context.Context, p auth.Principal, name string) (store.TenantID, error) {
	tenant, err := a.tenantNamed(ctx, p, name)
	var refused *Refused
	if errors.As(err, &refused) && refused.Code == noTenant {
		err = store.ErrNotFound
	}
	return tenant, err
}

// Tenants lists the tenants in scope by name, at most limit of those after the given one. auth.ErrForbidden.
func (a *Admin) Tenants(ctx context.Context, p auth.Principal, after string, limit int) ([]wire.Tenant, error) {
	if !p.Can(auth.ListTenants) {
		return nil, auth.ErrForbidden
	}
	rows, err := a.store.Tenants(ctx, p.Scope(), after, limit)
	list := make([]wire.Tenant, 0, len(rows))
	for _, t := range rows {
		list = append(list, tenantWire(t))
	}
	return list, err
}

// Tenant shows a tenant in scope, by name or id. auth.ErrForbidden or store.ErrNotFound.
func (a *Admin) Tenant(ctx context.Context, p auth.Principal, name string) (wire.Tenant, error) {
	t, err := a.tenantFor(ctx, p, auth.ListTenants, name)
	if err != nil {
		return wire.Tenant{}, err
	}
	return tenantWire(*t), nil
}

// SetTenantQuota limits how many bytes the messages of a tenant may have together; 0 lifts the limit. auth.ErrForbidden,
// store.ErrNotFound or a *Refused.
func (a *Admin) SetTenantQuota(ctx context.Context, p auth.Principal, name string, w wire.Quota) (wire.Tenant, error) {
	t, err := a.tenantFor(ctx, p, auth.ManageTenants, name)
	if err == nil {
		err = checkQuota(w)
	}
	if err != nil {
		return wire.Tenant{}, err
	}
	e := store.AuditEntry{Tenant: t.ID, Action: "tenant.quota", Target: t.Name}
	return a.changeTenant(ctx, p, e, wire.Quota{QuotaBytes: t.QuotaBytes}, w, func(b store.Beside) error {
		return a.store.SetTenantQuota(ctx, t.ID, w.QuotaBytes, b)
	})
}

// SuspendTenant has all mail for a tenant deferred, until ResumeTenant. It needs a reason; errors as of SetTenantQuota.
func (a *Admin) SuspendTenant(ctx context.Context, p auth.Principal, name string, w wire.TenantAct) (wire.Tenant, error) {
	return a.setSuspended(ctx, p, name, "tenant.suspend", w, true)
}

// ResumeTenant lets mail for a tenant in again. It is *Refused while another process may still encrypt to keys that were destroyed.
func (a *Admin) ResumeTenant(ctx context.Context, p auth.Principal, name string, w wire.TenantAct) (wire.Tenant, error) {
	return a.setSuspended(ctx, p, name, "tenant.resume", w, false)
}

func (a *Admin) setSuspended(ctx context.Context, p auth.Principal, name, action string, w wire.TenantAct, suspended bool) (wire.Tenant, error) {
	t, err := a.tenantFor(ctx, p, auth.ManageTenants, name)
	if err == nil {
		err = checkReason(w.Reason)
	}
	if err != nil {
		return wire.Tenant{}, err
	}
	e := store.AuditEntry{Tenant: t.ID, Action: action, Target: t.Name, Reason: reasonOf(w)}
	before, after := map[string]bool{"suspended": t.Suspended}, map[string]bool{"suspended": suspended}
	return a.changeTenant(ctx, p, e, before, after, func(b store.Beside) error {
		err := a.store.SuspendTenant(ctx, t.ID, suspended, b)
		if errors.Is(err, store.ErrShredded) {
			err = refuse("tenant_shredded", t.Name)
		}
		return err
	})
}

// changeTenant writes an act with its line of the audit log, and shows the tenant as it is then.
func (a *Admin) changeTenant(ctx context.Context, p auth.Principal, e store.AuditEntry, before, after any, write func(store.Beside) error) (wire.Tenant, error) {
	entry, err := auditEntry(ctx, p, e, before, after)
	if err == nil {
		err = write(store.Beside{Audit: &entry})
	}
	if err != nil {
		return wire.Tenant{}, err
	}
	t, err := a.store.Tenant(ctx, e.Tenant)
	if err != nil {
		return wire.Tenant{}, err
	}
	return tenantWire(*t), nil
}

// reasonOf is why something is done to a tenant, with the ticket.
func reasonOf(w wire.TenantAct) string {
	reason, ticket := strings.TrimSpace(w.Reason), strings.TrimSpace(w.Ticket)
	if ticket == "" {
		return reason
	}
	return fmt.Sprintf("%s (%s)", reason, ticket)
}

// tenantFor authorises an action and finds a tenant in scope. The reserved one is nobody's to see.
func (a *Admin) tenantFor(ctx context.Context, p auth.Principal, action auth.Action, name string) (*store.Tenant, error) {
	if !p.Can(action) {
		return nil, auth.ErrForbidden
	}
	id, err := a.tenantShown(ctx, p, name)
	if err != nil {
		return nil, err
	}
	t, err := a.store.Tenant(ctx, id)
	if err == nil && strings.EqualFold(t.Name, store.TenantSystem) {
		err = store.ErrNotFound
	}
	return t, err
}

func tenantWire(t store.Tenant) wire.Tenant {
	w := wire.Tenant{ID: string(t.ID), Name: t.Name, State: "active", QuotaBytes: t.QuotaBytes, UsedBytes: t.UsedBytes, CreatedAt: t.Created.UTC()}
	if t.Suspended {
		w.State = "suspended"
	}
	return w
}
