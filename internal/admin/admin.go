// Package admin holds every act of a person, once: authorise, change, audit. The API, the UI and the on-host
// commands only translate.
package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

// Options of Admin. Store is required.
type Options struct {
	Store *store.Store
	// RecipientDelimiter is that of LMTP; empty means that addresses have no detail part.
	RecipientDelimiter string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Admin performs acts. Its methods may be called from many goroutines.
type Admin struct {
	store              *store.Store
	recipientDelimiter string
	now                func() time.Time
}

// New makes an Admin.
func New(o Options) *Admin {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Admin{store: o.Store, recipientDelimiter: o.RecipientDelimiter, now: o.Now}
}

// audit records what p did. after is stored as JSON and must hold no secret.
func (a *Admin) audit(ctx context.Context, p auth.Principal, tenant store.TenantID, action, target string, after any) error {
	raw, err := json.Marshal(after)
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	return a.store.Audit(ctx, store.AuditEntry{
		Tenant: tenant, ActorKind: string(p.Kind), Actor: p.Actor(), Action: action, Target: target,
		After: string(raw), RequestID: auth.AuditID(ctx),
	})
}
