package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

type aliasInput struct {
	Address string `path:"address" maxLength:"320" doc:"The alias's own address."`
}

type aliasesInput struct {
	Page
}

type aliasTargetInput struct {
	Address string `path:"address" maxLength:"320" doc:"The alias's own address."`
	Body    wire.AliasTarget
}

func (s *Server) registerAliases(api huma.API) {
	const path = "/api/v1/aliases"
	tags := []string{"mailboxes"}
	handle(s, api, auth.ListMailboxes, huma.Operation{
		OperationID: "list-aliases", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "List the aliases of addresses, by address", Description: "A user who has only mailboxes of their own sees none.",
	}, s.aliases)
	handle(s, api, auth.ListMailboxes, huma.Operation{
		OperationID: "get-alias", Method: http.MethodGet, Path: path + "/{address}", Tags: tags,
		Summary: "Read where an alias leads",
	}, s.alias)
	handle(s, api, auth.ManageMailboxes, huma.Operation{
		OperationID: "set-alias", Method: http.MethodPut, Path: path + "/{address}", Tags: tags,
		Summary: "Make an alias, or change where it leads",
	}, s.setAlias)
	handle(s, api, auth.ManageMailboxes, huma.Operation{
		OperationID: "delete-alias", Method: http.MethodDelete, Path: path + "/{address}", Tags: tags,
		Summary: "Remove an alias", DefaultStatus: http.StatusNoContent, Description: "Mail for it is refused from then on (550 5.1.1), also for aliases that lead to it.",
	}, s.removeAlias)
}

func (s *Server) aliases(ctx context.Context, in *aliasesInput) (*one[wire.List[wire.Alias]], error) {
	l := list{kind: "aliases", scope: asker(ctx).Scope()}
	after, err := s.position(l, in.Cursor)
	if err != nil {
		return nil, err
	}
	rows, err := s.d.Admin.Aliases(ctx, asker(ctx), after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	address := func(a wire.Alias) string { return store.SortedBy(a.Address) }
	return &one[wire.List[wire.Alias]]{Body: paged(s, l, rows, in.Limit, address, same[wire.Alias])}, nil
}

func (s *Server) alias(ctx context.Context, in *aliasInput) (*one[wire.Alias], error) {
	w, err := s.d.Admin.Alias(ctx, asker(ctx), in.Address)
	return &one[wire.Alias]{Body: w}, err
}

func (s *Server) setAlias(ctx context.Context, in *aliasTargetInput) (*one[wire.Alias], error) {
	w, err := s.d.Admin.SetAlias(ctx, asker(ctx), in.Address, in.Body)
	return &one[wire.Alias]{Body: w}, err
}

func (s *Server) removeAlias(ctx context.Context, in *aliasInput) (*struct{}, error) {
	return nil, s.d.Admin.RemoveAlias(ctx, asker(ctx), in.Address)
}
