package admin

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"strings"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/store"
)

// ErrNoEngine says that this process does not know the outbound engine.
var ErrNoEngine = errors.New("the outbound engine does not run here")

// Policy shows what is in force, as far as the principal's scope goes. auth.ErrForbidden or ErrNoEngine.
func (o *Outbound) Policy(ctx context.Context, p auth.Principal) (wire.OutboundPolicy, error) {
	var w wire.OutboundPolicy
	if !p.Can(auth.ExplainOutbound) {
		return w, auth.ErrForbidden
	}
	if o.engine == nil {
		return w, ErrNoEngine
	}
	options, compiled := o.engine.InForce()
	if !p.Scope().All {
		options.Modes = nil // they name other tenants
	}
	text, err := o.engine.Settings(options.WithDefaults())
	if err != nil {
		return w, err
	}
	w = wire.OutboundPolicy{Hash: compiled.Hash(), Mode: string(options.WithDefaults().Mode), Settings: text, Modes: []wire.OutboundTenantMode{}}
	modes, err := o.store.OutboundModes(ctx, p.Scope())
	if err != nil {
		return w, err
	}
	for tenant, mode := range modes {
		w.Modes = append(w.Modes, wire.OutboundTenantMode{TenantID: string(tenant), Mode: mode})
	}
	if w.Profiles, err = o.ConfigProfiles(ctx, p); err != nil {
		return w, err
	}
	more, err := o.Profiles(ctx, p, store.OutboundKey{}, 100)
	w.Profiles = append(w.Profiles, more...)
	return w, err
}

// SetTenantMode gives a tenant a mode of its own, or takes it away. It needs auth.ManageOutbound; the mode off is for operators only.
func (o *Outbound) SetTenantMode(ctx context.Context, p auth.Principal, tenantName string, w wire.OutboundTenantModeAct) (wire.OutboundTenantMode, error) {
	var is wire.OutboundTenantMode
	if !p.Can(auth.ManageOutbound) {
		return is, auth.ErrForbidden
	}
	mode, err := ownMode(w.Mode)
	if err == nil {
		err = checkReason(w.Reason)
	}
	if err != nil {
		return is, err
	}
	tenant, err := o.tenantNamed(ctx, p, tenantName)
	if err == nil {
		err = mayBecome(p, o.tenantMode(tenant, mode))
	}
	if err != nil {
		return is, err
	}
	name, err := o.tenantName(ctx, tenant)
	if err != nil {
		return is, err
	}
	by := actBy(p, w.Reason, w.Ticket)
	is = wire.OutboundTenantMode{TenantID: string(tenant), Mode: mode}
	err = o.store.SetOutboundMode(ctx, tenant, mode, by, func(was string) (store.Beside, error) {
		return traces(ctx, p, store.AuditEntry{
			Tenant: tenant, Action: "outbound_mode.set", Target: string(tenant), Reason: by.Reason,
		}, wire.OutboundTenantMode{TenantID: string(tenant), Mode: was}, is, notify.Notice{
			Tenant: tenant, Account: notify.WholeTenant, Kind: notify.ModeChanged, Facts: notify.Facts{
				Tenant: name, ModeBefore: string(o.tenantMode(tenant, was)), Mode: string(o.tenantMode(tenant, mode)), Reason: by.Reason, By: by.Actor,
			},
		})
	})
	return is, err
}

// actBy is who does something, and why, as the store keeps it.
func actBy(p auth.Principal, reason, ticket string) store.OutboundBy {
	return store.OutboundBy{Reason: strings.TrimSpace(reason), Ticket: strings.TrimSpace(ticket), ActorKind: string(p.Kind), Actor: p.Actor()}
}

// tenantName is the name of a tenant; its id when it has none any more.
func (o *Outbound) tenantName(ctx context.Context, id store.TenantID) (string, error) {
	names, err := o.store.NamesOfTenants(ctx, store.System, []store.TenantID{id})
	return cmp.Or(names[id], string(id)), err
}

// TenantMode shows the mode of a tenant, named as in SetTenantMode; empty is the principal's own. It needs auth.ExplainOutbound.
// store.ErrNotFound.
func (o *Outbound) TenantMode(ctx context.Context, p auth.Principal, tenantName string) (wire.OutboundTenantModeDetail, error) {
	var w wire.OutboundTenantModeDetail
	if !p.Can(auth.ExplainOutbound) {
		return w, auth.ErrForbidden
	}
	tenant, err := o.tenantShown(ctx, p, tenantName)
	if err != nil {
		return w, err
	}
	modes, err := o.store.OutboundModes(ctx, store.Scope{Tenant: tenant})
	if err != nil {
		return w, err
	}
	w.TenantID, w.Mode = string(tenant), modes[tenant]
	w.EffectiveMode, w.InheritedMode = string(o.tenantMode(tenant, w.Mode)), string(o.tenantMode(tenant, ""))
	w.Name, err = o.tenantName(ctx, tenant)
	return w, err
}

// tenantMode is what holds for a tenant with a mode of its own, or with none; empty when the engine is unknown.
func (o *Outbound) tenantMode(tenant store.TenantID, own string) policy.Mode {
	if own != "" || o.engine == nil {
		return policy.Mode(own)
	}
	_, compiled := o.engine.InForce()
	return compiled.Mode(string(tenant), "")
}

// maxTrialMessage bounds the message of a test, in bytes.
const maxTrialMessage = 30 << 20

// Test says what would happen to a message, in the language and time zone of wish, and changes nothing. It needs auth.StopOutbound. ErrNoEngine, store.ErrNotFound or a *Refused.
func (o *Outbound) Test(ctx context.Context, p auth.Principal, w wire.OutboundTest, wish ExplainWish) (wire.OutboundTestResult, error) {
	var result wire.OutboundTestResult
	if !p.Can(auth.StopOutbound) {
		return result, auth.ErrForbidden
	}
	if o.engine == nil {
		return result, ErrNoEngine
	}
	if err := checkTest(w); err != nil {
		return result, err
	}
	a, err := o.find(ctx, p, w.Account)
	if err != nil {
		return result, err
	}
	mode, err := o.effectiveMode(ctx, a)
	if err != nil {
		return result, err
	}
	d, err := o.engine.Try(ctx, Trial{
		Tenant: a.Tenant, Account: policy.Account(a.Account), Mode: mode, Client: w.Client, Recipients: w.Recipients, Message: w.Message,
	})
	if err != nil {
		return result, err
	}
	result = wire.OutboundTestResult{
		TenantID: string(a.Tenant), Account: a.Account, Mode: string(mode), Action: string(d.Action), Would: string(d.Would), Reply: replyTo(d.Action),
	}
	x := o.newExplanation(p, a)
	if d.Explanation != nil {
		fillExplanation(&x, d.Explanation)
	}
	x.Reply = result.Reply
	tell(&x, wish.Language, wish.Location)
	result.Explanation = x
	return result, nil
}

func checkTest(w wire.OutboundTest) error {
	if w.Client != "" {
		if _, err := netip.ParseAddr(w.Client); err != nil {
			return refuse("not_an_ip", mail.Clean(w.Client, 64))
		}
	}
	if len(w.Recipients) == 0 || len(w.Recipients) > 1000 {
		return refuse("trial_rcpt")
	}
	for _, text := range w.Recipients {
		if _, err := parseAddress(text); err != nil {
			return err
		}
	}
	if len(w.Message) == 0 || len(w.Message) > maxTrialMessage {
		return refuse("trial_size", maxTrialMessage>>20)
	}
	return nil
}

// replyTo is what the sender of a message sees, to the letter; empty when it is let through or held.
func replyTo(a policy.Action) string {
	switch a {
	case policy.RefuseSuspended:
		return policy.TextSuspended
	case policy.RefuseRate:
		return policy.TextRate
	default:
		return ""
	}
}
