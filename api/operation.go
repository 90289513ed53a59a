package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
)

// Bounds on a request. Only streams of objects last longer than answerTime.
const (
	answerTime   = 15 * time.Second
	maxBodyBytes = 1 << 20
)

// open marks an operation that needs no login.
const open auth.Action = ""

// anyone marks an operation that needs a login and no right.
const anyone auth.Action = "anyone"

// config is huma without what we do not want: no schema links in answers, no documentation that loads
// scripts from elsewhere.
func (s *Server) config() huma.Config {
	c := huma.DefaultConfig("MaiRust", s.d.Version)
	c.Info.Description = "REST API of MaiRust. Errors are application/problem+json (RFC 9457) with a stable code."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "An API key (mk_live_…) or the token of a session."},
		"cookie": {Type: "apiKey", In: "cookie", Name: s.cookie.Name(), Description: "The session of a browser."},
	}
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.CreateHooks = nil
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{s.transformError}
	return c
}

// handle registers an operation: who may call it, what it costs at most, how its errors are told.
func handle[I, O any](s *Server, api huma.API, action auth.Action, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	op.BodyReadTimeout = s.d.BodyTime
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = maxBodyBytes
	}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = problemResponse(api)
	if action != open {
		op.Security = []map[string][]string{{"bearer": {}}, {"cookie": {}}}
		op.Middlewares = append(op.Middlewares, s.requires(action))
	}
	huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
		ctx, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		out, err := h(ctx, in)
		if err != nil {
			return nil, s.problemOf(ctx, err)
		}
		return out, nil
	})
}

// problemResponse describes every error to OpenAPI.
func problemResponse(api huma.API) *huma.Response {
	return &huma.Response{Description: "Error", Content: map[string]*huma.MediaType{
		problemType: {Schema: huma.SchemaFromType(api.OpenAPI().Components.Schemas, typeOf[wire.Problem]())},
	}}
}

// requires lets pass who may do action, with the Principal in the context.
func (s *Server) requires(action auth.Action) func(huma.Context, func(huma.Context)) {
	return func(c huma.Context, next func(huma.Context)) {
		ctx := c.Context()
		p, err := s.principal(ctx, c)
		if err == nil && action != anyone && !p.Can(action) {
			err = newProblem(codeForbidden)
		}
		if err != nil {
			s.refuse(c, err)
			return
		}
		if f := factsOf(ctx); f != nil {
			f.principal = p
		}
		next(huma.WithContext(c, context.WithValue(ctx, principalKey{}, p)))
	}
}

type principalKey struct{}

// asker gives who was let in by requires.
func asker(ctx context.Context) auth.Principal {
	p, _ := ctx.Value(principalKey{}).(auth.Principal)
	return p
}

// principal finds who asks: the peer of the admin socket, else the Authorization header, else the cookie.
func (s *Server) principal(ctx context.Context, c huma.Context) (auth.Principal, error) {
	if p := asker(ctx); p.Kind == auth.KindSocket {
		return p, nil
	}
	token, err := s.token(c)
	if err != nil {
		return auth.Principal{}, err
	}
	p, err := s.d.Auth.Authenticate(ctx, token)
	if errors.Is(err, auth.ErrCredentials) {
		return auth.Principal{}, newProblem(codeUnauthenticated)
	}
	return p, err
}

// token takes the credentials out of the request.
func (s *Server) token(c interface{ Header(string) string }) (string, error) {
	if header := c.Header("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
			return "", newProblem(codeUnauthenticated)
		}
		return token, nil
	}
	cookies, err := http.ParseCookie(c.Header("Cookie"))
	if err != nil {
		return "", newProblem(codeUnauthenticated)
	}
	token := s.cookie.Token(cookies)
	if token == "" {
		return "", newProblem(codeUnauthenticated)
	}
	return token, nil
}
