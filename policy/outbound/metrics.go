package outbound

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	decisions   *prometheus.CounterVec // kind, action
	shadowed    *prometheus.CounterVec // kind, would
	seconds     *prometheus.HistogramVec
	levels      *prometheus.CounterVec // act
	alone       prometheus.Counter
	unmerged    prometheus.Counter
	evicted     prometheus.Counter
	written     prometheus.Counter
	dropped     prometheus.Counter
	storeErrors *prometheus.CounterVec // what
	lookups     *prometheus.CounterVec // result
	reads       *prometheus.CounterVec // result
	letters     *prometheus.CounterVec // result
}

// What came of looking an address up in the database of countries.
const (
	lookupCountry = "country"
	lookupNone    = "none"
	lookupError   = "error"
)

func newMetrics(reg prometheus.Registerer, g *Gate) *metrics {
	f := promauto.With(reg)
	gauge := func(name, help string, value func() float64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	gauge("mairust_outbound_accounts", "Accounts that this process remembers.", func() float64 { return float64(g.states.count()) })
	gauge("mairust_outbound_accounts_stopped", "Accounts of these that are suspended.", func() float64 { return float64(g.states.stopped.Load()) })
	gauge("mairust_outbound_rows_waiting", "Decisions that are not yet in the database, in memory.", func() float64 { return float64(g.writer.waiting()) })
	gauge("mairust_outbound_spool_bytes", "Decisions that wait in the file for the database, in bytes.", func() float64 { return float64(g.writer.spool.bytes()) })
	gauge("mairust_outbound_geoip_built_timestamp_seconds", "When the database of countries in use was made; 0 without one.", g.countriesBuilt)
	return &metrics{
		decisions: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_outbound_decisions_total",
			Help: "Decisions kept, by what they were about and what the sender met (allow, refuse_rate, refuse_suspended, hold).",
		}, []string{"kind", "action"}),
		shadowed: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_outbound_shadowed_total",
			Help: "Decisions that mode shadow kept from taking effect, by what they would have been.",
		}, []string{"kind", "would"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "mairust_outbound_decision_duration_seconds",
			Help:    "Time of one decision, by where the state is (process, shared).",
			Buckets: []float64{.00005, .0001, .00025, .0005, .001, .002, .005, .01, .025, .1, .5},
		}, []string{"state"}),
		levels: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_outbound_level_changes_total",
			Help: "Changes of an account's level that the engine of this process made in the database, by act.",
		}, []string{"act"}),
		alone: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_outbound_alone_total",
			Help: "Events decided with the state of this process alone, because the shared state was away or too busy.",
		}),
		unmerged: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_outbound_unmerged_total",
			Help: "Events decided so that the shared state will never learn of: more of one account than are kept.",
		}),
		evicted: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_outbound_evicted_total",
			Help: "Accounts that gave way to others in memory; outbound.max_accounts is too small when this grows fast.",
		}),
		letters: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_outbound_notices_total",
			Help: "Mails with the proof of a notice of ours: exempt, or refuted and judged like any other.",
		}, []string{"result"}),
		written: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_outbound_rows_written_total",
			Help: "Decisions written to the database.",
		}),
		dropped: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_outbound_rows_dropped_total",
			Help: "Decisions that are in no log, because database and file could not take them.",
		}),
		storeErrors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_outbound_store_errors_total",
			Help: "Errors of the database, by what it was asked for (load, rows, level, states, follow).",
		}, []string{"what"}),
		lookups: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_outbound_geoip_lookups_total",
			Help: "Addresses looked up in the database of countries: country, none (private or not known), error (the database is damaged).",
		}, []string{"result"}),
		reads: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_outbound_geoip_reads_total",
			Help: "Files taken for the database of countries, by result (ok, error); one in error leaves the database before it in use.",
		}, []string{"result"}),
	}
}
