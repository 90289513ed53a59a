package store

import (
	"context"
	"errors"
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
// the domain is the tenant's. beside says what is to be written in the same transaction: it sees the stop as it is then, nil for
// none, so that it can refuse to touch somebody else's; it may be called again and may be nil. ErrConflict when two stop it at once.
func (s *Store) StopDomain(ctx context.Context, d DomainStop, beside func(was *DomainStop) (Beside, error)) error {
	const update = `UPDATE outbound_domains SET reason = $3, ticket = $4, actor_kind = $5, actor = $6, until_us = $7 WHERE tenant_id = $1 AND domain = $2`
	const insert = `INSERT INTO outbound_domains (tenant_id, domain, reason, ticket, actor_kind, actor, until_us, since_us)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
	err := s.actOnDomain(ctx, d, "suspend", beside, func(tx *sqldb.Tx, was *DomainStop, h *OutboundEvent) error {
		h.LevelAfter = LevelHardLimit
		args := []any{string(d.Tenant), h.Name, h.Reason, h.Ticket, h.ActorKind, h.Actor, microsOrNull(d.Until)}
		if was != nil {
			tx.Queue(update, args...)
		} else {
			tx.Queue(insert, append(args, micros(h.At))...)
		}
		return nil
	})
	if errors.Is(err, sqldb.ErrConflict) {
		err = ErrConflict
	}
	return err
}

// ReleaseDomain ends the stop of a domain; beside is as in StopDomain. ErrNotFound when there is none. Only Tenant, Domain,
// Reason, Ticket, ActorKind and Actor are looked at.
func (s *Store) ReleaseDomain(ctx context.Context, d DomainStop, beside func(was *DomainStop) (Beside, error)) error {
	return s.actOnDomain(ctx, d, "release", beside, func(tx *sqldb.Tx, was *DomainStop, h *OutboundEvent) error {
		if was == nil {
			return ErrNotFound
		}
		h.LevelBefore, h.LevelAfter = LevelHardLimit, LevelNormal
		tx.Queue(`DELETE FROM outbound_domains WHERE tenant_id = $1 AND domain = $2`, string(d.Tenant), h.Name)
		return nil
	})
}

// actOnDomain locks the stop of a domain, lets act change it, and writes its history and what beside says.
func (s *Store) actOnDomain(ctx context.Context, d DomainStop, verb string, beside func(was *DomainStop) (Beside, error),
	act func(tx *sqldb.Tx, was *DomainStop, h *OutboundEvent) error,
) error {
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var was *DomainStop
		query := selectDomainStops + `tenant_id = $1 AND domain = $2` + tx.ForUpdate()
		err := tx.Each(ctx, query, []any{string(d.Tenant), cleanKey(d.Domain)}, func(scan sqldb.Scan) error {
			found, err := scanDomainStop(scan)
			was = &found
			return err
		})
		if err != nil {
			return err
		}
		h := d.event(verb, s.now())
		if err := act(tx, was, &h); err != nil {
			return err
		}
		h.queue(tx)
		s.noteChanged(tx, d.Tenant, ChangedDomain, h.Name)
		if beside == nil {
			return nil
		}
		more, err := beside(was)
		more.queue(tx, h.At)
		return err
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
		d, err := scanDomainStop(scan)
		list = append(list, d)
		return err
	})
	return list, err
}

func scanDomainStop(scan sqldb.Scan) (d DomainStop, err error) {
	var since int64
	var until *int64
	err = scan(&d.Tenant, &d.Domain, &d.Reason, &d.Ticket, &d.ActorKind, &d.Actor, &since, &until)
	d.Since, d.Until = fromMicros(since), fromNull(until)
	return d, err
}
