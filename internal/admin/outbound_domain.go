package admin

import (
	"context"
	"errors"
	"strings"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/store"
)

// SuspendDomain stops all accounts of a domain. It needs auth.ManageOutbound; errors as of Suspend.
func (o *Outbound) SuspendDomain(ctx context.Context, p auth.Principal, domain string, w wire.OutboundDomainSuspend) (wire.OutboundDomain, error) {
	d, was, err := o.domainStop(ctx, p, domain, w.OutboundDomainAct)
	if err != nil {
		return wire.OutboundDomain{}, err
	}
	if d.Until, err = o.until(w.Hours); err != nil {
		return wire.OutboundDomain{}, err
	}
	beside, err := traces(ctx, p, store.AuditEntry{
		Tenant: d.Tenant, Action: "outbound_domain.suspend", Target: d.Domain, Reason: d.Reason,
	}, stopBefore(was), domainWire(d), notify.Notice{Tenant: d.Tenant, Account: "@" + d.Domain, Kind: notify.DomainSuspended, Facts: notify.Facts{
		Action: string(policy.RefuseSuspended), LevelAfter: store.LevelHardLimit, Reason: d.Reason, By: d.Actor, Until: d.Until,
	}})
	if err == nil {
		err = o.store.StopDomain(ctx, d, beside)
	}
	if err != nil {
		return wire.OutboundDomain{}, err
	}
	made, err := o.store.DomainStop(ctx, d.Tenant, d.Domain)
	if err != nil {
		return wire.OutboundDomain{}, err
	}
	return domainWire(*made), nil
}

// stopBefore is a stop for the audit log; nil for none.
func stopBefore(was *store.DomainStop) any {
	if was == nil {
		return nil
	}
	return domainWire(*was)
}

// ReleaseDomain ends the stop of a domain. Accounts that are stopped by themselves stay so. store.ErrNotFound when there is none.
func (o *Outbound) ReleaseDomain(ctx context.Context, p auth.Principal, domain string, w wire.OutboundDomainAct) error {
	d, was, err := o.domainStop(ctx, p, domain, w)
	if err != nil {
		return err
	}
	beside, err := traces(ctx, p, store.AuditEntry{
		Tenant: d.Tenant, Action: "outbound_domain.release", Target: d.Domain, Reason: d.Reason,
	}, stopBefore(was), nil, notify.Notice{Tenant: d.Tenant, Account: "@" + d.Domain, Kind: notify.DomainReleased, Facts: notify.Facts{
		Action: string(policy.Allow), LevelBefore: store.LevelHardLimit, LevelAfter: store.LevelNormal, Reason: d.Reason, By: d.Actor,
	}})
	if err != nil {
		return err
	}
	return o.store.ReleaseDomain(ctx, d, beside)
}

// domainStop authorises an act on a domain in scope that no operator has stopped, unless it is one who acts.
// The stop that is there, if any, is was.
func (o *Outbound) domainStop(ctx context.Context, p auth.Principal, domain string, w wire.OutboundDomainAct) (d store.DomainStop, was *store.DomainStop, err error) {
	if !p.Can(auth.ManageOutbound) {
		return d, nil, auth.ErrForbidden
	}
	if err := checkReason(w.Reason); err != nil {
		return d, nil, err
	}
	parsed, err := mail.ParseAddress("postmaster@" + domain)
	if err != nil || parsed.Domain == "" {
		return d, nil, refuse(notADomain, mail.Clean(domain, 80))
	}
	found, err := o.store.DomainByName(ctx, strings.ToLower(parsed.Domain))
	if err == nil && !p.Scope().All && found.Tenant != p.Scope().Tenant {
		err = store.ErrNotFound
	}
	if err != nil {
		return d, nil, err
	}
	was, err = o.store.DomainStop(ctx, found.Tenant, found.Name)
	switch {
	case err == nil && !mayUndo(p, was.ActorKind):
		return d, nil, refuse(operatorStopped, found.Name)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return d, nil, err
	}
	d = store.DomainStop{
		Tenant: found.Tenant, Domain: found.Name, Reason: strings.TrimSpace(w.Reason), Ticket: strings.TrimSpace(w.Ticket),
		ActorKind: actorKind(p), Actor: p.Actor(), Since: o.now().UTC(),
	}
	if was != nil {
		d.Since = was.Since
	}
	return d, was, nil
}

// StoppedDomains lists the stopped domains in scope by name, at most limit of those after the given one. auth.ErrForbidden.
func (o *Outbound) StoppedDomains(ctx context.Context, p auth.Principal, after string, limit int) ([]wire.OutboundDomain, error) {
	if !p.Can(auth.ExplainOutbound) {
		return nil, auth.ErrForbidden
	}
	rows, err := o.store.StoppedDomains(ctx, p.Scope(), after, limit)
	list := make([]wire.OutboundDomain, 0, len(rows))
	for _, d := range rows {
		list = append(list, domainWire(d))
	}
	return list, err
}

func domainWire(d store.DomainStop) wire.OutboundDomain {
	return wire.OutboundDomain{
		TenantID: string(d.Tenant), Domain: d.Domain, Since: d.Since, Until: optional(d.Until), Reason: d.Reason, Ticket: d.Ticket, By: d.Actor,
	}
}
