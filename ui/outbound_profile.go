package ui

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// profilesView is what the list of bulk senders shows.
type profilesView struct {
	Rows []profileRow
	Next string
	// May tells that who looks may change them.
	May bool
}

// profileRow is a bulk sender.
type profileRow struct {
	Tenant                            *tenantView
	ID, URL, Rate, Description, Actor string
	Accounts                          []string
	// More is how many accounts are not shown.
	More     int
	ReadOnly bool
	Changed  time.Time
}

// profileAccountsShown is how many accounts of a profile the list names.
const profileAccountsShown = 10

// profileURL is the page of a profile of the database.
func profileURL(tenant, id string) string {
	return "/outbound/profiles/" + url.PathEscape(tenant) + "/" + url.PathEscape(id)
}

// showProfiles lists the bulk senders: first those of the configuration.
func (s *Server) showProfiles(p *page) error {
	query := p.r.URL.Query()
	after := store.OutboundKey{Tenant: store.TenantID(query.Get("tenant")), Account: query.Get("after")}
	v := profilesView{May: p.Who.Can(auth.ManageOutbound)}
	list, err := s.d.Outbound.Profiles(p.ctx(), p.Who, after, perPage+1)
	if err != nil {
		return err
	}
	if len(list) > perPage {
		list = list[:perPage]
		last := list[perPage-1]
		v.Next = pathWith("/outbound/profiles", url.Values{"tenant": {last.TenantID}, "after": {last.ID}})
	}
	if after == (store.OutboundKey{}) {
		own, err := s.d.Outbound.ConfigProfiles(p.ctx(), p.Who)
		if err != nil {
			return err
		}
		list = append(own, list...)
	}
	if v.Rows, err = p.profileRows(list); err != nil {
		return err
	}
	p.Title = p.T("outbound.profiles")
	return p.show(http.StatusOK, "profiles", v)
}

func (p *page) profileRows(list []wire.OutboundProfile) (rows []profileRow, err error) {
	var ids []string
	for _, w := range list {
		ids = append(ids, w.TenantID)
	}
	tenant, err := p.tenants(ids...)
	for _, w := range list {
		row := profileRow{
			ID: plain(w.ID), Tenant: tenant(w.TenantID), Rate: plain(w.MaxRate), Description: plain(w.Description), Actor: plain(w.By),
			ReadOnly: w.Source == "config", Changed: timeAt(w.ChangedAt),
		}
		if !row.ReadOnly {
			row.URL = profileURL(w.TenantID, w.ID)
		}
		for _, account := range w.Accounts[:min(len(w.Accounts), profileAccountsShown)] {
			row.Accounts = append(row.Accounts, plain(account))
		}
		row.More = len(w.Accounts) - len(row.Accounts)
		rows = append(rows, row)
	}
	return rows, err
}

// profileView is what the page of a bulk sender shows, or the form for a new one.
type profileView struct {
	Tenant *tenantView
	// New tells that it is one to be; AskTenant that its tenant must be named.
	New, AskTenant, May bool
	Post, Delete        string
	Revision            int64
	ID, TenantName      string
	Accounts            []string
	Count, Unit         string
	Units               []string
	Rate, Description   string
	Actor               string
	Changed             time.Time
	MaxAccounts         int
}

// Lines are the accounts as the form has them, one a line.
func (v profileView) Lines() string { return strings.Join(v.Accounts, "\n") }

// units are those of a rate.
var units = []string{"hour", "day", "minute"}

func (s *Server) newProfile(p *page) error { return s.profileForm(p, http.StatusOK) }

// profileForm shows the form for a new profile, with what went wrong with it.
func (s *Server) profileForm(p *page, status int) error {
	if !p.Who.Can(auth.ManageOutbound) {
		return problemForbidden
	}
	v := profileView{
		New: true, May: true, Post: "/outbound/new-profile", AskTenant: p.Who.Scope().All, Unit: units[0], Units: units,
		MaxAccounts: store.MaxProfileAccounts,
	}
	p.typedProfile(&v)
	p.Title = p.T("outbound.profile.add")
	return p.show(status, "profile", v)
}

func (s *Server) showProfile(p *page) error { return s.profile(p, http.StatusOK) }

// profile shows the page of a profile, with what went wrong with an act.
func (s *Server) profile(p *page, status int) error {
	w, err := s.d.Outbound.Profile(p.ctx(), p.Who, p.r.PathValue("tenant"), p.r.PathValue("id"))
	if err != nil {
		return err
	}
	own := profileURL(w.TenantID, w.ID)
	v := profileView{
		May: p.Who.Can(auth.ManageOutbound), Post: own, Delete: own + "/delete", Revision: w.Revision, ID: plain(w.ID), Rate: plain(w.MaxRate),
		Description: plain(w.Description), Actor: plain(w.By), Changed: timeAt(w.ChangedAt), Unit: units[0], Units: units,
		MaxAccounts: store.MaxProfileAccounts,
	}
	for _, account := range w.Accounts {
		v.Accounts = append(v.Accounts, plain(account))
	}
	if rate, err := policy.ParseRate(w.MaxRate); err == nil {
		_, unit, _ := strings.Cut(w.MaxRate, "/")
		v.Count, v.Unit = strconv.FormatInt(rate.Copies, 10), strings.TrimSpace(unit)
	}
	if v.Tenant, err = p.tenant(w.TenantID); err != nil {
		return err
	}
	p.typedProfile(&v)
	p.Title = v.ID
	return p.show(status, "profile", v)
}

// typedProfile fills in what was typed, when a form comes back.
func (p *page) typedProfile(v *profileView) {
	form := p.r.PostForm
	if !form.Has("accounts") {
		return
	}
	v.Accounts = nil
	for _, account := range accountsIn(form.Get("accounts")) {
		v.Accounts = append(v.Accounts, plain(account))
	}
	v.Count, v.Description = mail.Clean(form.Get("count"), 20), mail.Clean(form.Get("description"), maxForm)
	if slices.Contains(units, form.Get("unit")) {
		v.Unit = form.Get("unit")
	}
	if v.New {
		v.ID, v.TenantName = mail.Clean(form.Get("id"), 100), mail.Clean(form.Get("tenant"), maxTenant)
	}
}

// accountsIn splits what people type between accounts: lines, blanks, commas, also those of Japanese.
func accountsIn(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(",;、，；", r) })
}

// readProfile reads the form of a profile. warn says what is wrong with it; empty for nothing.
func (p *page) readProfile() (w wire.NewOutboundProfile, warn string, err error) {
	f, warn, err := p.readOutboundForm()
	form := p.r.PostForm
	w.OutboundAct, w.Accounts, w.Description = f.OutboundAct, accountsIn(form.Get("accounts")), form.Get("description")
	if err != nil || warn != "" {
		return w, warn, err
	}
	n, whole := wholeNumber(form.Get("count"))
	if !whole || n < 1 || n > policy.MaxRateCopies || !slices.Contains(units, form.Get("unit")) {
		return w, p.T("outbound.profile.rate.wrong", "max", p.Num(policy.MaxRateCopies)), nil
	}
	w.MaxRate = strconv.Itoa(n) + " msgs/" + form.Get("unit")
	return w, "", nil
}

// profileFault is actFault for profiles.
func (p *page) profileFault(err error) (status int, warn string) {
	if errors.Is(err, store.ErrConflict) {
		return http.StatusConflict, p.T("outbound.profile.conflict")
	}
	return p.actFault(err)
}

// addProfile makes a profile, and leads to the list.
func (s *Server) addProfile(p *page) error {
	w, warn, err := p.readProfile()
	status := http.StatusUnprocessableEntity
	if err == nil && warn == "" {
		w.New, w.Revision = true, 0
		if p.Who.Scope().All {
			w.Tenant = strings.TrimSpace(p.r.PostForm.Get("tenant"))
		}
		_, _, err = s.d.Outbound.SetProfile(p.ctx(), p.Who, strings.TrimSpace(p.r.PostForm.Get("id")), w)
		if fault, said := p.profileFault(err); said != "" {
			status, warn, err = fault, said, nil
		}
	}
	if err != nil {
		return err
	}
	if warn != "" {
		p.Warn = warn
		return s.profileForm(p, status)
	}
	return p.redirect("/outbound/profiles?done=out_profile_added")
}

// changeProfile replaces a profile that is there.
func (s *Server) changeProfile(p *page) error {
	w, warn, err := p.readProfile()
	if err != nil {
		return err
	}
	return s.actOnProfile(p, warn, "out_profile_changed", func(tenant, id string) error {
		w.Tenant = tenant
		_, _, err := s.d.Outbound.SetProfile(p.ctx(), p.Who, id, w)
		return err
	})
}

func (s *Server) deleteProfile(p *page) error {
	f, warn, err := p.readOutboundForm()
	if err != nil {
		return err
	}
	return s.actOnProfile(p, warn, "out_profile_deleted", func(tenant, id string) error {
		return s.d.Outbound.DeleteProfile(p.ctx(), p.Who, tenant, id, f.OutboundAct)
	})
}

// actOnProfile does an act on the profile of the address unless warn says what is wrong with its form, and leads to the list. What
// is not there, or another tenant's, is not found before anything is said about the form.
func (s *Server) actOnProfile(p *page, warn, done string, act func(tenant, id string) error) error {
	if !p.Who.Can(auth.ManageOutbound) {
		return problemForbidden
	}
	tenant, id := p.r.PathValue("tenant"), p.r.PathValue("id")
	if _, err := s.d.Outbound.Profile(p.ctx(), p.Who, tenant, id); err != nil {
		return err
	}
	status := http.StatusUnprocessableEntity
	if warn == "" {
		err := act(tenant, id)
		if fault, said := p.profileFault(err); said != "" {
			status, warn = fault, said
		} else if err != nil {
			return err
		}
	}
	if warn != "" {
		p.Warn = warn
		return s.profile(p, status)
	}
	return p.redirect("/outbound/profiles?done=" + done)
}
