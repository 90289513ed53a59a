package bounce

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/mairust/mairust/store"
)

// Gate is the running outbound engine, as far as bounces go.
type Gate interface {
	// BounceOf counts a bounce against the account that sent the message. store.ErrNotFound when no such message is known.
	BounceOf(ctx context.Context, host, queueID string, at time.Time, dsn string, rcptHash uint64) error
}

// Claims is where bounces wait to be counted; it is package store's.
type Claims interface {
	ClaimBounces(ctx context.Context, limit int, hold time.Duration) ([]store.Bounce, error)
	SettleBounce(ctx context.Context, id string, counted bool) error
	PostponeBounce(ctx context.Context, id string, next time.Time) error
	WaitingBounces(ctx context.Context) (int64, error)
}

// ApplierDeps are what an Applier works with. Store and Gate are required.
type ApplierDeps struct {
	Store Claims
	Gate  Gate
	// Log may be nil.
	Log *slog.Logger
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
	// Now is the clock, the store's; nil means time.Now.
	Now func() time.Time
}

// Applier counts stored bounces against accounts. Several may run beside one database: each bounce is one's.
type Applier struct {
	deps    ApplierDeps
	applied *prometheus.CounterVec
	waiting prometheus.Gauge
}

// NewApplier makes an Applier.
func NewApplier(d ApplierDeps) (*Applier, error) {
	if d.Store == nil || d.Gate == nil {
		return nil, errors.New("applier of bounces: Store and Gate are required")
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	f := promauto.With(d.Registerer)
	return &Applier{
		deps: d,
		applied: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_bounce_applied_total", Help: "Bounces by what became of them: counted against an account, unknown (no account sent the message), late (over two hours old).",
		}, []string{"result"}),
		waiting: f.NewGauge(prometheus.GaugeOpts{
			Name: "mairust_bounce_waiting", Help: "Bounces that wait for their message to be known, or to be counted.",
		}),
	}, nil
}

const (
	applyEvery   = time.Second
	measureEvery = 30 * time.Second
	// claimHold is how long those that were claimed are nobody else's.
	claimHold = time.Minute
	claimMost = 200
	// joinPatience is how long a bounce waits for its message: what was sent is written a little later, and much later
	// when the database was away.
	joinPatience = 15 * time.Minute
	joinLast     = time.Minute
	// latest is how old a bounce is counted, since it counts as of now: days of them, told of at once when a feed was away,
	// would look like those of one hour.
	latest = 2 * time.Hour
)

// Run counts bounces until ctx ends. Ended at any point it loses none; one that was being counted may be counted again.
func (a *Applier) Run(ctx context.Context) {
	measured := time.Time{}
	for ctx.Err() == nil {
		n, err := a.Apply(ctx)
		if err != nil && ctx.Err() == nil {
			a.deps.Log.Debug("bounces not counted", "err", err) // the database is a part that is watched
		}
		if now := a.deps.Now(); now.Sub(measured) >= measureEvery {
			measured = now
			if waiting, err := a.deps.Store.WaitingBounces(ctx); err == nil {
				a.waiting.Set(float64(waiting))
			}
		}
		if n < claimMost {
			pause(ctx, applyEvery)
		}
	}
}

// Apply counts what is due, at most a batch, and returns how many it looked at.
func (a *Applier) Apply(ctx context.Context) (int, error) {
	list, err := a.deps.Store.ClaimBounces(ctx, claimMost, claimHold)
	if err != nil {
		return 0, err
	}
	for _, b := range list {
		if err := a.apply(ctx, b); err != nil {
			return len(list), err
		}
	}
	return len(list), nil
}

func (a *Applier) apply(ctx context.Context, b store.Bounce) error {
	if a.deps.Now().Sub(b.At) > latest {
		a.applied.WithLabelValues("late").Inc()
		return a.deps.Store.SettleBounce(ctx, b.ID, false)
	}
	err := a.deps.Gate.BounceOf(ctx, b.QueueHost, b.QueueID, b.At, b.DSN, b.RcptHash)
	age := a.deps.Now().Sub(b.Reported)
	switch {
	case err == nil:
		a.applied.WithLabelValues("counted").Inc()
		return a.deps.Store.SettleBounce(ctx, b.ID, true)
	case errors.Is(err, store.ErrNotFound) && age >= joinPatience:
		a.applied.WithLabelValues("unknown").Inc()
		return a.deps.Store.SettleBounce(ctx, b.ID, false)
	case errors.Is(err, store.ErrNotFound):
		return a.deps.Store.PostponeBounce(ctx, b.ID, a.deps.Now().Add(min(max(age, time.Second), joinLast)))
	default:
		return err // it is claimed again after claimHold
	}
}
