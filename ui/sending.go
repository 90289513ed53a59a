package ui

import (
	"errors"
	"net/http"
	"time"

	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// sendingView is what people see of their own sending.
type sendingView struct {
	Account, Domain  string
	Stopped, Limited bool
	Known            bool
	Since            time.Time
	Cap              int64
	Sentences        []string
	Counts           []countRow
	Plot             *plot
	History          []historyRow
}

// stoppedView tells that the person's own account is stopped, or the domain of it.
type stoppedView struct {
	Account, Domain string
	Since           time.Time
}

// ownAccount is the account under which the person sends: the login, as Postfix tells it. It is derived from who is
// signed in and nothing else, and read within the person's tenant.
func (p *page) ownAccount() string {
	o, _ := p.s.settingsOf()
	return string(policy.LoginAccount(p.user.Login, o.DefaultDomain))
}

func (p *page) ownTenant() store.Scope { return store.Scope{Tenant: p.Who.Tenant} }

// noteStopped looks whether the person's own account is stopped, for the banner of all pages.
func (s *Server) noteStopped(p *page) error {
	if p.Who.Tenant == "" {
		return nil
	}
	account := p.ownAccount()
	a, err := s.d.Store.OutboundAccount(p.ctx(), p.ownTenant(), account)
	switch {
	case err == nil && a.Level == store.LevelHardLimit:
		p.Stopped = &stoppedView{Account: account, Since: a.Since}
		return nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	d, err := s.domainStop(p, p.Who.Tenant, domainOf(account))
	if d != nil {
		p.Stopped = &stoppedView{Account: account, Domain: d.Domain, Since: d.Since}
	}
	return err
}

// showSending tells people what they have sent, what they may send, and what happened.
func (s *Server) showSending(p *page) error {
	account, scope := p.ownAccount(), p.ownTenant()
	v := sendingView{Account: plain(account)}
	a, err := s.d.Store.OutboundAccount(p.ctx(), scope, account)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if p.Stopped != nil {
		v.Stopped, v.Domain, v.Since = true, p.Stopped.Domain, p.Stopped.Since
	}
	if a != nil {
		if err := s.ownSending(p, a, &v); err != nil {
			return err
		}
	}
	p.Nav, p.Title = "sending", p.T("sending.title")
	if err := s.beside(p); err != nil {
		return err
	}
	return p.show(http.StatusOK, "sending", v)
}

func (s *Server) ownSending(p *page, a *store.OutboundAccount, v *sendingView) error {
	v.Known, v.Limited = !a.Sent.IsZero(), a.Level == store.LevelSoftLimit
	if v.Limited {
		v.Since, v.Cap = a.Since, a.CapPerHour
	}
	scope := p.ownTenant()
	history, err := s.d.Store.OutboundHistory(p.ctx(), scope, "account", a.Account, store.LogKey{}, 10)
	if err != nil {
		return err
	}
	v.History = p.historyRows(a.Account, history)
	if v.Stopped || v.Limited {
		d, err := s.decisionOf(p, a, a.Decision, true)
		if err != nil {
			return err
		}
		if x := parseExplanation(d); x != nil {
			v.Sentences = p.sentences(x)
		}
	}
	if v.Known {
		v.Counts, v.Plot, err = s.sending(p, scope, a.Account, history)
	}
	return err
}
