package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
)

type loginInput struct {
	Body wire.Credentials
}

type loginOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      wire.Session
}

type logoutInput struct {
	Authorization string `header:"Authorization" hidden:"true"`
	Cookie        string `header:"Cookie" hidden:"true"`
}

// Header lets token read it like a request.
func (i *logoutInput) Header(name string) string {
	if name == "Cookie" {
		return i.Cookie
	}
	return i.Authorization
}

type logoutOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

type meOutput struct {
	Body wire.Principal
}

func (s *Server) registerLogin(api huma.API) {
	handle(s, api, open, huma.Operation{
		OperationID: "login", Method: http.MethodPost, Path: "/api/v1/auth/login", Tags: []string{"auth"},
		Summary:     "Log in with a password",
		Description: "Opens a session of 12 hours. Failed logins are throttled per login and per client (429).",
	}, s.login)
	handle(s, api, anyone, huma.Operation{
		OperationID: "logout", Method: http.MethodPost, Path: "/api/v1/auth/logout", Tags: []string{"auth"},
		Summary: "End the session", DefaultStatus: http.StatusNoContent,
	}, s.logout)
	handle(s, api, anyone, huma.Operation{
		OperationID: "me", Method: http.MethodGet, Path: "/api/v1/auth/me", Tags: []string{"auth"},
		Summary: "Who am I, and what may I do",
	}, s.me)
}

func (s *Server) login(ctx context.Context, in *loginInput) (*loginOutput, error) {
	token, session, p, err := s.d.Auth.Login(ctx, in.Body.Login, in.Body.Password, clientOf(ctx))
	if err != nil {
		return nil, err
	}
	if f := factsOf(ctx); f != nil {
		f.principal = p
	}
	return &loginOutput{
		SetCookie: s.cookie.With(token, session.Expires),
		Body:      wire.Session{Token: token, ExpiresAt: session.Expires.UTC(), User: principalOf(p)},
	}, nil
}

func (s *Server) logout(ctx context.Context, in *logoutInput) (*logoutOutput, error) {
	if asker(ctx).Kind != auth.KindUser {
		return nil, newProblem(codeNotASession)
	}
	token, err := s.token(in)
	if err != nil {
		return nil, err
	}
	if err := s.d.Auth.Logout(ctx, token); err != nil {
		return nil, err
	}
	return &logoutOutput{SetCookie: s.cookie.Gone()}, nil
}

func (s *Server) me(ctx context.Context, _ *struct{}) (*meOutput, error) {
	return &meOutput{Body: principalOf(asker(ctx))}, nil
}

func principalOf(p auth.Principal) wire.Principal {
	actions := []string{}
	for _, a := range auth.Actions() {
		if p.Can(a) {
			actions = append(actions, string(a))
		}
	}
	return wire.Principal{
		Kind: string(p.Kind), ID: p.ID, Login: p.Login, Role: string(p.Role), TenantID: string(p.Tenant), Actions: actions,
	}
}
