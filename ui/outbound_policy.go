package ui

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/policy"
)

// policyView is what the page about the policy shows; all is empty when the engine runs elsewhere.
type policyView struct {
	Mode, Hash, Settings string
	Groups               []settingGroup
	// Tenant is whose mode is shown; nil when it is that of the configuration. Given is set when it was asked for by name.
	Tenant *wire.OutboundTenantModeDetail
	Given  bool
	// SetMode is nil for those who may not.
	SetMode *modeForm
	// All tells that who looks sees all tenants; Modes are those of tenants that have one of their own.
	All     bool
	Asked   string
	Modes   []tenantModeRow
	History []historyRow
	Older   string
}

// settingGroup are settings that belong together.
type settingGroup struct {
	Name string
	Rows []settingRow
}

// settingRow is one setting: its name in the catalogue, its key in the configuration, its value for people.
type settingRow struct{ Name, Key, Value string }

// tenantMode is the mode in force for the person's own tenant; empty when the engine runs elsewhere.
func (s *Server) tenantMode(p *page) (string, error) {
	w, err := s.d.Outbound.Policy(p.ctx(), p.Who)
	if errors.Is(err, admin.ErrNoEngine) {
		return "", nil
	}
	return p.modeIn(w), err
}

func (p *page) modeIn(w wire.OutboundPolicy) string {
	for _, m := range w.Modes {
		if m.TenantID == string(p.Who.Tenant) && m.Mode != "" {
			return knownMode(m.Mode)
		}
	}
	return knownMode(w.Mode)
}

// showPolicy tells the settings, which belong to the configuration and are only read here, and the modes of tenants.
func (s *Server) showPolicy(p *page) error { return s.policy(p, http.StatusOK) }

// policy shows the page, with what went wrong with an act.
func (s *Server) policy(p *page, status int) error {
	var v policyView
	w, err := s.d.Outbound.Policy(p.ctx(), p.Who)
	switch {
	case errors.Is(err, admin.ErrNoEngine):
	case err != nil:
		return err
	default:
		o, _ := s.d.Outbound.InForce()
		v = policyView{Hash: w.Hash, Settings: w.Settings, Groups: p.settingGroups(o), Mode: p.modeIn(w)}
	}
	if err := s.policyModes(p, w, &v); err != nil {
		return err
	}
	if p.Warn != "" && status == http.StatusOK {
		status = http.StatusNotFound
	}
	p.Title = p.T("outbound.policy")
	return p.show(status, "policy", v)
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
