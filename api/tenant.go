package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
)

type tenantInput struct {
	Tenant string `path:"tenant" maxLength:"100" doc:"Name or id."`
}

type tenantsInput struct {
	Page
}

type tenantQuotaInput struct {
	Tenant string `path:"tenant" maxLength:"100" doc:"Name or id."`
	Body   wire.Quota
}

type tenantActInput struct {
	Tenant string `path:"tenant" maxLength:"100" doc:"Name or id."`
	Body   wire.TenantAct
}

func (s *Server) registerTenants(api huma.API) {
	const path = "/api/v1/tenants"
	tags := []string{"tenants"}
	handle(s, api, auth.ListTenants, huma.Operation{
		OperationID: "list-tenants", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "List the tenants you can see, by name",
	}, s.tenants)
	handle(s, api, auth.ListTenants, huma.Operation{
		OperationID: "get-tenant", Method: http.MethodGet, Path: path + "/{tenant}", Tags: tags,
		Summary: "Read a tenant",
	}, s.tenant)
	handle(s, api, auth.ManageTenants, huma.Operation{
		OperationID: "set-tenant-quota", Method: http.MethodPut, Path: path + "/{tenant}/quota", Tags: tags,
		Summary: "Limit the bytes that the mail of a tenant may have together",
	}, s.setTenantQuota)
	handle(s, api, auth.ManageTenants, huma.Operation{
		OperationID: "suspend-tenant", Method: http.MethodPost, Path: path + "/{tenant}/suspend", Tags: tags,
		Summary: "Defer all mail for a tenant", Description: "Whoever brings it tries again, for as long as they keep deferred mail.",
	}, s.suspendTenant)
	handle(s, api, auth.ManageTenants, huma.Operation{
		OperationID: "resume-tenant", Method: http.MethodPost, Path: path + "/{tenant}/resume", Tags: tags,
		Summary: "Let mail for a tenant in again",
	}, s.resumeTenant)
}

func (s *Server) tenants(ctx context.Context, in *tenantsInput) (*one[wire.List[wire.Tenant]], error) {
	l := list{kind: "tenants", scope: asker(ctx).Scope()}
	after, err := s.position(l, in.Cursor)
	if err != nil {
		return nil, err
	}
	rows, err := s.d.Admin.Tenants(ctx, asker(ctx), after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	name := func(t wire.Tenant) string { return strings.ToLower(t.Name) }
	return &one[wire.List[wire.Tenant]]{Body: paged(s, l, rows, in.Limit, name, same[wire.Tenant])}, nil
}

func (s *Server) tenant(ctx context.Context, in *tenantInput) (*one[wire.Tenant], error) {
	w, err := s.d.Admin.Tenant(ctx, asker(ctx), in.Tenant)
	return &one[wire.Tenant]{Body: w}, err
}

func (s *Server) setTenantQuota(ctx context.Context, in *tenantQuotaInput) (*one[wire.Tenant], error) {
	w, err := s.d.Admin.SetTenantQuota(ctx, asker(ctx), in.Tenant, in.Body)
	return &one[wire.Tenant]{Body: w}, err
}

func (s *Server) suspendTenant(ctx context.Context, in *tenantActInput) (*one[wire.Tenant], error) {
	w, err := s.d.Admin.SuspendTenant(ctx, asker(ctx), in.Tenant, in.Body)
	return &one[wire.Tenant]{Body: w}, err
}

func (s *Server) resumeTenant(ctx context.Context, in *tenantActInput) (*one[wire.Tenant], error) {
	w, err := s.d.Admin.ResumeTenant(ctx, asker(ctx), in.Tenant, in.Body)
	return &one[wire.Tenant]{Body: w}, err
}
