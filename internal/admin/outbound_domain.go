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
	d, err := o.domainStop(ctx, p, domain, w.OutboundDomainAct)
	if err != nil {
		return wire.OutboundDomain{}, err
	}
	if d.Until, err = o.until(w.Hours); err != nil {
		return wire.OutboundDomain{}, err
	}
	if err := o.store.StopDomain(ctx, d); err != nil {
		return wire.OutboundDomain{}, err
	}
	made, err := o.store.DomainStop(ctx, d.Tenant, d.Domain)
	if err != nil {
		return wire.OutboundDomain{}, err
	}
	after := domainWire(*made)
	err = o.auditOutbound(ctx, p, store.AuditEntry{
		Tenant: d.Tenant, Action: "outbound_domain.suspend", Target: d.Domain, Reason: d.Reason,
	}, nil, after)
	if err != nil {
		return after, err
	}
	return after, notify.Enqueue(ctx, o.store, notify.Notice{Tenant: d.Tenant, Account: "@" + d.Domain, Kind: notify.DomainSuspended, Facts: notify.Facts{
		Action: string(policy.RefuseSuspended), LevelAfter: store.LevelHardLimit, Reason: d.Reason, By: d.Actor, Until: d.Until,
	}})
}

// ReleaseDomain ends the stop of a domain. Accounts that are stopped by themselves stay so. store.ErrNotFound when there is none.
func (o *Outbound) ReleaseDomain(ctx context.Context, p auth.Principal, domain string, w wire.OutboundDomainAct) error {
	d, err := o.domainStop(ctx, p, domain, w)
	if err != nil {
		return err
	}
	if err := o.store.ReleaseDomain(ctx, d); err != nil {
		return err
	}
	err = o.auditOutbound(ctx, p, store.AuditEntry{
		Tenant: d.Tenant, Action: "outbound_domain.release", Target: d.Domain, Reason: d.Reason,
	}, nil, nil)
	if err != nil {
		return err
	}
	return notify.Enqueue(ctx, o.store, notify.Notice{Tenant: d.Tenant, Account: "@" + d.Domain, Kind: notify.DomainReleased, Facts: notify.Facts{
		Action: string(policy.Allow), LevelBefore: store.LevelHardLimit, LevelAfter: store.LevelNormal, Reason: d.Reason, By: d.Actor,
	}})
}

// domainStop authorises an act on a domain in scope that no operator has stopped, unless it is one who acts.
func (o *Outbound) domainStop(ctx context.Context, p auth.Principal, domain string, w wire.OutboundDomainAct) (store.DomainStop, error) {
	if !p.Can(auth.ManageOutbound) {
		return store.DomainStop{}, auth.ErrForbidden
	}
	if err := checkReason(w.Reason); err != nil {
		return store.DomainStop{}, err
	}
	parsed, err := mail.ParseAddress("postmaster@" + domain)
	if err != nil || parsed.Domain == "" {
		return store.DomainStop{}, refuse("%q is not a domain name", mail.Clean(domain, 80))
	}
	d, err := o.store.DomainByName(ctx, strings.ToLower(parsed.Domain))
	if err == nil && !p.Scope().All && d.Tenant != p.Scope().Tenant {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.DomainStop{}, err
	}
	was, err := o.store.DomainStop(ctx, d.Tenant, d.Name)
	switch {
	case err == nil && !mayUndo(p, was.ActorKind):
		return store.DomainStop{}, refuse("%s was stopped by an operator of the installation: only they can change that", d.Name)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return store.DomainStop{}, err
	}
	return store.DomainStop{
		Tenant: d.Tenant, Domain: d.Name, Reason: strings.TrimSpace(w.Reason), Ticket: strings.TrimSpace(w.Ticket),
		ActorKind: actorKind(p), Actor: p.Actor(),
	}, nil
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
