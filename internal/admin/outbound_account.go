package admin

import (
	"context"
	"errors"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// Accounts lists accounts in scope by tenant and name. auth.ErrForbidden; so do all that read.
func (o *Outbound) Accounts(ctx context.Context, p auth.Principal, f store.OutboundFilter) ([]wire.OutboundAccount, error) {
	if !p.Can(auth.ReadOutbound) {
		return nil, auth.ErrForbidden
	}
	rows, err := o.store.OutboundAccounts(ctx, p.Scope(), f)
	list := make([]wire.OutboundAccount, 0, len(rows))
	for _, a := range rows {
		list = append(list, accountWire(p, a))
	}
	return list, err
}

// Suspensions lists the accounts in scope that are stopped, those stopped last first. It needs auth.ExplainOutbound.
func (o *Outbound) Suspensions(ctx context.Context, p auth.Principal, f store.SuspensionFilter) ([]wire.OutboundAccount, error) {
	if !p.Can(auth.ExplainOutbound) {
		return nil, auth.ErrForbidden
	}
	rows, err := o.store.Suspensions(ctx, p.Scope(), f)
	list := make([]wire.OutboundAccount, 0, len(rows))
	for _, a := range rows {
		list = append(list, accountWire(p, a))
	}
	return list, err
}

// Account reads an account with what it did. store.ErrNotFound.
func (o *Outbound) Account(ctx context.Context, p auth.Principal, account string) (wire.OutboundAccountDetail, error) {
	var w wire.OutboundAccountDetail
	if !p.Can(auth.ReadOutbound) {
		return w, auth.ErrForbidden
	}
	a, err := o.find(ctx, p, account)
	if err != nil {
		return w, err
	}
	w.OutboundAccount = accountWire(p, *a)
	if w.DomainStop, err = o.domainStopOf(ctx, a); err != nil {
		return w, err
	}
	mode, err := o.effectiveMode(ctx, a)
	if err != nil {
		return w, err
	}
	_, inherited, err := o.modesAround(ctx, a, "")
	if err != nil {
		return w, err
	}
	w.EffectiveMode, w.InheritedMode = string(mode), string(inherited)
	if mode != policy.Off && (a.Level == store.LevelHardLimit || w.DomainStop != nil) {
		w.Reply = policy.TextSuspended
	}
	if !p.Can(auth.ExplainOutbound) && w.DomainStop != nil {
		w.DomainStop.Reason, w.DomainStop.Ticket, w.DomainStop.By = "", "", ""
	}
	return w, o.addCounts(ctx, a, &w)
}

func (o *Outbound) addCounts(ctx context.Context, a *store.OutboundAccount, w *wire.OutboundAccountDetail) error {
	now, sc := o.now(), store.Scope{Tenant: a.Tenant}
	hours, err := o.store.OutboundSeries(ctx, sc, a.Account, now.Add(-24*time.Hour), now, time.Hour)
	if err != nil {
		return err
	}
	for _, h := range hours {
		add(&w.Day, countsWire(h))
		if !h.At.Before(now.Add(-time.Hour)) {
			add(&w.Hour, countsWire(h))
		}
	}
	days, err := o.store.OutboundDays(ctx, sc, a.Account, now.Add(-30*24*time.Hour), now)
	w.Days = columnsWire(days)
	if o.engine != nil {
		if _, compiled := o.engine.InForce(); compiled != nil {
			profile, _ := compiled.Profile(string(a.Tenant), policy.Account(a.Account))
			w.Profile = profile.ID
		}
	}
	return err
}

// domainStopOf is the stop of the account's whole domain; nil when there is none, or when its time is over.
func (o *Outbound) domainStopOf(ctx context.Context, a *store.OutboundAccount) (*wire.OutboundDomain, error) {
	d, err := o.store.DomainStop(ctx, a.Tenant, policy.Account(a.Account).Domain())
	if errors.Is(err, store.ErrNotFound) || err == nil && !d.Until.IsZero() && !d.Until.After(o.now()) {
		return nil, nil //nolint:nilnil // most domains are not stopped
	}
	if err != nil {
		return nil, err
	}
	w := domainWire(*d)
	return &w, nil
}

// effectiveMode is the mode that holds for an account; empty when the engine is unknown and nothing of its own is set.
func (o *Outbound) effectiveMode(ctx context.Context, a *store.OutboundAccount) (policy.Mode, error) {
	if a.Mode != "" {
		return policy.Mode(a.Mode), nil
	}
	modes, err := o.store.OutboundModes(ctx, store.Scope{Tenant: a.Tenant})
	if err != nil || modes[a.Tenant] != "" || o.engine == nil {
		return policy.Mode(modes[a.Tenant]), err
	}
	_, compiled := o.engine.InForce()
	return compiled.Mode(string(a.Tenant), policy.Account(a.Account)), nil
}

// Decisions lists the decisions about an account, newest first. store.ErrNotFound.
func (o *Outbound) Decisions(ctx context.Context, p auth.Principal, f store.DecisionFilter) ([]wire.OutboundDecision, error) {
	if !p.Can(auth.ReadOutbound) {
		return nil, auth.ErrForbidden
	}
	a, err := o.find(ctx, p, f.Account)
	if err != nil {
		return nil, err
	}
	f.Account = a.Account
	rows, err := o.store.OutboundDecisions(ctx, store.Scope{Tenant: a.Tenant}, f)
	list := make([]wire.OutboundDecision, 0, len(rows))
	for _, d := range rows {
		list = append(list, decisionWire(d))
	}
	return list, err
}

// History lists what was done to an account, newest first. store.ErrNotFound.
func (o *Outbound) History(ctx context.Context, p auth.Principal, account string, before store.LogKey, limit int) ([]wire.OutboundEvent, error) {
	if !p.Can(auth.ExplainOutbound) {
		return nil, auth.ErrForbidden
	}
	a, err := o.find(ctx, p, account)
	if err != nil {
		return nil, err
	}
	rows, err := o.store.OutboundHistory(ctx, store.Scope{Tenant: a.Tenant}, "account", a.Account, before, limit)
	return eventsWire(rows), err
}

// TenantHistory lists what was done to a tenant as a whole, newest first: its modes, domains and profiles. The tenant is named as
// in SetTenantMode; empty is the principal's own. store.ErrNotFound.
func (o *Outbound) TenantHistory(ctx context.Context, p auth.Principal, tenantName string, before store.LogKey, limit int) ([]wire.OutboundEvent, error) {
	if !p.Can(auth.ExplainOutbound) {
		return nil, auth.ErrForbidden
	}
	tenant, err := o.tenantShown(ctx, p, tenantName)
	if err != nil {
		return nil, err
	}
	rows, err := o.store.OutboundTenantHistory(ctx, p.Scope(), tenant, before, limit)
	return eventsWire(rows), err
}

func eventsWire(rows []store.OutboundEvent) []wire.OutboundEvent {
	list := make([]wire.OutboundEvent, 0, len(rows))
	for _, e := range rows {
		list = append(list, eventWire(e))
	}
	return list
}

// TenantNames gives the names of those of the tenants that are in scope, by their ids. auth.ErrForbidden.
func (o *Outbound) TenantNames(ctx context.Context, p auth.Principal, ids ...store.TenantID) (map[store.TenantID]string, error) {
	if !p.Can(auth.ExplainOutbound) {
		return nil, auth.ErrForbidden
	}
	return o.store.NamesOfTenants(ctx, p.Scope(), ids)
}

// Bounds of a series.
const (
	seriesStep = 5 * time.Minute
	maxColumns = 2000
)

// Series sums what an account did by steps of time. Zero times mean the last 24 hours; step 0 is five minutes.
// store.ErrNotFound, or a *Refused for more than 2,000 columns.
func (o *Outbound) Series(ctx context.Context, p auth.Principal, account string, from, to time.Time, step time.Duration) (wire.OutboundSeries, error) {
	if !p.Can(auth.ReadOutbound) {
		return wire.OutboundSeries{}, auth.ErrForbidden
	}
	if to.IsZero() {
		to = o.now()
	}
	if from.IsZero() {
		from = to.Add(-24 * time.Hour)
	}
	if step <= 0 {
		step = seriesStep
	}
	if !from.Before(to) || to.Sub(from) > maxColumns*step {
		return wire.OutboundSeries{}, refuse("columns", maxColumns, step)
	}
	a, err := o.find(ctx, p, account)
	if err != nil {
		return wire.OutboundSeries{}, err
	}
	return o.series(ctx, a, from, to, step)
}

// series reads columns that begin at whole steps.
func (o *Outbound) series(ctx context.Context, a *store.OutboundAccount, from, to time.Time, step time.Duration) (wire.OutboundSeries, error) {
	from = from.Truncate(step).UTC()
	w := wire.OutboundSeries{From: from, To: to.UTC(), StepSeconds: int64(step / time.Second)}
	rows, err := o.store.OutboundSeries(ctx, store.Scope{Tenant: a.Tenant}, a.Account, from, to, step)
	w.Columns = columnsWire(rows)
	return w, err
}
