package store

import (
	"context"
	"errors"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// OutboundBy is who does something to a tenant's sending, and why.
type OutboundBy struct {
	Reason, Ticket, ActorKind, Actor string
}

// event begins a line of the history.
func (by OutboundBy) event(key LogKey, tenant TenantID, noun, name, act string) OutboundEvent {
	return OutboundEvent{
		LogKey: key, Tenant: tenant, Noun: noun, Name: name, Act: act, Reason: mail.Clean(by.Reason, maxReason),
		Ticket: mail.Clean(by.Ticket, maxWord), ActorKind: mail.Clean(by.ActorKind, maxWord), Actor: cleanKey(by.Actor),
	}
}

// SetOutboundMode gives a tenant a mode of its own (off, shadow, enforce), or with an empty mode that of the configuration.
// beside says what is to be written in the same transaction; it sees the mode that was, may be called again and may be nil.
func (s *Store) SetOutboundMode(ctx context.Context, tenant TenantID, mode string, by OutboundBy, beside func(was string) (Beside, error)) error {
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var was string
		err := tx.Get(ctx, `SELECT mode FROM outbound_modes WHERE tenant_id = $1`+tx.ForUpdate(), []any{string(tenant)}, &was)
		if err != nil && !errors.Is(err, sqldb.ErrNoRows) {
			return err
		}
		now := s.now()
		h := by.event(LogKey{At: now, ID: newID()}, tenant, "tenant", string(tenant), ActMode)
		h.Mode = mode
		if mode == "" {
			tx.Queue(`DELETE FROM outbound_modes WHERE tenant_id = $1`, string(tenant))
		} else {
			tx.Queue(`INSERT INTO outbound_modes (tenant_id, mode, actor, changed_us) VALUES ($1, $2, $3, $4)
				ON CONFLICT (tenant_id) DO UPDATE SET mode = excluded.mode, actor = excluded.actor, changed_us = excluded.changed_us`,
				string(tenant), mode, h.Actor, micros(now))
		}
		h.queue(tx)
		s.noteChanged(tx, tenant, ChangedMode, string(tenant))
		if beside == nil {
			return nil
		}
		more, err := beside(was)
		more.queue(tx, now)
		return err
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
