package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
)

// Bounces takes the reports of Postfix hosts; it is package admin's.
type Bounces interface {
	Report(ctx context.Context, p auth.Principal, w wire.BounceReport) error
}

type bouncesInput struct {
	Body wire.BounceReport
}

func (s *Server) registerBounces(api huma.API) {
	handle(s, api, auth.ReportBounces, huma.Operation{
		OperationID: "report-bounces", Method: http.MethodPost, Path: outboundPath + "/bounces", Tags: outboundTags,
		Summary: "Report what bounced, from the log of a Postfix host",
		Description: "For `mairust bounces --follow` with an API key of the role postfix. A report may be sent again: what was reported " +
			"before is not counted twice.",
		DefaultStatus: http.StatusNoContent,
	}, s.reportBounces)
}

func (s *Server) reportBounces(ctx context.Context, in *bouncesInput) (*struct{}, error) {
	if s.d.Bounces == nil {
		return nil, newProblem(codeUnavailable).after(retryAfter)
	}
	return nil, s.d.Bounces.Report(ctx, asker(ctx), in.Body)
}
