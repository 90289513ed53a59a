package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

// Page is what every list takes. It is exported for huma, which fills in exported fields only.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"50"`
	Cursor string `query:"cursor" maxLength:"1024" doc:"pagination.cursor of the page before, with the same filters."`
}

// paged cuts what was read with a limit one larger than asked for, and makes the cursor of the next page.
func paged[T, W any](s *Server, l list, rows []T, limit int, position func(T) string, show func(T) W) wire.List[W] {
	out := wire.List[W]{Data: make([]W, 0, len(rows))}
	if len(rows) > limit {
		rows = rows[:limit]
		out.Pagination = wire.Pagination{HasMore: true, Cursor: s.cursor(l, position(rows[limit-1]))}
	}
	for _, r := range rows {
		out.Data = append(out.Data, show(r))
	}
	return out
}

type mailboxesInput struct {
	Page
}

type mailboxesOutput struct {
	Body wire.List[wire.Mailbox]
}

type mailboxInput struct {
	Mailbox string `path:"mailbox" maxLength:"320" doc:"Address or id."`
}

type mailboxQuotaInput struct {
	Mailbox string `path:"mailbox" maxLength:"320" doc:"Address or id."`
	Body    wire.Quota
}

type mailboxOutput struct {
	Body wire.Mailbox
}

func (s *Server) registerMailboxes(api huma.API) {
	handle(s, api, auth.ListMailboxes, huma.Operation{
		OperationID: "list-mailboxes", Method: http.MethodGet, Path: "/api/v1/mailboxes", Tags: []string{"mailboxes"},
		Summary: "List the mailboxes you can see, by address",
	}, s.mailboxes)
	handle(s, api, auth.ListMailboxes, huma.Operation{
		OperationID: "get-mailbox", Method: http.MethodGet, Path: "/api/v1/mailboxes/{mailbox}", Tags: []string{"mailboxes"},
		Summary: "Read a mailbox with its folders",
	}, s.oneMailbox)
	handle(s, api, auth.ManageMailboxes, huma.Operation{
		OperationID: "set-mailbox-quota", Method: http.MethodPut, Path: "/api/v1/mailboxes/{mailbox}/quota", Tags: []string{"mailboxes"},
		Summary: "Limit the bytes that the mail of a mailbox may have together",
	}, s.setMailboxQuota)
}

func (s *Server) mailboxes(ctx context.Context, in *mailboxesInput) (*mailboxesOutput, error) {
	l := list{kind: "mailboxes", scope: asker(ctx).Scope()}
	after, err := s.position(l, in.Cursor)
	if err != nil {
		return nil, err
	}
	rows, err := s.d.Store.Mailboxes(ctx, l.scope, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &mailboxesOutput{Body: paged(s, l, rows, in.Limit, func(m store.Mailbox) string { return store.SortedBy(m.Address) }, mailboxOf)}, nil
}

func (s *Server) oneMailbox(ctx context.Context, in *mailboxInput) (*mailboxOutput, error) {
	m, err := s.d.Store.MailboxByAddress(ctx, asker(ctx).Scope(), in.Mailbox)
	if err != nil {
		return nil, err
	}
	return &mailboxOutput{Body: mailboxOf(*m)}, nil
}

func (s *Server) setMailboxQuota(ctx context.Context, in *mailboxQuotaInput) (*mailboxOutput, error) {
	m, err := s.d.Admin.SetMailboxQuota(ctx, asker(ctx), in.Mailbox, in.Body)
	if err != nil {
		return nil, err
	}
	return &mailboxOutput{Body: mailboxOf(*m)}, nil
}

func mailboxOf(m store.Mailbox) wire.Mailbox {
	out := wire.Mailbox{
		ID: string(m.ID), TenantID: string(m.Tenant), Address: m.Address, QuotaBytes: m.QuotaBytes,
		UsedBytes: m.UsedBytes, Messages: m.Messages, CreatedAt: m.Created.UTC(),
	}
	for _, f := range m.Folders {
		out.Folders = append(out.Folders, wire.Folder{ID: string(f.ID), Name: f.Name, Messages: f.Messages})
	}
	return out
}

// mailbox finds the one that a request is about: by address or id, or the only one the asker has.
func (s *Server) mailbox(ctx context.Context, addressOrID string) (*store.Mailbox, error) {
	scope := asker(ctx).Scope()
	if addressOrID != "" {
		return s.d.Store.MailboxByAddress(ctx, scope, addressOrID)
	}
	few, err := s.d.Store.Mailboxes(ctx, scope, "", 2)
	if err != nil {
		return nil, err
	}
	if len(few) != 1 {
		return nil, newProblem(codeMailboxRequired)
	}
	return &few[0], nil
}
