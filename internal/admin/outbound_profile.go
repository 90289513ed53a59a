package admin

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/notify"
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

// Profile reads one bulk profile of the database, of a tenant in scope by name or id. auth.ErrForbidden or store.ErrNotFound.
func (o *Outbound) Profile(ctx context.Context, p auth.Principal, tenantName, id string) (wire.OutboundProfile, error) {
	if !p.Can(auth.ExplainOutbound) {
		return wire.OutboundProfile{}, auth.ErrForbidden
	}
	tenant, err := o.tenantShown(ctx, p, tenantName)
	if err != nil {
		return wire.OutboundProfile{}, err
	}
	row, err := o.store.OutboundProfile(ctx, p.Scope(), tenant, id)
	if err != nil {
		return wire.OutboundProfile{}, err
	}
	return profileWire(*row), nil
}

func profileWire(row store.OutboundProfile) wire.OutboundProfile {
	return wire.OutboundProfile{
		ID: row.ID, TenantID: string(row.Tenant), Accounts: row.Accounts, MaxRate: row.MaxRate, Description: row.Description,
		Source: "database", By: row.Actor, ChangedAt: optional(row.Changed), Revision: row.Revision,
	}
}

var profileID = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,59}$`)

// SetProfile makes a bulk profile of a tenant or replaces it; created tells which. It needs auth.ManageOutbound; errors as of Suspend.
func (o *Outbound) SetProfile(ctx context.Context, p auth.Principal, id string, w wire.NewOutboundProfile) (made wire.OutboundProfile, created bool, err error) {
	c, err := o.profileAct(ctx, p, w.Tenant, id, w.OutboundAct)
	if err != nil {
		return made, false, err
	}
	c.Profile.MaxRate, c.Profile.Description, c.New = strings.TrimSpace(w.MaxRate), strings.TrimSpace(w.Description), w.New
	if c.Profile.Accounts, err = o.profileAccounts(ctx, c.Profile.Tenant, w.Accounts); err == nil {
		err = o.checkProfile(c.Profile)
	}
	if err == nil {
		err = o.checkWithOthers(ctx, p, c.Profile)
	}
	if err != nil {
		return made, false, err
	}
	is, created, err := o.store.SetOutboundProfile(ctx, c)
	if errors.Is(err, store.ErrExists) {
		err = refuse("profile_exists", id)
	}
	if err != nil {
		return made, false, err
	}
	return profileWire(*is), created, nil
}

// profileAct authorises an act on a profile, and says what is written beside it.
func (o *Outbound) profileAct(ctx context.Context, p auth.Principal, tenantName, id string, w wire.OutboundAct) (store.OutboundProfileChange, error) {
	c := store.OutboundProfileChange{OutboundBy: actBy(p, w.Reason, w.Ticket), Revision: w.Revision}
	if !p.Can(auth.ManageOutbound) {
		return c, auth.ErrForbidden
	}
	if err := checkReason(w.Reason); err != nil {
		return c, err
	}
	tenant, err := o.tenantNamed(ctx, p, tenantName)
	if err != nil {
		return c, err
	}
	name, err := o.tenantName(ctx, tenant)
	c.Profile.Tenant, c.Profile.ID = tenant, id
	c.Beside = func(was, is *store.OutboundProfile) (store.Beside, error) {
		n := notify.Notice{Tenant: tenant, Account: notify.OfProfile(id), Kind: notify.ProfileDeleted, Facts: notify.Facts{
			Tenant: name, Profile: id, Reason: c.Reason, By: c.Actor,
		}}
		action := "outbound_profile.delete"
		if is != nil {
			n.Kind, n.Facts.MaxRate, n.Facts.ProfileAccounts = notify.ProfileSet, is.MaxRate, len(is.Accounts)
			action = "outbound_profile.set"
		}
		return traces(ctx, p, store.AuditEntry{Tenant: tenant, Action: action, Target: id, Reason: c.Reason}, profileText(was), profileText(is), n)
	}
	return c, err
}

// profileText is a profile for the audit log; nil for none.
func profileText(row *store.OutboundProfile) any {
	if row == nil {
		return nil
	}
	return profileWire(*row)
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
			return nil, refuse("profile_foreign", name)
		}
		if !slices.Contains(accounts, name) {
			accounts = append(accounts, name)
		}
	}
	switch {
	case len(accounts) == 0:
		return nil, refuse("profile_empty")
	case len(accounts) > store.MaxProfileAccounts:
		return nil, refuse("profile_many", store.MaxProfileAccounts)
	}
	return accounts, nil
}

// checkProfile is *Refused for what the engine would not take.
func (o *Outbound) checkProfile(row store.OutboundProfile) error {
	if !profileID.MatchString(row.ID) {
		return refuse("profile_id")
	}
	if o.engine != nil {
		for _, c := range o.engine.ConfigProfiles() {
			if c.ID == row.ID {
				return refuse("profile_config", row.ID)
			}
		}
	}
	if _, err := policy.ParseRate(row.MaxRate); err != nil {
		return refuse("profile_rate", mail.Clean(row.MaxRate, 60), policy.MaxRateCopies)
	}
	if utf8.RuneCountInString(row.Description) > maxDescription {
		return refuse("profile_text", maxDescription)
	}
	return nil
}

// maxDescription is how long the text of a profile may be, in characters.
const maxDescription = 500

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
					return refuse("profile_taken", account, other.ID)
				}
			}
		}
		if len(others) < profilePage {
			break
		}
	}
	if limit := o.tenantPerHour(); perHour > limit && !p.Scope().All {
		return refuse("profile_sum",
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
// Errors as of Suspend.
func (o *Outbound) DeleteProfile(ctx context.Context, p auth.Principal, tenantName, id string, w wire.OutboundAct) error {
	c, err := o.profileAct(ctx, p, tenantName, id, w)
	if err != nil {
		return err
	}
	return o.store.DeleteOutboundProfile(ctx, c)
}
