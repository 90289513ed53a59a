package ui

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

// suspensionsView is what the list of stopped accounts and domains shows.
type suspensionsView struct {
	Mode           string
	Rows           []accountRow
	Next           string
	Domains        []domainRow
	May, MayDomain bool
}

// domainRow is a domain that is stopped.
type domainRow struct {
	Tenant                              *tenantView
	ID, Domain, Release, Reason, Ticket string
	Since, Until                        time.Time
	By                                  actor
}

// maxDomains is how many stopped domains are listed.
const maxDomains = 200

func (s *Server) showSuspensions(p *page) error { return s.suspensions(p, http.StatusOK) }

// suspensions lists who is stopped, and shows what went wrong with an act.
func (s *Server) suspensions(p *page, status int) error {
	v := suspensionsView{May: p.Who.Can(auth.StopOutbound), MayDomain: p.Who.Can(auth.ManageOutbound)}
	list, err := s.d.Outbound.Suspensions(p.ctx(), p.Who, suspensionsBefore(p.r.URL.Query()))
	if err != nil {
		return err
	}
	if len(list) > perPage {
		list = list[:perPage]
		v.Next = olderSuspensions(list[perPage-1])
	}
	ids := tenantsOf(list)
	domains, err := s.d.Outbound.StoppedDomains(p.ctx(), p.Who, "", maxDomains)
	if err != nil {
		return err
	}
	for _, d := range domains {
		ids = append(ids, d.TenantID)
	}
	tenant, err := p.tenants(ids...)
	if err != nil {
		return err
	}
	for _, a := range list {
		row, err := s.accountRow(p, a)
		if err != nil {
			return err
		}
		if a.Automatic {
			row.Cause, err = s.d.Outbound.Gist(p.ctx(), p.Who, a.Account, admin.ExplainWish{Language: p.Lang, Location: p.zone})
			if err != nil && !errors.Is(err, store.ErrNotFound) { // one account that went meanwhile hides no others
				return err
			}
			row.Cause = plain(row.Cause)
		}
		row.Tenant = tenant(a.TenantID)
		v.Rows = append(v.Rows, row)
	}
	for _, d := range domains {
		v.Domains = append(v.Domains, domainRow{
			Tenant: tenant(d.TenantID), ID: "release-" + d.Domain, Domain: plain(d.Domain), Release: "/outbound/domains/" + url.PathEscape(d.Domain) + "/release",
			Reason: plain(d.Reason), Ticket: plain(d.Ticket), Since: d.Since, Until: timeAt(d.Until), By: actor{Name: plain(d.By)},
		})
	}
	if v.Mode, err = s.tenantMode(p); err != nil {
		return err
	}
	p.Nav, p.Title = "outbound", p.T("outbound.suspensions")
	return p.show(status, "suspensions", v)
}

// suspensionsBefore asks for the page that begins where the address says.
func suspensionsBefore(query url.Values) store.SuspensionFilter {
	return store.SuspensionFilter{
		BeforeSince: beforeParameter(query.Get("before")), Limit: perPage + 1,
		Before: store.OutboundKey{Tenant: store.TenantID(query.Get("tenant")), Account: query.Get("account")},
	}
}

// olderSuspensions is the address of the page after the one that ends with an account.
func olderSuspensions(last wire.OutboundAccount) string {
	return pathWith("/outbound/suspensions", url.Values{
		"before": {strconv.FormatInt(timeAt(last.Since).UnixMicro(), 10)}, "tenant": {last.TenantID}, "account": {last.Account},
	})
}
