package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// OutboundProfile is a bulk sender that is kept in the database, beside those of the configuration.
type OutboundProfile struct {
	Tenant TenantID
	// ID is chosen by people and unique in the tenant.
	ID string
	// Accounts are lower-case logins or client addresses.
	Accounts []string
	// MaxRate is as in the configuration, such as "5000 msgs/hour".
	MaxRate, Description string
	// Actor is who set it last, at Changed.
	Actor   string
	Changed time.Time
}

// maxProfileAccounts bounds the list of one profile.
const maxProfileAccounts = 1000

// SetOutboundProfile makes a profile or replaces the one of its name; created tells which. Changed is set by the store.
func (s *Store) SetOutboundProfile(ctx context.Context, p OutboundProfile, actorKind string) (created bool, err error) {
	accounts := make([]string, 0, len(p.Accounts))
	for _, a := range p.Accounts[:min(len(p.Accounts), maxProfileAccounts)] {
		accounts = append(accounts, cleanKey(a))
	}
	raw, err := json.Marshal(accounts)
	if err != nil {
		return false, fmt.Errorf("encode accounts: %w", err)
	}
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		id, now := mail.Clean(p.ID, maxWord), s.now()
		var n int64
		const count = `SELECT COUNT(*) FROM outbound_profiles WHERE tenant_id = $1 AND id = $2`
		if err := tx.Get(ctx, count, []any{string(p.Tenant), id}, &n); err != nil {
			return err
		}
		created = n == 0
		const query = `INSERT INTO outbound_profiles (tenant_id, id, accounts, max_rate, description, actor, changed_us)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, id) DO UPDATE SET accounts = excluded.accounts,
			max_rate = excluded.max_rate, description = excluded.description, actor = excluded.actor, changed_us = excluded.changed_us`
		tx.Queue(query, string(p.Tenant), id, string(raw), mail.Clean(p.MaxRate, maxWord), mail.Clean(p.Description, maxReason),
			cleanKey(p.Actor), micros(now))
		s.noteProfile(tx, p.Tenant, id, "set", actorKind, p.Actor, now)
		return nil
	})
	return created, err
}

// DeleteOutboundProfile removes a profile of a tenant. ErrNotFound.
func (s *Store) DeleteOutboundProfile(ctx context.Context, tenant TenantID, id, actorKind, actor string) error {
	id = mail.Clean(id, maxWord)
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, `DELETE FROM outbound_profiles WHERE tenant_id = $1 AND id = $2`, string(tenant), id)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		s.noteProfile(tx, tenant, id, "delete", actorKind, actor, s.now())
		return nil
	})
}

func (s *Store) noteProfile(tx *sqldb.Tx, tenant TenantID, id, act, actorKind, actor string, now time.Time) {
	h := OutboundEvent{
		LogKey: LogKey{At: now, ID: newID()}, Tenant: tenant, Noun: "profile", Name: id, Act: act,
		ActorKind: mail.Clean(actorKind, maxWord), Actor: cleanKey(actor),
	}
	h.queue(tx)
	s.noteChanged(tx, tenant, ChangedProfile, id)
}

// OutboundProfiles lists the profiles in scope by tenant and id: at most limit of those after the given tenant and id.
// A scope with a user sees none.
func (s *Store) OutboundProfiles(ctx context.Context, sc Scope, tenant TenantID, after string, limit int) ([]OutboundProfile, error) {
	const query = `SELECT tenant_id, id, accounts, max_rate, description, actor, changed_us FROM outbound_profiles
		WHERE ($1 = 1 OR tenant_id = $2) AND $3 = '' AND (tenant_id, id) > ($4, $5) ORDER BY tenant_id, id LIMIT $6`
	var list []OutboundProfile
	args := append(sc.args(), string(tenant), mail.Clean(after, maxWord), limit)
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		var p OutboundProfile
		var accounts string
		var changed int64
		if err := scan(&p.Tenant, &p.ID, &accounts, &p.MaxRate, &p.Description, &p.Actor, &changed); err != nil {
			return err
		}
		p.Changed = fromMicros(changed)
		list = append(list, p)
		return json.Unmarshal([]byte(accounts), &list[len(list)-1].Accounts)
	})
	return list, err
}
