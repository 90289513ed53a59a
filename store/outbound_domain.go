package store

import (
	"context"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// DomainStop says that no account of a domain may send.
type DomainStop struct {
	Tenant TenantID
	// Domain is in lower-case A-label form.
	Domain                           string
	Reason, Ticket, ActorKind, Actor string
	Since                            time.Time
	// Until is when it ends by itself; zero is never.
	Until time.Time
}

// StopDomain stops a domain, or changes the stop that is there. Since is set by the store. The caller has made sure that
// the domain is the tenant's.
func (s *Store) StopDomain(ctx context.Context, d DomainStop, beside Beside) error {
	const query = `INSERT INTO outbound_domains (tenant_id, domain, reason, ticket, actor_kind, actor, since_us, until_us)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (tenant_id, domain) DO UPDATE SET reason = excluded.reason, ticket = excluded.ticket,
		actor_kind = excluded.actor_kind, actor = excluded.actor, until_us = excluded.until_us`
	return s.write(ctx, func(_ context.Context, tx *sqldb.Tx) error {
		now := s.now()
		h := d.event("suspend", now)
		h.LevelAfter = LevelHardLimit
		tx.Queue(query, string(d.Tenant), h.Name, h.Reason, h.Ticket, h.ActorKind, h.Actor, micros(now), microsOrNull(d.Until))
		h.queue(tx)
		s.noteChanged(tx, d.Tenant, ChangedDomain, h.Name)
		beside.queue(tx, now)
		return nil
	})
}

// ReleaseDomain ends the stop of a domain. ErrNotFound when there is none. Only Tenant, Domain, Reason, Ticket,
// ActorKind and Actor are looked at.
func (s *Store) ReleaseDomain(ctx context.Context, d DomainStop, beside Beside) error {
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		h := d.event("release", s.now())
		h.LevelBefore, h.LevelAfter = LevelHardLimit, LevelNormal
		n, err := tx.Exec(ctx, `DELETE FROM outbound_domains WHERE tenant_id = $1 AND domain = $2`, string(d.Tenant), h.Name)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		h.queue(tx)
		s.noteChanged(tx, d.Tenant, ChangedDomain, h.Name)
		beside.queue(tx, h.At)
		return nil
	})
}

func (d *DomainStop) event(act string, now time.Time) OutboundEvent {
	return OutboundEvent{
		LogKey: LogKey{At: now, ID: newID()}, Tenant: d.Tenant, Noun: "domain", Name: cleanKey(d.Domain), Act: act, Until: d.Until,
		Reason: mail.Clean(d.Reason, maxReason), Ticket: mail.Clean(d.Ticket, maxWord),
		ActorKind: mail.Clean(d.ActorKind, maxWord), Actor: cleanKey(d.Actor),
	}
}

const selectDomainStops = `SELECT tenant_id, domain, reason, ticket, actor_kind, actor, since_us, until_us FROM outbound_domains WHERE `

// StoppedDomains lists the domains in scope that are stopped, by name: at most limit of those after the given one. A
// scope with a user sees none. One whose time is over is listed until it is released.
func (s *Store) StoppedDomains(ctx context.Context, sc Scope, after string, limit int) ([]DomainStop, error) {
	const query = selectDomainStops + `($1 = 1 OR tenant_id = $2) AND $3 = '' AND domain > $4 ORDER BY domain, tenant_id LIMIT $5`
	return s.domainStops(ctx, query, append(sc.args(), cleanKey(after), limit)...)
}

// DomainStop reads the stop of a domain of a tenant. ErrNotFound when there is none.
func (s *Store) DomainStop(ctx context.Context, tenant TenantID, domain string) (*DomainStop, error) {
	list, err := s.domainStops(ctx, selectDomainStops+`tenant_id = $1 AND domain = $2`, string(tenant), cleanKey(domain))
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

func (s *Store) domainStops(ctx context.Context, query string, args ...any) ([]DomainStop, error) {
	var list []DomainStop
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		var d DomainStop
		var since int64
		var until *int64
		err := scan(&d.Tenant, &d.Domain, &d.Reason, &d.Ticket, &d.ActorKind, &d.Actor, &since, &until)
		d.Since, d.Until = fromMicros(since), fromNull(until)
		list = append(list, d)
		return err
	})
	return list, err
}
