package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

// maxTestBody is for a message of 30 MiB in Base64.
const maxTestBody = 42 << 20

type profilesInput struct {
	Page
}

// ProfilePath is what every call about one profile takes. It is exported for huma, as Page is.
type ProfilePath struct {
	ID string `path:"id" maxLength:"60"`
}

type profileInput struct {
	ProfilePath
	Tenant string `query:"tenant" maxLength:"100" doc:"Name or id. Absent for one's own tenant."`
}

type setProfileInput struct {
	ProfilePath
	Body wire.NewOutboundProfile
}

type setProfileOutput struct {
	Status int
	Body   wire.OutboundProfile
}

type deleteProfileInput struct {
	ProfilePath
	Tenant   string `query:"tenant" maxLength:"100" doc:"Name or id. Absent for one's own tenant."`
	Reason   string `query:"reason" minLength:"1" maxLength:"500" required:"true" doc:"Why; it is kept in the history and the audit log."`
	Ticket   string `query:"ticket" maxLength:"100"`
	Revision int64  `query:"revision" minimum:"0" doc:"The revision as it was seen; when it has changed since, the answer is 409."`
}

func (s *Server) registerOutboundProfiles(api huma.API) {
	handle(s, api, auth.ExplainOutbound, huma.Operation{
		OperationID: "list-outbound-profiles", Method: http.MethodGet, Path: outboundPath + "/profiles", Tags: outboundTags,
		Summary:     "List the bulk senders",
		Description: "Those of the configuration stand before those of the database, on the first page.",
	}, s.outboundProfiles)
	handle(s, api, auth.ExplainOutbound, huma.Operation{
		OperationID: "get-outbound-profile", Method: http.MethodGet, Path: outboundPath + "/profiles/{id}", Tags: outboundTags,
		Summary: "Read a bulk sender of the database", Description: "Those of the configuration are in the list only.",
	}, s.outboundProfile)
	handle(s, api, auth.ManageOutbound, huma.Operation{
		OperationID: "set-outbound-profile", Method: http.MethodPut, Path: outboundPath + "/profiles/{id}", Tags: outboundTags,
		Summary:     "Make or replace a bulk sender",
		Description: "Up to its max_rate such an account is exempt from the plain limits; it is never exempt from suspension.",
	}, s.setProfile)
	handle(s, api, auth.ManageOutbound, huma.Operation{
		OperationID: "delete-outbound-profile", Method: http.MethodDelete, Path: outboundPath + "/profiles/{id}", Tags: outboundTags,
		Summary: "Delete a bulk sender", Description: "Those of the configuration are changed there only.", DefaultStatus: http.StatusNoContent,
	}, s.deleteProfile)
}

func (s *Server) outboundProfiles(ctx context.Context, in *profilesInput) (*one[wire.List[wire.OutboundProfile]], error) {
	l := list{kind: "outbound-profiles", scope: asker(ctx).Scope()}
	after, err := s.position(l, in.Cursor)
	if err != nil {
		return nil, err
	}
	tenant, id, _ := strings.Cut(after, " ")
	rows, err := s.d.Outbound.Profiles(ctx, asker(ctx), store.OutboundKey{Tenant: store.TenantID(tenant), Account: id}, in.Limit+1)
	if err != nil {
		return nil, err
	}
	position := func(p wire.OutboundProfile) string { return p.TenantID + " " + p.ID }
	page := paged(s, l, rows, in.Limit, position, same[wire.OutboundProfile])
	if after == "" {
		own, err := s.d.Outbound.ConfigProfiles(ctx, asker(ctx))
		if err != nil {
			return nil, err
		}
		page.Data = append(own, page.Data...)
	}
	return &one[wire.List[wire.OutboundProfile]]{Body: page}, nil
}

func (s *Server) outboundProfile(ctx context.Context, in *profileInput) (*one[wire.OutboundProfile], error) {
	w, err := s.d.Outbound.Profile(ctx, asker(ctx), in.Tenant, in.ID)
	return &one[wire.OutboundProfile]{Body: w}, err
}

func (s *Server) setProfile(ctx context.Context, in *setProfileInput) (*setProfileOutput, error) {
	p, created, err := s.d.Outbound.SetProfile(ctx, asker(ctx), in.ID, in.Body)
	out := &setProfileOutput{Status: http.StatusOK, Body: p}
	if created {
		out.Status = http.StatusCreated
	}
	return out, err
}

func (s *Server) deleteProfile(ctx context.Context, in *deleteProfileInput) (*struct{}, error) {
	return nil, s.d.Outbound.DeleteProfile(ctx, asker(ctx), in.Tenant, in.ID, wire.OutboundAct{Reason: in.Reason, Ticket: in.Ticket, Revision: in.Revision})
}

type testInput struct {
	Body wire.OutboundTest
}

type tenantModeInput struct {
	Tenant string `path:"tenant" maxLength:"100" doc:"Name or id."`
	Body   wire.OutboundTenantModeAct
}

func (s *Server) registerOutboundPolicy(api huma.API) {
	handle(s, api, auth.ExplainOutbound, huma.Operation{
		OperationID: "get-outbound-policy", Method: http.MethodGet, Path: outboundPath + "/policy", Tags: outboundTags,
		Summary: "Read what is in force",
	}, s.outboundPolicy)
	handle(s, api, auth.StopOutbound, huma.Operation{
		OperationID: "test-outbound-policy", Method: http.MethodPost, Path: outboundPath + "/policy/test", Tags: outboundTags,
		Summary: "What would happen to a message?", Description: "It is judged as if the account sent it now. Nothing is sent, counted or changed.",
		MaxBodyBytes: maxTestBody,
	}, s.testPolicy)
	handle(s, api, auth.ManageOutbound, huma.Operation{
		OperationID: "set-outbound-tenant-mode", Method: http.MethodPost, Path: outboundPath + "/tenants/{tenant}/mode", Tags: outboundTags,
		Summary: "Give a tenant a mode of its own",
	}, s.setTenantMode)
	handle(s, api, auth.ExplainOutbound, huma.Operation{
		OperationID: "get-outbound-tenant-mode", Method: http.MethodGet, Path: outboundPath + "/tenants/{tenant}/mode", Tags: outboundTags,
		Summary: "Read the mode of a tenant",
	}, s.tenantMode)
	handle(s, api, auth.ExplainOutbound, huma.Operation{
		OperationID: "list-outbound-tenant-history", Method: http.MethodGet, Path: outboundPath + "/tenants/{tenant}/history", Tags: outboundTags,
		Summary: "List what was done to a tenant as a whole, newest first", Description: "Its modes, domains and bulk senders.",
	}, s.outboundTenantHistory)
}

func (s *Server) tenantMode(ctx context.Context, in *tenantInput) (*one[wire.OutboundTenantModeDetail], error) {
	w, err := s.d.Outbound.TenantMode(ctx, asker(ctx), in.Tenant)
	return &one[wire.OutboundTenantModeDetail]{Body: w}, err
}

type tenantHistoryInput struct {
	Page
	Tenant string `path:"tenant" maxLength:"100" doc:"Name or id."`
}

func (s *Server) outboundTenantHistory(ctx context.Context, in *tenantHistoryInput) (*one[wire.List[wire.OutboundEvent]], error) {
	return logPage(ctx, s, "outbound-tenant-history", in.Page, []string{in.Tenant}, eventID, func(before store.LogKey, limit int) ([]wire.OutboundEvent, error) {
		return s.d.Outbound.TenantHistory(ctx, asker(ctx), in.Tenant, before, limit)
	})
}

func (s *Server) outboundPolicy(ctx context.Context, _ *struct{}) (*one[wire.OutboundPolicy], error) {
	w, err := s.d.Outbound.Policy(ctx, asker(ctx))
	return &one[wire.OutboundPolicy]{Body: w}, err
}

func (s *Server) testPolicy(ctx context.Context, in *testInput) (*one[wire.OutboundTestResult], error) {
	zone, err := timezone("body.timezone", in.Body.Timezone)
	if err != nil {
		return nil, err
	}
	w, err := s.d.Outbound.Test(ctx, asker(ctx), in.Body, admin.ExplainWish{Language: languageOf(ctx), Location: zone})
	return &one[wire.OutboundTestResult]{Body: w}, err
}

func (s *Server) setTenantMode(ctx context.Context, in *tenantModeInput) (*one[wire.OutboundTenantMode], error) {
	w, err := s.d.Outbound.SetTenantMode(ctx, asker(ctx), in.Tenant, in.Body)
	return &one[wire.OutboundTenantMode]{Body: w}, err
}
