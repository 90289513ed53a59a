package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

// keysRequest is an act of mairust keys on the keys of tenants.
type keysRequest struct {
	// Act is list, rotate, destroy, check, rewrap or operator, which compares the operator's recipients alone.
	Act string `json:"act"`
	// Recipients tell the recipients in the configuration of who asks from others (crypt.RecipientsCheck).
	Recipients string `json:"recipients,omitempty"`
	// Tenant is a tenant's name; empty means all, where an act allows that.
	Tenant string `json:"tenant,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
	Repair bool   `json:"repair,omitempty"`
}

// keysAnswer is what came of it.
type keysAnswer struct {
	Keys []keyLine `json:"keys"`
	// Wrong is how many keys are not as they should be.
	Wrong int `json:"wrong"`
	// Summary is a sentence for people.
	Summary string `json:"summary"`
}

type keyLine struct {
	Tenant    string    `json:"tenant"`
	TenantID  string    `json:"tenant_id"`
	ID        string    `json:"id"`
	Recipient string    `json:"recipient"`
	Created   time.Time `json:"created"`
	// State is current, old, destroyed, or what is wrong, in words.
	State string `json:"state"`
}

var (
	errNoKeys   = errors.New("encryption is not set up: storage.options.encryption is none, there is no storage.encryption.operator_identity, and no tenant has a key")
	errNoTenant = errors.New("there is no such tenant")
)

// actOnKeys does an act, and counts in m how far it is. What changes keys is audited.
func (s *site) actOnKeys(ctx context.Context, who auth.Principal, q keysRequest, m *keysMeter) (keysAnswer, error) {
	if used, err := s.usesKeys(ctx); err != nil || !used {
		return keysAnswer{}, cmp.Or(err, errNoKeys)
	}
	var tenant *store.Tenant
	if q.Tenant != "" {
		var err error
		tenant, err = s.store.TenantByName(ctx, q.Tenant)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("%w: %s", errNoTenant, q.Tenant)
		}
		if err != nil {
			return keysAnswer{}, err
		}
	}
	switch {
	case q.Act == "list":
		return s.listKeys(ctx, tenant)
	case q.Act == "operator":
		return s.compareOperator(ctx)
	case q.Act == "check":
		return s.checkKeys(ctx, tenant, q.Repair, m)
	case q.Act == "rewrap":
		return s.rewrapKeys(ctx, who, tenant, m)
	case q.Act == "rotate" && tenant != nil:
		return s.rotateKey(ctx, who, tenant)
	case q.Act == "destroy" && tenant != nil:
		return s.destroyKeys(ctx, who, tenant, q.DryRun)
	}
	return keysAnswer{}, fmt.Errorf("unknown act %.20q, or no tenant", q.Act)
}

// keyRows reads the keys of a tenant, nil meaning all, with a line for each.
func (s *site) keyRows(ctx context.Context, tenant *store.Tenant) ([]store.TenantKey, []keyLine, error) {
	names, err := s.store.TenantNames(ctx)
	if err != nil {
		return nil, nil, err
	}
	var rows []store.TenantKey
	if tenant != nil {
		rows, err = s.store.TenantKeys(ctx, tenant.ID)
	} else {
		rows, err = s.store.AllTenantKeys(ctx)
	}
	lines := make([]keyLine, 0, len(rows))
	current := map[store.TenantID]int{}
	for i, k := range rows {
		line := keyLine{Tenant: names[k.Tenant], TenantID: string(k.Tenant), ID: k.ID, Recipient: k.Recipient, Created: k.Created, State: "destroyed"}
		if k.Destroyed.IsZero() {
			if before, ok := current[k.Tenant]; ok {
				lines[before].State = "old"
			}
			line.State, current[k.Tenant] = "current", i
		}
		lines = append(lines, line)
	}
	return rows, lines, err
}

func (s *site) listKeys(ctx context.Context, tenant *store.Tenant) (keysAnswer, error) {
	_, lines, err := s.keyRows(ctx, tenant)
	return keysAnswer{Keys: lines, Summary: fmt.Sprintf("%d keys", len(lines))}, err
}

// compareOperator says in its answer, and not as an error, that keys go to others.
func (s *site) compareOperator(ctx context.Context) (keysAnswer, error) {
	err := s.keys.CheckOperator(ctx)
	if errors.Is(err, store.ErrOperator) {
		return keysAnswer{Wrong: 1, Summary: err.Error()}, nil
	}
	return keysAnswer{}, err
}

func (s *site) rotateKey(ctx context.Context, who auth.Principal, tenant *store.Tenant) (keysAnswer, error) {
	key, err := s.keys.Rotate(ctx, tenant.ID, func(id string) store.Beside { return auditKey(who, tenant.ID, "encryption_key.rotate", id) })
	if err != nil {
		return keysAnswer{}, err
	}
	_, lines, err := s.keyRows(ctx, tenant)
	return keysAnswer{Keys: lines, Summary: "new messages of " + tenant.Name + " are encrypted to " + key.ID}, err
}

func (s *site) destroyKeys(ctx context.Context, who auth.Principal, tenant *store.Tenant, dryRun bool) (keysAnswer, error) {
	_, lines, err := s.keyRows(ctx, tenant)
	if err != nil {
		return keysAnswer{}, err
	}
	if dryRun {
		return keysAnswer{Keys: lines, Summary: fmt.Sprintf(
			"nothing was destroyed; without --dry-run these keys would be, and with them what is encrypted of %d bytes of mail; %s would be suspended",
			tenant.UsedBytes, tenant.Name)}, nil
	}
	n, err := s.keys.Destroy(ctx, tenant.ID, auditKey(who, tenant.ID, "encryption_key.destroy", string(tenant.ID)))
	if err != nil {
		return keysAnswer{}, err
	}
	_, lines, err = s.keyRows(ctx, tenant)
	return keysAnswer{Keys: lines, Summary: fmt.Sprintf(
		"%d keys destroyed; %s is suspended. Backups may hold the keys still: docs/encryption.md", n, tenant.Name)}, err
}

// auditKey is the line of the audit log for an act on a key.
func auditKey(who auth.Principal, tenant store.TenantID, action, target string) store.Beside {
	return store.Beside{Audit: &store.AuditEntry{
		Tenant: tenant, ActorKind: string(who.Kind), Actor: who.Actor(), Action: action, Target: target,
	}}
}
