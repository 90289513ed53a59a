package admin

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// Profiles lists the bulk profiles of the database in scope by tenant and id: at most limit of those after the given one, whose
// Account is the id. auth.ErrForbidden.
func (o *Outbound) Profiles(ctx context.Context, p auth.Principal, after store.OutboundKey, limit int) ([]wire.OutboundProfile, error) {
	if !p.Can(auth.ExplainOutbound) {
		return nil, auth.ErrForbidden
	}
	rows, err := o.store.OutboundProfiles(ctx, p.Scope(), after.Tenant, after.Account, limit)
	list := make([]wire.OutboundProfile, 0, len(rows))
	for _, row := range rows {
		list = append(list, profileWire(row))
	}
	return list, err
}

// ConfigProfiles lists the bulk profiles of the configuration: all of them for who sees every tenant, for others those
// with an account of their tenant, without the accounts of others. auth.ErrForbidden.
func (o *Outbound) ConfigProfiles(ctx context.Context, p auth.Principal) ([]wire.OutboundProfile, error) {
	if !p.Can(auth.ExplainOutbound) {
		return nil, auth.ErrForbidden
	}
	list := []wire.OutboundProfile{}
	if o.engine == nil {
		return list, nil
	}
	for _, profile := range o.engine.ConfigProfiles() {
		w := wire.OutboundProfile{ID: profile.ID, MaxRate: profile.MaxRate, Description: profile.Description, Source: "config", Accounts: []string{}}
		for _, account := range profile.Accounts {
			if sc := p.Scope(); !sc.All {
				if tenant, err := o.tenantOf(ctx, policy.Account(account)); err != nil || tenant != sc.Tenant {
					continue
				}
			}
			w.Accounts = append(w.Accounts, account)
		}
		if p.Scope().All || len(w.Accounts) > 0 {
			list = append(list, w)
		}
	}
	return list, nil
}

func profileWire(row store.OutboundProfile) wire.OutboundProfile {
	return wire.OutboundProfile{
		ID: row.ID, TenantID: string(row.Tenant), Accounts: row.Accounts, MaxRate: row.MaxRate, Description: row.Description,
		Source: "database", By: row.Actor, ChangedAt: optional(row.Changed),
	}
}

var profileID = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,59}$`)

// SetProfile makes a bulk profile of a tenant or replaces it; created tells which. It needs auth.ManageOutbound; errors as of Suspend.
func (o *Outbound) SetProfile(ctx context.Context, p auth.Principal, id string, w wire.NewOutboundProfile) (made wire.OutboundProfile, created bool, err error) {
	if !p.Can(auth.ManageOutbound) {
		return made, false, auth.ErrForbidden
	}
	tenant, err := o.tenantNamed(ctx, p, w.Tenant)
	if err != nil {
		return made, false, err
	}
	row := store.OutboundProfile{Tenant: tenant, ID: id, MaxRate: w.MaxRate, Description: strings.TrimSpace(w.Description), Actor: p.Actor()}
	if row.Accounts, err = o.profileAccounts(ctx, tenant, w.Accounts); err != nil {
		return made, false, err
	}
	if err := o.checkProfile(row); err != nil {
		return made, false, err
	}
	if err := o.checkWithOthers(ctx, p, row); err != nil {
		return made, false, err
	}
	if created, err = o.store.SetOutboundProfile(ctx, row, string(p.Kind)); err != nil {
		return made, false, err
	}
	row.Changed = o.now().UTC()
	made = profileWire(row)
	return made, created, o.auditOutbound(ctx, p, store.AuditEntry{Tenant: tenant, Action: "outbound_profile.set", Target: id}, nil, made)
}

// profileAccounts are accounts of the tenant, each once.
func (o *Outbound) profileAccounts(ctx context.Context, tenant store.TenantID, texts []string) ([]string, error) {
	var accounts []string
	for _, text := range texts {
		name, err := accountName(text)
		if err != nil {
			return nil, err
		}
		owner, err := o.tenantOf(ctx, policy.Account(name))
		if err != nil || owner != tenant { // not even whether it is another tenant's is told
			return nil, refuse("%s is no account of this tenant", name)
		}
		if !slices.Contains(accounts, name) {
			accounts = append(accounts, name)
		}
	}
	if len(accounts) == 0 {
		return nil, refuse("name at least one account")
	}
	return accounts, nil
}

// checkProfile is *Refused for what the engine would not take.
func (o *Outbound) checkProfile(row store.OutboundProfile) error {
	if !profileID.MatchString(row.ID) {
		return refuse("a profile's id has 1 to 60 of a-z, 0-9, dot, hyphen and underscore")
	}
	var options policy.Options
	if o.engine != nil {
		options, _ = o.engine.InForce()
		for _, c := range o.engine.ConfigProfiles() {
			if c.ID == row.ID {
				return refuse("the profile %s belongs to the configuration: change it there, or take another id", row.ID)
			}
		}
	}
	_, err := policy.Compile(options, []policy.Profile{{
		ID: row.ID, Accounts: row.Accounts, MaxRate: row.MaxRate, Description: row.Description, Tenant: string(row.Tenant),
	}})
	if err != nil {
		return refuse("%v", err)
	}
	return nil
}

// checkWithOthers is *Refused for an account that another profile of the tenant has already, and for profiles of somebody who
// does not see all tenants that together allow more than the limit of the tenant, which does not count bulk senders.
func (o *Outbound) checkWithOthers(ctx context.Context, p auth.Principal, row store.OutboundProfile) error {
	perHour := profilePerHour(row)
	after := ""
	for {
		others, err := o.store.OutboundProfiles(ctx, store.Scope{Tenant: row.Tenant}, row.Tenant, after, profilePage)
		if err != nil {
			return err
		}
		for _, other := range others {
			after = other.ID
			if other.ID == row.ID {
				continue
			}
			perHour += profilePerHour(other)
			for _, account := range row.Accounts {
				if slices.Contains(other.Accounts, account) {
					return refuse("%s has the profile %s already: take it out of that one first", account, other.ID)
				}
			}
		}
		if len(others) < profilePage {
			break
		}
	}
	if limit := o.tenantPerHour(); perHour > limit && !p.Scope().All {
		return refuse("the accounts of all profiles could send %d recipients an hour: more than %d, the limit of a tenant, is for operators of the installation to allow",
			perHour, limit)
	}
	return nil
}

// profilePerHour is what all accounts of a profile may send within an hour; 0 for a rate that cannot be read.
func profilePerHour(row store.OutboundProfile) int64 {
	rate, err := policy.ParseRate(row.MaxRate)
	if err != nil {
		return 0
	}
	return rate.PerHour() * int64(len(row.Accounts))
}

// tenantPerHour is the limit of recipients of a tenant.
func (o *Outbound) tenantPerHour() int64 {
	var options policy.Options
	if o.engine != nil {
		options, _ = o.engine.InForce()
	}
	return int64(options.WithDefaults().Limits.TenantPerHour)
}

// profilePage is how many profiles one read gives.
const profilePage = 500

// DeleteProfile removes a bulk profile of the database. It needs auth.ManageOutbound. store.ErrNotFound, or a *Refused.
func (o *Outbound) DeleteProfile(ctx context.Context, p auth.Principal, tenantName, id string) error {
	if !p.Can(auth.ManageOutbound) {
		return auth.ErrForbidden
	}
	tenant, err := o.tenantNamed(ctx, p, tenantName)
	if err != nil {
		return err
	}
	if err := o.store.DeleteOutboundProfile(ctx, tenant, id, string(p.Kind), p.Actor()); err != nil {
		return err
	}
	return o.auditOutbound(ctx, p, store.AuditEntry{Tenant: tenant, Action: "outbound_profile.delete", Target: id}, nil, nil)
}
