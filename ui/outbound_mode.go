package ui

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// inherit is the word of a form for no mode of its own, as the API has it.
const inherit = "default"

// modeForm is the form for a mode, filled in.
type modeForm struct {
	// Post is where it goes; Tenant is the id of a whole tenant, empty for an account.
	Post, Tenant string
	Revision     int64
	// Own is the mode of its own, or "default"; Inherited is the one without.
	Own, Inherited string
	Modes          []string
	// Open is set for one that comes back.
	Open bool
}

// newModeForm is nil for those who may not change modes. The mode off is offered to those who may set it.
func (p *page) newModeForm(own, inherited string) *modeForm {
	if !p.Who.Can(auth.ManageOutbound) {
		return nil
	}
	f := &modeForm{Own: inherit, Inherited: knownMode(inherited), Modes: []string{string(policy.Shadow), string(policy.Enforce)}}
	if own = knownMode(own); own != "" {
		f.Own = own
	}
	if p.Who.Scope().All || own == string(policy.Off) {
		f.Modes = append(f.Modes, string(policy.Off))
	}
	if typed := p.r.PostForm.Get("mode"); typed == inherit || slices.Contains(f.Modes, typed) {
		f.Own = typed
	}
	f.Open = p.r.PostForm.Has("mode")
	return f
}

func (p *page) accountMode(a wire.OutboundAccountDetail) *modeForm {
	f := p.newModeForm(a.Mode, a.InheritedMode)
	if f != nil {
		f.Post, f.Revision = accountURL(a.Account)+"/mode", a.Revision
	}
	return f
}

// modeWord names a mode that something has of its own; the empty one is that it has none.
func (p *page) modeWord(mode string) string {
	if mode = knownMode(mode); mode == "" {
		return p.T("outbound.mode.inherit")
	}
	return p.T("outbound.mode." + mode)
}

// tenantModeRow is a tenant that has a mode of its own.
type tenantModeRow struct {
	Tenant    *tenantView
	URL, Mode string
}

// tenantURL is the page about the mode of a tenant.
func tenantURL(tenant string) string {
	return pathWith("/outbound/policy", url.Values{"tenant": {tenant}})
}

// policyModes adds what the page tells of tenants: of the one that is asked for, else of the person's own. Who sees all tenants
// has none of their own to change here, and finds them in a list.
func (s *Server) policyModes(p *page, w wire.OutboundPolicy, v *policyView) error {
	query := p.r.URL.Query()
	v.All, v.Asked = p.Who.Scope().All, mail.Clean(strings.TrimSpace(query.Get("tenant")), maxTenant)
	if p.r.Method == http.MethodPost {
		v.Asked = mail.Clean(strings.TrimSpace(p.r.PostForm.Get("tenant")), maxTenant)
	}
	if v.All && v.Asked == "" {
		return s.listModes(p, w, v)
	}
	detail, err := s.d.Outbound.TenantMode(p.ctx(), p.Who, v.Asked)
	if errors.Is(err, store.ErrNotFound) {
		p.Warn = p.T("outbound.tenant.unknown", "tenant", v.Asked)
		return s.listModes(p, w, v)
	}
	if err != nil {
		return err
	}
	detail.Name = plain(detail.Name)
	v.Asked = detail.Name
	v.Tenant, v.Given, v.Mode = &detail, v.All, knownMode(detail.EffectiveMode)
	if v.SetMode = p.newModeForm(detail.Mode, detail.InheritedMode); v.SetMode != nil {
		v.SetMode.Post, v.SetMode.Tenant = "/outbound/modes", detail.TenantID
	}
	before, err := admin.ParseLogID(query.Get("before"))
	if err != nil {
		return err
	}
	events, err := s.d.Outbound.TenantHistory(p.ctx(), p.Who, detail.TenantID, before, historyLength+1)
	if err != nil {
		return err
	}
	if len(events) > historyLength {
		events = events[:historyLength]
		older := url.Values{"before": {events[historyLength-1].ID}}
		if v.All {
			older.Set("tenant", detail.TenantID)
		}
		v.Older = pathWith("/outbound/policy", older)
	}
	v.History = p.historyRows("", events)
	for i, e := range events {
		v.History[i].Noun, v.History[i].Name = knownNoun(e.Noun), plain(e.Name)
		if e.Noun == "tenant" {
			v.History[i].Name = ""
		}
	}
	return nil
}

// maxTenant is how long the name of a tenant is at most, in bytes.
const maxTenant = 100

func knownNoun(noun string) string {
	if slices.Contains([]string{"tenant", "domain", "profile"}, noun) {
		return noun
	}
	return "other"
}

// listModes lists the tenants that have a mode of their own, by name.
func (s *Server) listModes(p *page, w wire.OutboundPolicy, v *policyView) error {
	ids := make([]string, 0, len(w.Modes))
	for _, m := range w.Modes {
		ids = append(ids, m.TenantID)
	}
	tenant, err := p.tenants(ids...)
	if err != nil || !v.All {
		return err
	}
	for _, m := range w.Modes {
		v.Modes = append(v.Modes, tenantModeRow{Tenant: tenant(m.TenantID), URL: tenantURL(m.TenantID), Mode: knownMode(m.Mode)})
	}
	slices.SortFunc(v.Modes, func(a, b tenantModeRow) int { return strings.Compare(a.Tenant.Name, b.Tenant.Name) })
	return nil
}

// confirmView asks once more before another mode holds.
type confirmView struct {
	Whose, From, To, Mode, Post, Back, Tenant, Log string
	Revision                                       int64
	Reason, Ticket                                 string
	Confirm                                        string
	Danger                                         bool
}

// becomes is the mode that holds when own is chosen.
func becomes(own, inherited string) string {
	if own == inherit {
		return knownMode(inherited)
	}
	return knownMode(own)
}

// asksAgain shows the question before a mode that changes what holds; false when the form has answered it, or nothing changes. The
// answer is for the two modes that the question named: when another one holds by then, it is asked again.
func (p *page) asksAgain(v confirmView, f outboundForm) (asked bool, err error) {
	v.Confirm = v.From + ">" + v.To
	if v.From == v.To && v.From != "" || p.r.PostForm.Get("confirm") == v.Confirm {
		return false, nil
	}
	v.Mode, v.Revision, v.Reason, v.Ticket = p.r.PostForm.Get("mode"), f.Revision, f.Reason, f.Ticket
	v.Danger = v.To != string(policy.Shadow)
	p.Title = p.T("outbound.mode.confirm")
	return true, p.show(http.StatusOK, "confirm", v)
}

// readMode reads the form for a mode. warn says what is wrong with it; empty for nothing.
func (p *page) readMode() (mode string, f outboundForm, warn string, err error) {
	f, warn, err = p.readOutboundForm()
	mode = p.r.PostForm.Get("mode")
	if err == nil && warn == "" && mode != inherit && knownMode(mode) == "" {
		warn = p.T("outbound.mode.choose")
	}
	return mode, f, warn, err
}

// setTenantMode gives a tenant a mode of its own, or takes it away.
func (s *Server) setTenantMode(p *page) error {
	mode, f, warn, err := p.readMode()
	if err != nil {
		return err
	}
	if !p.Who.Can(auth.ManageOutbound) {
		return problemForbidden
	}
	is, err := s.d.Outbound.TenantMode(p.ctx(), p.Who, strings.TrimSpace(p.r.PostForm.Get("tenant")))
	if err != nil {
		return err
	}
	back := tenantURL(is.TenantID)
	if !p.Who.Scope().All {
		back = "/outbound/policy"
	}
	status := http.StatusUnprocessableEntity
	if warn == "" {
		asked, err := p.asksAgain(confirmView{
			Whose: plain(is.Name), From: knownMode(is.EffectiveMode), To: becomes(mode, is.InheritedMode), Post: "/outbound/modes", Back: back,
			Tenant: is.TenantID, Log: "/outbound/decisions?limited=1",
		}, f)
		if asked || err != nil {
			return err
		}
		_, err = s.d.Outbound.SetTenantMode(p.ctx(), p.Who, is.TenantID, wire.OutboundTenantModeAct{
			OutboundDomainAct: wire.OutboundDomainAct{Reason: f.Reason, Ticket: f.Ticket}, Mode: mode,
		})
		if fault, said := p.actFault(err); said != "" {
			status, warn = fault, said
		} else if err != nil {
			return err
		}
	}
	if warn != "" {
		p.Warn = warn
		return s.policy(p, status)
	}
	return p.redirect(withDone(back, "out_mode", 0))
}

// setAccountMode gives an account a mode of its own, or takes it away.
func (s *Server) setAccountMode(p *page) error {
	mode, f, warn, err := p.readMode()
	if err != nil {
		return err
	}
	if !p.Who.Can(auth.ManageOutbound) {
		return problemForbidden
	}
	a, err := s.d.Outbound.Account(p.ctx(), p.Who, p.r.PathValue("account"))
	if err != nil {
		return err
	}
	status := http.StatusUnprocessableEntity
	if warn == "" {
		asked, err := p.asksAgain(confirmView{
			Whose: plain(a.Account), From: knownMode(a.EffectiveMode), To: becomes(mode, a.InheritedMode), Post: accountURL(a.Account) + "/mode",
			Back: accountURL(a.Account), Log: pathWith("/outbound/decisions", url.Values{"account": {a.Account}, "limited": {"1"}}),
		}, f)
		if asked || err != nil {
			return err
		}
		_, err = s.d.Outbound.SetMode(p.ctx(), p.Who, a.Account, wire.OutboundMode{OutboundAct: f.OutboundAct, Mode: mode})
		if fault, said := p.actFault(err); said != "" {
			status, warn = fault, said
		} else if err != nil {
			return err
		}
	}
	if warn != "" {
		p.Warn = warn
		return s.account(p, status)
	}
	return p.redirect(withDone(accountURL(a.Account), "out_mode", 0))
}
