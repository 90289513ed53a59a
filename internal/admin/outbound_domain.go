package admin

import (
	"context"
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
	err = o.store.StopDomain(ctx, d, func(was *store.DomainStop) (store.Beside, error) {
		is := d
		if was != nil {
			is.Since = was.Since
		}
		return domainTraces(ctx, p, "outbound_domain.suspend", d, was, domainWire(is), notify.DomainSuspended, notify.Facts{
			Action: string(policy.RefuseSuspended), LevelAfter: store.LevelHardLimit, Reason: d.Reason, By: d.Actor, Until: d.Until,
		})
	})
	if err != nil {
		return wire.OutboundDomain{}, err
	}
	made, err := o.store.DomainStop(ctx, d.Tenant, d.Domain)
	if err != nil {
		return wire.OutboundDomain{}, err
	}
	return domainWire(*made), nil
}

// domainTraces are the traces of an act on a domain whose stop was, nil for none, unless an operator has made that: then the act
// is *Refused, for all but operators.
func domainTraces(ctx context.Context, p auth.Principal, action string, d store.DomainStop, was *store.DomainStop, after any,
	kind notify.Kind, facts notify.Facts,
) (store.Beside, error) {
	if was != nil && !mayUndo(p, was.ActorKind) {
		return store.Beside{}, refuse(operatorStopped, d.Domain)
	}
	return traces(ctx, p, store.AuditEntry{Tenant: d.Tenant, Action: action, Target: d.Domain, Reason: d.Reason}, stopBefore(was), after,
		notify.Notice{Tenant: d.Tenant, Account: "@" + d.Domain, Kind: kind, Facts: facts})
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
	d, err := o.domainStop(ctx, p, domain, w)
	if err != nil {
		return err
	}
	return o.store.ReleaseDomain(ctx, d, func(was *store.DomainStop) (store.Beside, error) {
		return domainTraces(ctx, p, "outbound_domain.release", d, was, nil, notify.DomainReleased, notify.Facts{
			Action: string(policy.Allow), LevelBefore: store.LevelHardLimit, LevelAfter: store.LevelNormal, Reason: d.Reason, By: d.Actor,
		})
	})
}

// domainStop authorises an act on a domain in scope, and gives the stop that it makes.
func (o *Outbound) domainStop(ctx context.Context, p auth.Principal, domain string, w wire.OutboundDomainAct) (d store.DomainStop, err error) {
	if !p.Can(auth.ManageOutbound) {
		return d, auth.ErrForbidden
	}
	if err := checkReason(w.Reason); err != nil {
		return d, err
	}
	parsed, err := mail.ParseAddress("postmaster@" + domain)
	if err != nil || parsed.Domain == "" {
		return d, refuse(notADomain, mail.Clean(domain, 80))
	}
	found, err := o.store.DomainByName(ctx, strings.ToLower(parsed.Domain))
	if err == nil && !p.Scope().All && found.Tenant != p.Scope().Tenant {
		err = store.ErrNotFound
	}
	if err != nil {
		return d, err
	}
	return store.DomainStop{
		Tenant: found.Tenant, Domain: found.Name, Reason: strings.TrimSpace(w.Reason), Ticket: strings.TrimSpace(w.Ticket),
		ActorKind: actorKind(p), Actor: p.Actor(), Since: o.now().UTC(),
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
