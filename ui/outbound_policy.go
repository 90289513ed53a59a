package ui

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// policyView is what the page about the policy shows.
type policyView struct {
	Mode, Hash, Settings string
	Groups               []settingGroup
}

// settingGroup are settings that belong together.
type settingGroup struct {
	Name string
	Rows []settingRow
}

// settingRow is one setting: its name in the catalogue, its key in the configuration, its value for people.
type settingRow struct{ Name, Key, Value string }

// tenantMode is the mode in force for the person's own tenant.
func (s *Server) tenantMode(p *page) (string, error) {
	w, err := s.d.Outbound.Policy(p.ctx(), p.Who)
	if errors.Is(err, admin.ErrNoEngine) {
		return "", nil // nothing is decided in this process; what is shown is what others have written
	}
	for _, m := range w.Modes {
		if m.TenantID == string(p.Who.Tenant) && m.Mode != "" {
			return knownMode(m.Mode), err
		}
	}
	return knownMode(w.Mode), err
}

// showPolicy tells the settings. They belong to the configuration and are only read here.
func (s *Server) showPolicy(p *page) error {
	w, err := s.d.Outbound.Policy(p.ctx(), p.Who)
	if err != nil && !errors.Is(err, admin.ErrNoEngine) {
		return err
	}
	o := s.d.Outbound.InForce()
	v := policyView{Hash: w.Hash, Settings: w.Settings, Groups: p.settingGroups(o)}
	if v.Mode, err = s.tenantMode(p); err != nil {
		return err
	}
	if v.Mode == "" {
		v.Mode = string(o.Mode)
	}
	p.Title = p.T("outbound.policy")
	return p.show(http.StatusOK, "policy", v)
}

func (p *page) settingGroups(o policy.Options) []settingGroup {
	number := func(name, key string, n int) settingRow { return settingRow{name, key, p.Num(int64(n))} }
	fraction := func(name, key string, f float64) settingRow {
		return settingRow{name, key, strconv.FormatFloat(f, 'g', 4, 64)}
	}
	yes := func(name, key string, b *bool) settingRow {
		return settingRow{name, key, p.T("outbound.yes_no." + strconv.FormatBool(b != nil && *b))}
	}
	return []settingGroup{
		{"limits", []settingRow{
			number("user_per_hour", "limits.user_per_hour", o.Limits.UserPerHour), number("user_per_day", "limits.user_per_day", o.Limits.UserPerDay),
			number("domain_per_hour", "limits.domain_per_hour", o.Limits.DomainPerHour),
			number("tenant_per_hour", "limits.tenant_per_hour", o.Limits.TenantPerHour),
		}},
		{"score", []settingRow{
			fraction("soft", "thresholds.soft", o.Thresholds.Soft), fraction("hard", "thresholds.hard", o.Thresholds.Hard),
			fraction("weight_rate", "weights.rate", o.Weights.Rate), fraction("weight_content", "weights.content", o.Weights.Content),
			fraction("weight_history", "weights.history", o.Weights.History),
			yes("auto_suspend", "auto_suspend", o.AutoSuspend), yes("require_corroboration", "require_corroboration", o.RequireCorroboration),
		}},
		{"soft_limit", []settingRow{
			{"soft_action", "soft_limit.action", o.SoftLimit.Action}, number("soft_per_hour", "soft_limit.per_hour", o.SoftLimit.PerHour),
			number("soft_clean_hours", "soft_limit.clean_hours", o.SoftLimit.CleanHours),
			{"auto_reenable", "auto_reenable_after_hours", p.hoursOrNever(o.AutoReenableAfterHours)},
		}},
	}
}

func (p *page) hoursOrNever(hours int) string {
	if hours == 0 {
		return p.T("outbound.never")
	}
	return p.Lasting(time.Duration(hours) * time.Hour)
}

// profilesView is what the list of bulk senders shows.
type profilesView struct{ Rows []profileRow }

// profileRow is a bulk sender.
type profileRow struct {
	ID, Tenant, Rate, Description, Actor string
	Accounts                             []string
	// More is how many accounts are not shown.
	More     int
	ReadOnly bool
	Changed  time.Time
}

// Bounds on the list of bulk senders.
const (
	profilesShown        = 200
	profileAccountsShown = 10
)

func (s *Server) showProfiles(p *page) error {
	list, err := s.d.Outbound.ConfigProfiles(p.ctx(), p.Who)
	if err != nil {
		return err
	}
	more, err := s.d.Outbound.Profiles(p.ctx(), p.Who, store.OutboundKey{}, profilesShown)
	if err != nil {
		return err
	}
	var v profilesView
	for _, w := range append(list, more...) {
		row := profileRow{
			ID: plain(w.ID), Tenant: p.tenantName(w.TenantID), Rate: plain(w.MaxRate), Description: plain(w.Description), Actor: plain(w.By),
			ReadOnly: w.Source == "config", Changed: timeAt(w.ChangedAt),
		}
		for _, account := range w.Accounts[:min(len(w.Accounts), profileAccountsShown)] {
			row.Accounts = append(row.Accounts, plain(account))
		}
		row.More = len(w.Accounts) - len(row.Accounts)
		v.Rows = append(v.Rows, row)
	}
	p.Title = p.T("outbound.profiles")
	return p.show(http.StatusOK, "profiles", v)
}
