package fsck

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	orphans  *prometheus.CounterVec
	stopped  prometheus.Gauge
	damaged  prometheus.Gauge
	seen     prometheus.Gauge
	swept    prometheus.Gauge
	seconds  prometheus.Gauge
	failures prometheus.Counter
	untidied prometheus.Counter
	// unremoved are copies of attachments.
	unremoved prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		orphans: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_fsck_orphans_total",
			Help: "Objects without a row, by what became of them: adopted, duplicate, mended, moved, back (from orphan/), kept, expired, failed.",
		}, []string{"outcome"}),
		stopped: f.NewGauge(prometheus.GaugeOpts{
			Name: "mairust_fsck_stopped", Help: "1 while the sweep removes nothing until an operator runs mairust fsck --repair.",
		}),
		damaged: f.NewGauge(prometheus.GaugeOpts{
			Name: "mairust_fsck_damaged_messages", Help: "Messages whose object is marked as missing or damaged, as they were last counted.",
		}),
		seen: f.NewGauge(prometheus.GaugeOpts{
			Name: "mairust_fsck_objects", Help: "Objects that the last sweep saw.",
		}),
		swept: f.NewGauge(prometheus.GaugeOpts{
			Name: "mairust_fsck_last_sweep_timestamp_seconds", Help: "When this process last ended a complete sweep.",
		}),
		seconds: f.NewGauge(prometheus.GaugeOpts{
			Name: "mairust_fsck_last_sweep_duration_seconds", Help: "How long that sweep took.",
		}),
		failures: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_fsck_failures_total", Help: "Sweeps that ended with an error.",
		}),
		untidied: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_fsck_tidy_failures_total",
			Help: "How often what crashes leave in the object store, unfinished uploads above all, could not all be removed.",
		}),
		unremoved: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_fsck_stale_failures_total",
			Help: "Copies of attachments that are of no use and could not be removed; each counts again at the next sweep.",
		}),
	}
}

func (m *metrics) setStopped(stopped bool) {
	m.stopped.Set(0)
	if stopped {
		m.stopped.Set(1)
	}
}
