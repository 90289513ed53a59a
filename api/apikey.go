package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

type apiKeysInput struct {
	Page
}

type apiKeysOutput struct {
	Body wire.List[wire.APIKey]
}

type newAPIKeyInput struct {
	Body wire.NewAPIKey
}

type apiKeyCreatedOutput struct {
	Body wire.APIKeyCreated
}

type apiKeyInput struct {
	ID string `path:"id" maxLength:"64"`
}

func (s *Server) registerAPIKeys(api huma.API) {
	tags := []string{"api-keys"}
	handle(s, api, auth.ListAPIKeys, huma.Operation{
		OperationID: "list-api-keys", Method: http.MethodGet, Path: "/api/v1/api-keys", Tags: tags,
		Summary: "List API keys, oldest first",
	}, s.apiKeys)
	handle(s, api, auth.ManageAPIKeys, huma.Operation{
		OperationID: "create-api-key", Method: http.MethodPost, Path: "/api/v1/api-keys", Tags: tags,
		Summary:       "Make an API key",
		Description:   "The key is in the answer and shown this once. Nobody gives a key more rights than they have, nor a key another that outlives it.",
		DefaultStatus: http.StatusCreated,
	}, s.createAPIKey)
	handle(s, api, auth.ManageAPIKeys, huma.Operation{
		OperationID: "revoke-api-key", Method: http.MethodDelete, Path: "/api/v1/api-keys/{id}", Tags: tags,
		Summary: "Revoke an API key", DefaultStatus: http.StatusNoContent,
	}, s.revokeAPIKey)
}

func (s *Server) apiKeys(ctx context.Context, in *apiKeysInput) (*apiKeysOutput, error) {
	l := list{kind: "api-keys", scope: asker(ctx).Scope()}
	after, err := s.position(l, in.Cursor)
	if err != nil {
		return nil, err
	}
	rows, err := s.d.Store.APIKeys(ctx, l.scope, store.APIKeyID(after), in.Limit+1)
	if err != nil {
		return nil, err
	}
	id := func(k store.APIKey) string { return string(k.ID) }
	return &apiKeysOutput{Body: paged(s, l, rows, in.Limit, id, apiKeyOf)}, nil
}

func (s *Server) createAPIKey(ctx context.Context, in *newAPIKeyInput) (*apiKeyCreatedOutput, error) {
	created, err := s.d.Admin.CreateAPIKey(ctx, asker(ctx), in.Body)
	if err != nil {
		return nil, err
	}
	return &apiKeyCreatedOutput{Body: created}, nil
}

func (s *Server) revokeAPIKey(ctx context.Context, in *apiKeyInput) (*struct{}, error) {
	if !isID(in.ID) {
		return nil, store.ErrNotFound
	}
	return nil, s.d.Admin.RevokeAPIKey(ctx, asker(ctx), store.APIKeyID(in.ID))
}

func apiKeyOf(k store.APIKey) wire.APIKey {
	return wire.APIKey{
		ID: string(k.ID), TenantID: string(k.Tenant), Name: k.Name, Role: k.Role, Prefix: k.Prefix,
		CreatedAt: k.Created.UTC(), ExpiresAt: optionalTime(k.Expires), LastUsedAt: optionalTime(k.LastUsed),
	}
}
