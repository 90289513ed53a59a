package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

const outboundPath = "/api/v1/outbound"

var outboundTags = []string{"outbound"}

// one is an answer with one thing.
type one[T any] struct {
	Body T
}

func (s *Server) registerOutbound(api huma.API) {
	s.registerOutboundReads(api)
	s.registerOutboundActs(api)
	s.registerOutboundDomains(api)
	s.registerOutboundProfiles(api)
	s.registerOutboundPolicy(api)
	s.registerBounces(api)
}

// AccountPath is what every call about one account takes. It is exported for huma, as Page is.
type AccountPath struct {
	Account string `path:"account" maxLength:"320" doc:"Login with its domain, or client address."`
}

type accountsInput struct {
	Page
	Level  string `query:"level" enum:"normal,soft_limit,hard_limit" doc:"Only accounts of this level."`
	Prefix string `query:"prefix" maxLength:"320" doc:"What the account begins with."`
}

type suspensionsInput struct {
	Page
	Limited bool `query:"limited" doc:"Also those under a soft limit."`
}

type explainInput struct {
	AccountPath
	Decision string `query:"decision" maxLength:"100" doc:"Id of a decision. Absent: the one behind the last stop or limit, else the latest."`
	Timezone string `query:"timezone" maxLength:"60" doc:"For the times in the text, such as Asia/Tokyo; default UTC."`
}

type decisionsInput struct {
	Page
	AccountPath
	Limited bool      `query:"limited" doc:"Only those that did not let mail through or changed the level, or would have in mode enforce."`
	From    time.Time `query:"from" doc:"RFC 3339"`
	To      time.Time `query:"to" doc:"RFC 3339; excluded"`
}

type historyInput struct {
	Page
	AccountPath
}

type seriesInput struct {
	AccountPath
	From        time.Time `query:"from" doc:"RFC 3339; default 24 hours before to."`
	To          time.Time `query:"to" doc:"RFC 3339; default now."`
	StepSeconds int       `query:"step_seconds" minimum:"60" maximum:"86400" default:"300"`
}

func (s *Server) registerOutboundReads(api huma.API) {
	get := func(id, path, summary, description string) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: outboundPath + path, Tags: outboundTags, Summary: summary, Description: description,
		}
	}
	handle(s, api, auth.ReadOutbound, get("list-outbound-accounts", "/accounts", "List the accounts that send, by tenant and name",
		"Users see their own. An account is listed once it has sent or tried to, or was changed by hand."), s.outboundAccounts)
	handle(s, api, auth.ReadOutbound, get("get-outbound-account", "/accounts/{account}", "Read an account: its level, and what it sent", ""), s.outboundAccount)
	handle(s, api, auth.ExplainOutbound, get("explain-outbound-account", "/accounts/{account}/explain", "Why was this account stopped?",
		"Factors with raw values, what is usual, shares and corroborators; the messages behind it as facts, grouped by text; what is unknown; "+
			"what the sender saw; columns for a plot; all of it as text too."), s.outboundExplain)
	handle(s, api, auth.ReadOutbound, get("list-outbound-decisions", "/accounts/{account}/decisions", "List the decisions about an account, newest first", ""), s.outboundDecisions)
	handle(s, api, auth.ExplainOutbound, get("list-outbound-history", "/accounts/{account}/history", "List what was done to an account, newest first", ""), s.outboundHistory)
	handle(s, api, auth.ReadOutbound, get("get-outbound-series", "/accounts/{account}/series", "Sum what an account did, by steps of time",
		"At most 2,000 columns; those without anything are left out."), s.outboundSeries)
	handle(s, api, auth.ExplainOutbound, get("list-outbound-suspensions", "/suspensions", "List the accounts that are stopped, those stopped last first", ""), s.outboundSuspensions)
}

// accountPosition is where a list by tenant and name goes on.
func accountPosition(a wire.OutboundAccount) string { return a.TenantID + " " + a.Account }

func (s *Server) outboundAccounts(ctx context.Context, in *accountsInput) (*one[wire.List[wire.OutboundAccount]], error) {
	l := list{kind: "outbound-accounts", scope: asker(ctx).Scope(), filter: []string{in.Level, in.Prefix}}
	after, err := s.position(l, in.Cursor)
	if err != nil {
		return nil, err
	}
	f := store.OutboundFilter{Level: in.Level, Prefix: in.Prefix, Limit: in.Limit + 1}
	tenant, account, _ := strings.Cut(after, " ")
	f.After = store.OutboundKey{Tenant: store.TenantID(tenant), Account: account}
	rows, err := s.d.Outbound.Accounts(ctx, asker(ctx), f)
	if err != nil {
		return nil, err
	}
	return &one[wire.List[wire.OutboundAccount]]{Body: paged(s, l, rows, in.Limit, accountPosition, same[wire.OutboundAccount])}, nil
}

// same shows a thing that is on the wire already.
func same[T any](v T) T { return v }

func (s *Server) outboundSuspensions(ctx context.Context, in *suspensionsInput) (*one[wire.List[wire.OutboundAccount]], error) {
	l := list{kind: "outbound-suspensions", scope: asker(ctx).Scope(), filter: []string{strconv.FormatBool(in.Limited)}}
	before, err := s.position(l, in.Cursor)
	if err != nil {
		return nil, err
	}
	f := store.SuspensionFilter{Limited: in.Limited, Limit: in.Limit + 1}
	if before != "" {
		since, rest, _ := strings.Cut(before, " ")
		tenant, account, _ := strings.Cut(rest, " ")
		us, err := strconv.ParseInt(since, 10, 64)
		if err != nil {
			return nil, newProblem(codeInvalidCursor)
		}
		f.BeforeSince, f.Before = time.UnixMicro(us), store.OutboundKey{Tenant: store.TenantID(tenant), Account: account}
	}
	rows, err := s.d.Outbound.Suspensions(ctx, asker(ctx), f)
	if err != nil {
		return nil, err
	}
	position := func(a wire.OutboundAccount) string {
		return strconv.FormatInt(a.Since.UnixMicro(), 10) + " " + accountPosition(a)
	}
	return &one[wire.List[wire.OutboundAccount]]{Body: paged(s, l, rows, in.Limit, position, same[wire.OutboundAccount])}, nil
}

func (s *Server) outboundAccount(ctx context.Context, in *AccountPath) (*one[wire.OutboundAccountDetail], error) {
	w, err := s.d.Outbound.Account(ctx, asker(ctx), in.Account)
	return &one[wire.OutboundAccountDetail]{Body: w}, err
}

func (s *Server) outboundExplain(ctx context.Context, in *explainInput) (*one[wire.OutboundExplanation], error) {
	zone, err := timezone("query.timezone", in.Timezone)
	if err != nil {
		return nil, err
	}
	x, err := s.d.Outbound.Explain(ctx, asker(ctx), in.Account, admin.ExplainWish{Decision: in.Decision, Language: languageOf(ctx), Location: zone})
	return &one[wire.OutboundExplanation]{Body: x}, err
}

// timezone reads the name of a zone; empty is UTC.
func timezone(location, name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, invalid(location, "not a time zone that is known here")
	}
	return zone, nil
}

// logPage lists a log about an account, newest first. read gets what is older than the key.
func logPage[T any](ctx context.Context, s *Server, kind string, page Page, filter []string, id func(T) string,
	read func(before store.LogKey, limit int) ([]T, error),
) (*one[wire.List[T]], error) {
	l := list{kind: kind, scope: asker(ctx).Scope(), filter: filter}
	position, err := s.position(l, page.Cursor)
	if err != nil {
		return nil, err
	}
	before, err := admin.ParseLogID(position)
	if err != nil {
		return nil, newProblem(codeInvalidCursor)
	}
	rows, err := read(before, page.Limit+1)
	if err != nil {
		return nil, err
	}
	return &one[wire.List[T]]{Body: paged(s, l, rows, page.Limit, id, same[T])}, nil
}

func (s *Server) outboundDecisions(ctx context.Context, in *decisionsInput) (*one[wire.List[wire.OutboundDecision]], error) {
	filter := []string{in.Account, strconv.FormatBool(in.Limited), in.From.Format(time.RFC3339Nano), in.To.Format(time.RFC3339Nano)}
	id := func(d wire.OutboundDecision) string { return d.ID }
	return logPage(ctx, s, "outbound-decisions", in.Page, filter, id, func(before store.LogKey, limit int) ([]wire.OutboundDecision, error) {
		return s.d.Outbound.Decisions(ctx, asker(ctx), store.DecisionFilter{
			Account: in.Account, Limited: in.Limited, From: in.From, To: in.To, Before: before, Limit: limit,
		})
	})
}

func eventID(e wire.OutboundEvent) string { return e.ID }

func (s *Server) outboundHistory(ctx context.Context, in *historyInput) (*one[wire.List[wire.OutboundEvent]], error) {
	return logPage(ctx, s, "outbound-history", in.Page, []string{in.Account}, eventID, func(before store.LogKey, limit int) ([]wire.OutboundEvent, error) {
		return s.d.Outbound.History(ctx, asker(ctx), in.Account, before, limit)
	})
}

func (s *Server) outboundSeries(ctx context.Context, in *seriesInput) (*one[wire.OutboundSeries], error) {
	w, err := s.d.Outbound.Series(ctx, asker(ctx), in.Account, in.From, in.To, time.Duration(in.StepSeconds)*time.Second)
	return &one[wire.OutboundSeries]{Body: w}, err
}
