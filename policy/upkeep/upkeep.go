// Package upkeep does for the outbound engine what one process has to do, whether mail flows or not: it ends stops and
// limits whose time is over, sums up days, and removes what is kept no longer.
//
// Each step is a short transaction and may be repeated, so that it can be ended at any point.
package upkeep

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/mairust/mairust/store"
)

// Options are the section `outbound.retention` of the configuration. Zero values mean the defaults, which are also the
// most that is allowed.
type Options struct {
	// LogDays is how long decisions are kept; default 30.
	LogDays int `yaml:"log_days"`
	// DailyDays is how long the sums of days are kept; default 180.
	DailyDays int `yaml:"daily_days"`
	// HistoryDays is how long changes of accounts are kept; default 365.
	HistoryDays int `yaml:"history_days"`
}

// WithDefaults is o with the defaults filled in.
func (o Options) WithDefaults() Options {
	return Options{LogDays: cmp.Or(o.LogDays, 30), DailyDays: cmp.Or(o.DailyDays, 180), HistoryDays: cmp.Or(o.HistoryDays, 365)}
}

// Deps are what an Upkeep works with. Store is required.
type Deps struct {
	Store *store.Store
	// Log may be nil.
	Log *slog.Logger
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
	// Now is the clock, the store's; nil means time.Now.
	Now func() time.Time
}

// Upkeep is the worker. Run is called once; the other methods may be called at any time by one goroutine.
type Upkeep struct {
	options Options
	store   *store.Store
	log     *slog.Logger
	now     func() time.Time
	ended   *prometheus.CounterVec
	removed prometheus.Counter
	done    prometheus.Gauge
}

// New makes an Upkeep.
func New(o Options, d Deps) (*Upkeep, error) {
	if d.Store == nil {
		return nil, errors.New("upkeep: Store is required")
	}
	if o = o.WithDefaults(); min(o.LogDays, o.DailyDays, o.HistoryDays) < 1 {
		return nil, errors.New("outbound.retention: an option is negative")
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	f := promauto.With(d.Registerer)
	return &Upkeep{
		options: o, store: d.Store, log: d.Log, now: d.Now,
		ended: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_upkeep_ended_total", Help: "Stops and limits of accounts and domains whose time was over.",
		}, []string{"what"}),
		removed: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_upkeep_removed_rows_total", Help: "Rows about outgoing mail that were kept for as long as outbound.retention says.",
		}),
		done: f.NewGauge(prometheus.GaugeOpts{
			Name: "mairust_upkeep_last_timestamp_seconds", Help: "When days were last summed up and old rows removed, all of them but in a run that doubts its clock; on the node that does it.",
		}),
	}, nil
}

const (
	leaseName = "outbound-upkeep"
	// endEvery is how late a stop may end, at most; tidyEvery is how often days are summed up and old rows removed.
	endEvery  = 30 * time.Second
	tidyEvery = time.Hour
)

// Run works while this process is the only one that does, until ctx ends.
func (u *Upkeep) Run(ctx context.Context) {
	u.store.WhileLeader(ctx, leaseName, func(ctx context.Context) {
		for tidied := (time.Time{}); ctx.Err() == nil; sleep(ctx, endEvery) {
			err := u.EndDue(ctx)
			if u.now().Sub(tidied) >= tidyEvery {
				tidied = u.now()
				err = errors.Join(err, u.SumUp(ctx), u.Remove(ctx))
				if err == nil {
					u.done.Set(float64(u.now().Unix()))
				}
			}
			if err != nil && ctx.Err() == nil {
				u.log.Warn("upkeep of outbound data not complete", "err", err)
			}
		}
	})
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
