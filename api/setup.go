package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
)

// setupTime is enough for some thousands of mailboxes, each with a password to hash.
const setupTime = 30 * time.Minute

type setupInput struct {
	Body wire.Setup
}

type setupOutput struct {
	Body wire.SetupResult
}

// registerAPI registers what both faces have.
func (s *Server) registerAPI(api huma.API) {
	s.registerLogin(api)
	s.registerTenants(api)
	s.registerMailboxes(api)
	s.registerAliases(api)
	s.registerMessages(api)
	s.registerAPIKeys(api)
	s.registerOutbound(api)
}

// registerSetup registers what only the admin socket has.
func (s *Server) registerSetup(api huma.API) {
	tags := []string{"setup"}
	handle(s, api, auth.SetUp, huma.Operation{
		OperationID: "set-up", Method: http.MethodPost, Path: "/admin/v1/setup", Tags: tags,
		Summary: "Make a tenant, its domains, its mailboxes and a super admin; what is there stays",
	}, s.setUp)
	handle(s, api, auth.ManageAPIKeys, huma.Operation{
		OperationID: "create-first-api-key", Method: http.MethodPost, Path: "/admin/v1/api-keys", Tags: tags,
		Summary: "Make an API key", DefaultStatus: http.StatusCreated,
	}, s.createAPIKey)
	handle(s, api, auth.SetUp, huma.Operation{
		OperationID: "create-login-link", Method: http.MethodPost, Path: "/admin/v1/login-links", Tags: tags,
		Summary: "Make a link that logs a person in once", DefaultStatus: http.StatusCreated,
	}, s.createLoginLink)
}

type loginLinkInput struct {
	Body wire.NewLoginLink
}

type loginLinkOutput struct {
	Body wire.LoginLinkCreated
}

func (s *Server) createLoginLink(ctx context.Context, in *loginLinkInput) (*loginLinkOutput, error) {
	made, err := s.d.Admin.CreateLoginLink(ctx, asker(ctx), in.Body)
	if err != nil {
		return nil, err
	}
	return &loginLinkOutput{Body: made}, nil
}

// setUp goes on when the caller leaves: half an installation helps nobody.
func (s *Server) setUp(ctx context.Context, in *setupInput) (*setupOutput, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), setupTime)
	defer cancel()
	result, err := s.d.Admin.Setup(ctx, asker(ctx), in.Body)
	if err != nil {
		return nil, &unfinished{error: err, things: result.Things}
	}
	return &setupOutput{Body: result}, nil
}

// unfinished is an error of a setup that may have made things before.
type unfinished struct {
	error
	things []wire.Made
}

func (u *unfinished) Unwrap() error { return u.error }
