package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
)

// accountAct is a call that does something to an account; W says what.
type accountAct[W any] struct {
	AccountPath
	Body W
}

type forgetInput struct {
	AccountPath
	Reason string `query:"reason" minLength:"1" maxLength:"500" required:"true" doc:"Why; it is kept in the audit log."`
}

type accountAnswer = one[wire.OutboundAccount]

func (s *Server) registerOutboundActs(api huma.API) {
	act := func(verb, summary, description string) huma.Operation {
		return huma.Operation{
			OperationID: verb + "-outbound-account", Method: http.MethodPost, Path: outboundPath + "/accounts/{account}/" + verb,
			Tags: outboundTags, Summary: summary, Description: description,
		}
	}
	handle(s, api, auth.StopOutbound, act("suspend", "Stop the sending of an account",
		"Every later MAIL FROM is refused; receiving and reading go on. It holds in every mode but off."), accountCall(s.d.Outbound.Suspend))
	handle(s, api, auth.StopOutbound, act("release", "End a stop or a limit",
		"What happened so far is forgiven once. The account stays under a soft limit for a probation."), accountCall(s.d.Outbound.Release))
	handle(s, api, auth.StopOutbound, act("extend", "Change when a stop or a limit ends by itself", ""), accountCall(s.d.Outbound.Extend))
	handle(s, api, auth.StopOutbound, act("limit", "Put an account under a soft limit", ""), accountCall(s.d.Outbound.Limit))
	handle(s, api, auth.ManageOutbound, act("mode", "Give an account a mode of its own", ""), accountCall(s.d.Outbound.SetMode))
	handle(s, api, auth.ManageOutbound, huma.Operation{
		OperationID: "delete-outbound-data", Method: http.MethodDelete, Path: outboundPath + "/accounts/{account}/data", Tags: outboundTags,
		Summary:     "Delete what is kept of an account's sending",
		Description: "Decisions, sums, history and what the engine learned. A stop or limit stays, without its reason. The audit log stays.",
	}, s.forgetOutbound)
}

// accountCall makes a handler of an act.
func accountCall[W any](act func(context.Context, auth.Principal, string, W) (wire.OutboundAccount, error),
) func(context.Context, *accountAct[W]) (*accountAnswer, error) {
	return func(ctx context.Context, in *accountAct[W]) (*accountAnswer, error) {
		a, err := act(ctx, asker(ctx), in.Account, in.Body)
		return &accountAnswer{Body: a}, err
	}
}

func (s *Server) forgetOutbound(ctx context.Context, in *forgetInput) (*one[wire.OutboundForgotten], error) {
	w, err := s.d.Outbound.Forget(ctx, asker(ctx), in.Account, in.Reason)
	return &one[wire.OutboundForgotten]{Body: w}, err
}

// DomainPath is what every call about one domain takes. It is exported for huma, as Page is.
type DomainPath struct {
	Domain string `path:"domain" maxLength:"255"`
}

type domainSuspendInput struct {
	DomainPath
	Body wire.OutboundDomainSuspend
}

type domainReleaseInput struct {
	DomainPath
	Body wire.OutboundDomainAct
}

type outboundDomainsInput struct {
	Page
}

func (s *Server) registerOutboundDomains(api huma.API) {
	handle(s, api, auth.ExplainOutbound, huma.Operation{
		OperationID: "list-outbound-domains", Method: http.MethodGet, Path: outboundPath + "/domains", Tags: outboundTags,
		Summary: "List the domains that are stopped, by name",
	}, s.outboundDomains)
	handle(s, api, auth.ManageOutbound, huma.Operation{
		OperationID: "suspend-outbound-domain", Method: http.MethodPost, Path: outboundPath + "/domains/{domain}/suspend", Tags: outboundTags,
		Summary: "Stop the sending of all accounts of a domain", Description: "Repeated, it changes reason and end.",
	}, s.suspendDomain)
	handle(s, api, auth.ManageOutbound, huma.Operation{
		OperationID: "release-outbound-domain", Method: http.MethodPost, Path: outboundPath + "/domains/{domain}/release", Tags: outboundTags,
		Summary: "End the stop of a domain", Description: "Accounts that are stopped by themselves stay so.", DefaultStatus: http.StatusNoContent,
	}, s.releaseDomain)
}

func (s *Server) outboundDomains(ctx context.Context, in *outboundDomainsInput) (*one[wire.List[wire.OutboundDomain]], error) {
	l := list{kind: "outbound-domains", scope: asker(ctx).Scope()}
	after, err := s.position(l, in.Cursor)
	if err != nil {
		return nil, err
	}
	rows, err := s.d.Outbound.StoppedDomains(ctx, asker(ctx), after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	name := func(d wire.OutboundDomain) string { return d.Domain }
	return &one[wire.List[wire.OutboundDomain]]{Body: paged(s, l, rows, in.Limit, name, same[wire.OutboundDomain])}, nil
}

func (s *Server) suspendDomain(ctx context.Context, in *domainSuspendInput) (*one[wire.OutboundDomain], error) {
	d, err := s.d.Outbound.SuspendDomain(ctx, asker(ctx), in.Domain, in.Body)
	return &one[wire.OutboundDomain]{Body: d}, err
}

func (s *Server) releaseDomain(ctx context.Context, in *domainReleaseInput) (*struct{}, error) {
	return nil, s.d.Outbound.ReleaseDomain(ctx, asker(ctx), in.Domain, in.Body)
}
