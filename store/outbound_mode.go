package store

import (
	"context"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// SetOutboundMode gives a tenant a mode of its own (off, shadow, enforce), or with an empty mode that of the configuration.
func (s *Store) SetOutboundMode(ctx context.Context, tenant TenantID, mode, reason, actorKind, actor string) error {
	return s.write(ctx, func(_ context.Context, tx *sqldb.Tx) error {
		now := s.now()
		h := OutboundEvent{
			LogKey: LogKey{At: now, ID: newID()}, Tenant: tenant, Noun: "tenant", Name: string(tenant), Act: "mode", Mode: mode,
			Reason: mail.Clean(reason, maxReason), ActorKind: mail.Clean(actorKind, maxWord), Actor: cleanKey(actor),
		}
		if mode == "" {
			tx.Queue(`DELETE FROM outbound_modes WHERE tenant_id = $1`, string(tenant))
		} else {
			tx.Queue(`INSERT INTO outbound_modes (tenant_id, mode, actor, changed_us) VALUES ($1, $2, $3, $4)
				ON CONFLICT (tenant_id) DO UPDATE SET mode = excluded.mode, actor = excluded.actor, changed_us = excluded.changed_us`,
				string(tenant), mode, h.Actor, micros(now))
		}
		h.queue(tx)
		s.noteChanged(tx, tenant, ChangedMode, string(tenant))
		return nil
	})
}

// OutboundModes gives the modes of the tenants in scope that have one of their own.
func (s *Store) OutboundModes(ctx context.Context, sc Scope) (map[TenantID]string, error) {
	modes := map[TenantID]string{}
	const query = `SELECT tenant_id, mode FROM outbound_modes WHERE ($1 = 1 OR tenant_id = $2)`
	err := s.each(ctx, query, []any{boolInt(sc.All), string(sc.Tenant)}, func(scan sqldb.Scan) error {
		var tenant TenantID
		var mode string
		err := scan(&tenant, &mode)
		modes[tenant] = mode
		return err
	})
	return modes, err
}
