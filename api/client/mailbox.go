package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/mairust/mairust/api/wire"
)

const (
	mailboxes = "/api/v1/mailboxes"
	aliases   = "/api/v1/aliases"
	tenants   = "/api/v1/tenants"
)

// Mailboxes lists the mailboxes in scope by address.
func (c *Client) Mailboxes(ctx context.Context, p Page) (wire.List[wire.Mailbox], error) {
	return list[wire.Mailbox](ctx, c, mailboxes, p.query())
}

// Mailbox reads a mailbox with its folders, by address or id.
func (c *Client) Mailbox(ctx context.Context, addressOrID string) (wire.Mailbox, error) {
	var m wire.Mailbox
	return m, c.call(ctx, http.MethodGet, mailboxes+"/"+url.PathEscape(addressOrID), nil, nil, &m)
}

// SetMailboxQuota limits the bytes of a mailbox; 0 lifts the limit.
func (c *Client) SetMailboxQuota(ctx context.Context, addressOrID string, w wire.Quota) (wire.Mailbox, error) {
	var m wire.Mailbox
	return m, c.call(ctx, http.MethodPut, mailboxes+"/"+url.PathEscape(addressOrID)+"/quota", nil, w, &m)
}

// Aliases lists the aliases in scope by address.
func (c *Client) Aliases(ctx context.Context, p Page) (wire.List[wire.Alias], error) {
	return list[wire.Alias](ctx, c, aliases, p.query())
}

// Alias reads an alias.
func (c *Client) Alias(ctx context.Context, address string) (wire.Alias, error) {
	var a wire.Alias
	return a, c.call(ctx, http.MethodGet, aliases+"/"+url.PathEscape(address), nil, nil, &a)
}

// SetAlias makes an alias, or changes where it leads.
func (c *Client) SetAlias(ctx context.Context, address string, w wire.AliasTarget) (wire.Alias, error) {
	var a wire.Alias
	return a, c.call(ctx, http.MethodPut, aliases+"/"+url.PathEscape(address), nil, w, &a)
}

// RemoveAlias removes an alias.
func (c *Client) RemoveAlias(ctx context.Context, address string) error {
	return c.call(ctx, http.MethodDelete, aliases+"/"+url.PathEscape(address), nil, nil, nil)
}

// Tenants lists the tenants in scope by name.
func (c *Client) Tenants(ctx context.Context, p Page) (wire.List[wire.Tenant], error) {
	return list[wire.Tenant](ctx, c, tenants, p.query())
}

// Tenant reads a tenant, by name or id.
func (c *Client) Tenant(ctx context.Context, tenant string) (wire.Tenant, error) {
	var t wire.Tenant
	return t, c.call(ctx, http.MethodGet, tenants+"/"+url.PathEscape(tenant), nil, nil, &t)
}

// SetTenantQuota limits the bytes of a tenant, by name or id; 0 lifts the limit.
func (c *Client) SetTenantQuota(ctx context.Context, tenant string, w wire.Quota) (wire.Tenant, error) {
	return c.tenantAct(ctx, http.MethodPut, tenant, "quota", w)
}

// SuspendTenant has all mail for a tenant deferred.
func (c *Client) SuspendTenant(ctx context.Context, tenant string, w wire.TenantAct) (wire.Tenant, error) {
	return c.tenantAct(ctx, http.MethodPost, tenant, "suspend", w)
}

// ResumeTenant lets mail for a tenant in again.
func (c *Client) ResumeTenant(ctx context.Context, tenant string, w wire.TenantAct) (wire.Tenant, error) {
	return c.tenantAct(ctx, http.MethodPost, tenant, "resume", w)
}

func (c *Client) tenantAct(ctx context.Context, method, tenant, verb string, body any) (wire.Tenant, error) {
	var t wire.Tenant
	return t, c.call(ctx, method, tenants+"/"+url.PathEscape(tenant)+"/"+verb, nil, body, &t)
}
