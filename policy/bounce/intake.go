package bounce

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// Reports is where reports are kept; it is package store's.
type Reports interface {
	ReportBounces(ctx context.Context, f store.BounceFeed, list []store.Bounce) error
}

// IntakeDeps are what an Intake works with. Store, MAC and Hash are required.
type IntakeDeps struct {
	Store Reports
	// MAC makes the identity of a bounce, which must not be made by a stranger nor tell the recipient.
	MAC func(fields ...string) string
	// Hash is the outbound engine's hash of a recipient.
	Hash func(fields ...string) uint64
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Intake takes the reports of feeds, of this host or of others, into the database. It is a Sink, and may be called from
// many goroutines.
type Intake struct {
	deps     IntakeDeps
	received prometheus.Counter
	leftOut  prometheus.Counter
}

// NewIntake makes an Intake.
func NewIntake(d IntakeDeps) (*Intake, error) {
	if d.Store == nil || d.MAC == nil || d.Hash == nil {
		return nil, errors.New("intake of bounces: Store, MAC and Hash are required")
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	f := promauto.With(d.Registerer)
	return &Intake{
		deps: d,
		received: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_bounce_received_total", Help: "Bounces that feeds have told of; one that was told before is counted here again.",
		}),
		leftOut: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_bounce_left_out_total", Help: "Bounces that are over 14 days old or from a time to come, by the log: clocks may differ.",
		}),
	}, nil
}

// The span in which a bounce must lie: Postfix gives up after five days, and a feed may have been away.
const (
	oldest    = 14 * 24 * time.Hour
	clockSkew = time.Hour
)

// Report stores a report, all or nothing. What was reported before is left as it is. ErrRefused when it is malformed.
// Bounces that are too old, or from a time to come, are left out: nobody could say whose they are.
func (i *Intake) Report(ctx context.Context, r Report) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	now := i.deps.Now()
	list := make([]store.Bounce, 0, len(r.Bounces))
	for _, b := range r.Bounces {
		if age := now.Sub(b.At); age > oldest || age < -clockSkew {
			i.leftOut.Inc()
			continue
		}
		rcpt := mail.ReadPath(b.Rcpt).Fold().String()
		list = append(list, store.Bounce{
			// A recipient of a message bounces once. Short queue ids come again, but not on the same day for the same recipient.
			ID: i.deps.MAC(r.Host, b.QueueID, b.At.UTC().Format(time.DateOnly), rcpt),
			At: b.At, QueueHost: r.Host, QueueID: b.QueueID, DSN: b.DSN, RcptHash: i.deps.Hash(rcpt),
		})
	}
	feed := store.BounceFeed{
		Host: r.Host, LastLine: r.LastLine, LagBytes: max(0, r.LagBytes), Gaps: max(0, r.Gaps),
		Lag: time.Duration(min(max(0, r.LagSeconds), oldest.Seconds()) * float64(time.Second)),
	}
	if err := i.deps.Store.ReportBounces(ctx, feed, list); err != nil {
		return fmt.Errorf("store bounces: %w", err)
	}
	i.received.Add(float64(len(list)))
	return nil
}

// Validate says what is malformed about a report.
func (r Report) Validate() error {
	if r.Host == "" || len(r.Host) > MaxHost || strings.ContainsFunc(r.Host, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return errors.New("the host wants a name")
	}
	if len(r.Bounces) > MaxBatch {
		return fmt.Errorf("at most %d bounces at once", MaxBatch)
	}
	for n, b := range r.Bounces {
		if err := b.Validate(); err != nil {
			return fmt.Errorf("bounce %d: %w", n, err)
		}
	}
	return nil
}
