package admin

import (
	"context"
	"errors"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/policy/bounce"
)

// Bounces takes the reports of Postfix hosts. They are no acts of people, and are not audited.
type Bounces struct{ sink bounce.Sink }

// NewBounces makes a Bounces that gives reports to sink.
func NewBounces(sink bounce.Sink) *Bounces { return &Bounces{sink: sink} }

// Report takes a report. auth.ErrForbidden, or a *Refused when it is malformed.
func (b *Bounces) Report(ctx context.Context, p auth.Principal, w wire.BounceReport) error {
	if !p.Can(auth.ReportBounces) {
		return auth.ErrForbidden
	}
	r := bounce.Report{Host: w.Host, LagBytes: w.LagBytes, LagSeconds: w.LagSeconds, Gaps: w.Gaps}
	if w.LastLineAt != nil {
		r.LastLine = *w.LastLineAt
	}
	for _, one := range w.Bounces {
		r.Bounces = append(r.Bounces, bounce.Bounce{At: one.At, QueueID: one.QueueID, Rcpt: one.Recipient, DSN: one.DSN})
	}
	err := b.sink.Report(ctx, r)
	if errors.Is(err, bounce.ErrRefused) {
		return refuse("bounce_report", err)
	}
	return err
}
