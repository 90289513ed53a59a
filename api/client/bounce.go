package client

import (
	"context"
	"net/http"

	"github.com/mairust/mairust/api/wire"
)

// ReportBounces tells what bounced by the log of a Postfix host. It may be called again with the same report.
func (c *Client) ReportBounces(ctx context.Context, r wire.BounceReport) error {
	return c.call(ctx, http.MethodPost, outbound+"/bounces", nil, r, nil)
}
