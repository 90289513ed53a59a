package ui

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// sendingView is what people see of their own sending. Not what gave them away: who has stolen an account reads it too.
type sendingView struct {
	Account, Domain         string
	Stopped, Limited, Known bool
	// Automatic tells that no person has done it.
	Automatic bool
	Since     time.Time
	Cap       int64
	Counts    []countRow
	Plot      *plot
}

// stoppedView tells that the person's own account is stopped, or the domain of it.
type stoppedView struct {
	Domain string
	Since  time.Time
	// Automatic tells that no person has done it.
	Automatic bool
}

// ownAccount is the account under which the person sends: the login, as Postfix tells it.
func (p *page) ownAccount() string {
	return string(policy.LoginAccount(p.user.Login, p.s.d.Outbound.InForce().DefaultDomain))
}

// noteStopped looks whether the person's own account is stopped, for the banner of all pages.
func (s *Server) noteStopped(p *page) error {
	if s.d.Outbound == nil || p.Who.Tenant == "" {
		return nil
	}
	account := p.ownAccount()
	a, err := s.d.Store.OutboundAccount(p.ctx(), store.Scope{Tenant: p.Who.Tenant}, account)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	domain, err := s.d.Store.DomainStop(p.ctx(), p.Who.Tenant, domainOf(account))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	switch {
	case a != nil && a.Level == store.LevelHardLimit:
		return s.noteRefused(p, account, &stoppedView{Since: a.Since, Automatic: strings.HasPrefix(a.Act, "auto_")})
	case domain != nil:
		return s.noteRefused(p, account, &stoppedView{Domain: plain(domain.Domain), Since: domain.Since})
	default:
		return nil
	}
}

// noteRefused sets the banner, unless the next message of the account would be let through all the same: in mode off
// nothing holds, and the time of a stop may be over.
func (s *Server) noteRefused(p *page, account string, v *stoppedView) error {
	a, err := s.d.Outbound.Account(p.ctx(), p.Who, account)
	switch {
	case errors.Is(err, store.ErrNotFound): // a login without a domain: it is another name than the account's
		p.Stopped = v
		return nil
	case err == nil && a.Reply != "":
		p.Stopped = v
	}
	return err
}

// showSending tells people what they have sent, what they may send, and what happened.
func (s *Server) showSending(p *page) error {
	if s.d.Outbound == nil {
		return problemNotFound
	}
	account := p.ownAccount()
	v := sendingView{Account: plain(account)}
	if p.Stopped != nil {
		v.Stopped, v.Domain, v.Since, v.Automatic = true, p.Stopped.Domain, p.Stopped.Since, p.Stopped.Automatic
	}
	a, err := s.d.Outbound.Account(p.ctx(), p.Who, account)
	switch {
	case errors.Is(err, store.ErrNotFound): // a login under which nothing can be sent
	case err != nil:
		return err
	default:
		v.Known, v.Limited = a.SentAt != nil, a.Level == store.LevelSoftLimit
		if v.Limited {
			v.Cap = a.CapPerHour
		}
		v.Counts = s.countRows(p, a)
		// Users do not see the history; when the stop began they may.
		stop := wire.OutboundEvent{At: v.Since, LevelBefore: store.LevelNormal, LevelAfter: store.LevelHardLimit}
		if v.Plot, err = s.dayPlot(p, a, []wire.OutboundEvent{stop}); err != nil {
			return err
		}
	}
	p.Nav, p.Title = "sending", p.T("sending.title")
	if err := s.beside(p); err != nil {
		return err
	}
	return p.show(http.StatusOK, "sending", v)
}
