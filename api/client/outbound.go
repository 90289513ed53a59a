package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/mairust/mairust/api/wire"
)

const outbound = "/api/v1/outbound"

// Page says which part of a list.
type Page struct {
	// Limit is at most 100; 0 is the server's default.
	Limit int
	// Cursor is that of the page before; empty is the first.
	Cursor string
}

func (p Page) query() url.Values {
	q := url.Values{}
	set(q, "cursor", p.Cursor)
	if p.Limit > 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	return q
}

// set sets a parameter unless it is empty.
func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// list reads one page of a list.
func list[T any](ctx context.Context, c *Client, path string, q url.Values) (wire.List[T], error) {
	var page wire.List[T]
	return page, c.call(ctx, http.MethodGet, path, q, nil, &page)
}

func accountPath(account, rest string) string {
	return outbound + "/accounts/" + url.PathEscape(account) + rest
}

// AccountFilter chooses accounts; empty fields choose all.
type AccountFilter struct {
	Level, Prefix string
}

// OutboundAccounts lists the accounts that send, by tenant and name.
func (c *Client) OutboundAccounts(ctx context.Context, f AccountFilter, p Page) (wire.List[wire.OutboundAccount], error) {
	q := p.query()
	set(q, "level", f.Level)
	set(q, "prefix", f.Prefix)
	return list[wire.OutboundAccount](ctx, c, outbound+"/accounts", q)
}

// OutboundAccount reads an account with what it sent.
func (c *Client) OutboundAccount(ctx context.Context, account string) (wire.OutboundAccountDetail, error) {
	var a wire.OutboundAccountDetail
	return a, c.call(ctx, http.MethodGet, accountPath(account, ""), nil, nil, &a)
}

// Suspensions lists the accounts that are stopped, those stopped last first; with limited also those under a soft limit.
func (c *Client) Suspensions(ctx context.Context, limited bool, p Page) (wire.List[wire.OutboundAccount], error) {
	q := p.query()
	if limited {
		q.Set("limited", "true")
	}
	return list[wire.OutboundAccount](ctx, c, outbound+"/suspensions", q)
}

// ExplainOutbound says why an account was stopped, or explains the decision of an id. timezone is for the times of the
// text, empty is UTC.
func (c *Client) ExplainOutbound(ctx context.Context, account, decision, timezone string) (wire.OutboundExplanation, error) {
	q := url.Values{}
	set(q, "decision", decision)
	set(q, "timezone", timezone)
	var x wire.OutboundExplanation
	return x, c.call(ctx, http.MethodGet, accountPath(account, "/explain"), q, nil, &x)
}

// OutboundDecisions lists decisions about an account, newest first; with limited only those that kept mail back.
func (c *Client) OutboundDecisions(ctx context.Context, account string, limited bool, p Page) (wire.List[wire.OutboundDecision], error) {
	q := p.query()
	if limited {
		q.Set("limited", "true")
	}
	return list[wire.OutboundDecision](ctx, c, accountPath(account, "/decisions"), q)
}

// OutboundHistory lists what was done to an account, newest first.
func (c *Client) OutboundHistory(ctx context.Context, account string, p Page) (wire.List[wire.OutboundEvent], error) {
	return list[wire.OutboundEvent](ctx, c, accountPath(account, "/history"), p.query())
}

// OutboundTenantHistory lists what was done to a tenant, by name or id, as a whole, newest first.
func (c *Client) OutboundTenantHistory(ctx context.Context, tenant string, p Page) (wire.List[wire.OutboundEvent], error) {
	return list[wire.OutboundEvent](ctx, c, outbound+"/tenants/"+url.PathEscape(tenant)+"/history", p.query())
}

// OutboundSeries sums what an account did by steps of time. Zero values are the server's defaults.
func (c *Client) OutboundSeries(ctx context.Context, account string, from, to time.Time, step time.Duration) (wire.OutboundSeries, error) {
	q := url.Values{}
	if !from.IsZero() {
		q.Set("from", from.UTC().Format(time.RFC3339))
	}
	if !to.IsZero() {
		q.Set("to", to.UTC().Format(time.RFC3339))
	}
	if step > 0 {
		q.Set("step_seconds", strconv.FormatInt(int64(step/time.Second), 10))
	}
	var s wire.OutboundSeries
	return s, c.call(ctx, http.MethodGet, accountPath(account, "/series"), q, nil, &s)
}

func (c *Client) act(ctx context.Context, account, verb string, body any) (wire.OutboundAccount, error) {
	var a wire.OutboundAccount
	return a, c.call(ctx, http.MethodPost, accountPath(account, "/"+verb), nil, body, &a)
}

// Suspend stops the sending of an account.
func (c *Client) Suspend(ctx context.Context, account string, w wire.OutboundSuspend) (wire.OutboundAccount, error) {
	return c.act(ctx, account, "suspend", w)
}

// Release ends a stop or a limit.
func (c *Client) Release(ctx context.Context, account string, w wire.OutboundRelease) (wire.OutboundAccount, error) {
	return c.act(ctx, account, "release", w)
}

// Extend changes when a stop or a limit ends by itself.
func (c *Client) Extend(ctx context.Context, account string, w wire.OutboundExtend) (wire.OutboundAccount, error) {
	return c.act(ctx, account, "extend", w)
}

// Limit puts an account under a soft limit.
func (c *Client) Limit(ctx context.Context, account string, w wire.OutboundLimitAct) (wire.OutboundAccount, error) {
	return c.act(ctx, account, "limit", w)
}

// SetAccountMode gives an account a mode of its own.
func (c *Client) SetAccountMode(ctx context.Context, account string, w wire.OutboundMode) (wire.OutboundAccount, error) {
	return c.act(ctx, account, "mode", w)
}

// ForgetOutbound deletes what is kept of an account's sending.
func (c *Client) ForgetOutbound(ctx context.Context, account, reason string) (wire.OutboundForgotten, error) {
	var done wire.OutboundForgotten
	return done, c.call(ctx, http.MethodDelete, accountPath(account, "/data"), url.Values{"reason": {reason}}, nil, &done)
}

// StoppedDomains lists the domains that are stopped, by name.
func (c *Client) StoppedDomains(ctx context.Context, p Page) (wire.List[wire.OutboundDomain], error) {
	return list[wire.OutboundDomain](ctx, c, outbound+"/domains", p.query())
}

// SuspendDomain stops all accounts of a domain.
func (c *Client) SuspendDomain(ctx context.Context, domain string, w wire.OutboundDomainSuspend) (wire.OutboundDomain, error) {
	var d wire.OutboundDomain
	return d, c.call(ctx, http.MethodPost, outbound+"/domains/"+url.PathEscape(domain)+"/suspend", nil, w, &d)
}

// ReleaseDomain ends the stop of a domain.
func (c *Client) ReleaseDomain(ctx context.Context, domain string, w wire.OutboundDomainAct) error {
	return c.call(ctx, http.MethodPost, outbound+"/domains/"+url.PathEscape(domain)+"/release", nil, w, nil)
}

// Profiles lists the bulk senders; those of the configuration stand on the first page.
func (c *Client) Profiles(ctx context.Context, p Page) (wire.List[wire.OutboundProfile], error) {
	return list[wire.OutboundProfile](ctx, c, outbound+"/profiles", p.query())
}

// Profile reads a bulk sender of the database; tenant is a name or id, empty is one's own.
func (c *Client) Profile(ctx context.Context, tenant, id string) (wire.OutboundProfile, error) {
	q := url.Values{}
	set(q, "tenant", tenant)
	var p wire.OutboundProfile
	return p, c.call(ctx, http.MethodGet, outbound+"/profiles/"+url.PathEscape(id), q, nil, &p)
}

// SetProfile makes or replaces a bulk sender.
func (c *Client) SetProfile(ctx context.Context, id string, w wire.NewOutboundProfile) (wire.OutboundProfile, error) {
	var p wire.OutboundProfile
	return p, c.call(ctx, http.MethodPut, outbound+"/profiles/"+url.PathEscape(id), nil, w, &p)
}

// DeleteProfile deletes a bulk sender; tenant is a name or id, empty is one's own.
func (c *Client) DeleteProfile(ctx context.Context, tenant, id string, w wire.OutboundAct) error {
	q := url.Values{"reason": {w.Reason}}
	set(q, "tenant", tenant)
	set(q, "ticket", w.Ticket)
	if w.Revision != 0 {
		q.Set("revision", strconv.FormatInt(w.Revision, 10))
	}
	return c.call(ctx, http.MethodDelete, outbound+"/profiles/"+url.PathEscape(id), q, nil, nil)
}

// Policy reads what is in force.
func (c *Client) Policy(ctx context.Context) (wire.OutboundPolicy, error) {
	var p wire.OutboundPolicy
	return p, c.call(ctx, http.MethodGet, outbound+"/policy", nil, nil, &p)
}

// TestPolicy says what would happen to a message; nothing is sent or changed.
func (c *Client) TestPolicy(ctx context.Context, w wire.OutboundTest) (wire.OutboundTestResult, error) {
	var r wire.OutboundTestResult
	return r, c.call(ctx, http.MethodPost, outbound+"/policy/test", nil, w, &r)
}

// SetTenantMode gives a tenant, by name or id, a mode of its own.
func (c *Client) SetTenantMode(ctx context.Context, tenant string, w wire.OutboundTenantModeAct) (wire.OutboundTenantMode, error) {
	var m wire.OutboundTenantMode
	return m, c.call(ctx, http.MethodPost, outbound+"/tenants/"+url.PathEscape(tenant)+"/mode", nil, w, &m)
}
