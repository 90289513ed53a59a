package admin

import (
	"context"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

// maxQuota is the largest whole number that every reader of JSON takes as it is (RFC 8259 section 6): 9 PB.
const maxQuota = 1<<53 - 1

func checkQuota(w wire.Quota) error {
	if w.QuotaBytes < 0 || w.QuotaBytes > maxQuota {
		return refuse("quota", int64(maxQuota))
	}
	return nil
}

// SetMailboxQuota limits how many bytes the messages of a mailbox in scope, named by address or id, may have together; 0 lifts the
// limit. What is there stays, whatever the limit. auth.ErrForbidden, store.ErrNotFound or a *Refused.
func (a *Admin) SetMailboxQuota(ctx context.Context, p auth.Principal, addressOrID string, w wire.Quota) (*store.Mailbox, error) {
	if !p.Can(auth.ManageMailboxes) {
		return nil, auth.ErrForbidden
	}
	if err := checkQuota(w); err != nil {
		return nil, err
	}
	m, err := a.store.MailboxByAddress(ctx, p.Scope(), addressOrID)
	if err != nil {
		return nil, err
	}
	before := wire.Quota{QuotaBytes: m.QuotaBytes}
	entry, err := auditEntry(ctx, p, store.AuditEntry{Tenant: m.Tenant, Action: "mailbox.quota", Target: m.Address}, before, w)
	if err != nil {
		return nil, err
	}
	m.QuotaBytes = w.QuotaBytes
	return m, a.store.SetMailboxQuota(ctx, m.Tenant, m.ID, w.QuotaBytes, store.Beside{Audit: &entry})
}
