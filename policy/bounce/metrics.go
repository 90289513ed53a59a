package bounce

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// feedMetrics are those of a Follower.
type feedMetrics struct {
	deliveries *prometheus.CounterVec
	found      prometheus.Counter
	unread     *prometheus.CounterVec
	reports    *prometheus.CounterVec
	lastLine   prometheus.Gauge
}

// newFeedMetrics asks lag whenever the metrics are read, so that a feed that hangs is seen.
func newFeedMetrics(r prometheus.Registerer, lag func() (bytes int64, seconds float64)) *feedMetrics {
	f := promauto.With(r)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mairust_bounce_lag_bytes", Help: "How much of Postfix's log waits to be read; 0 for the journal, which does not tell.",
	}, func() float64 { bytes, _ := lag(); return float64(bytes) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mairust_bounce_lag_seconds", Help: "Since when the end of Postfix's log has not been reached; 0 when it has.",
	}, func() float64 { _, seconds := lag(); return seconds })
	return &feedMetrics{
		deliveries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_bounce_deliveries_total", Help: "Deliveries that Postfix's log tells of, by their status.",
		}, []string{"status"}),
		found: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_bounce_found_total", Help: "Recipients in Postfix's log that bounced because there is no such address (5.1.x).",
		}),
		unread: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_bounce_dropped_total",
			Help: "What could not be read or told: lines that are too_long or torn, gaps (lines that were rotated away or truncated before they were read), bounces that were refused.",
		}, []string{"reason"}),
		reports: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_bounce_reports_total", Help: "Reports of the feed: taken, failed (tried again), or refused.",
		}, []string{"result"}),
		lastLine: f.NewGauge(prometheus.GaugeOpts{
			Name: "mairust_bounce_last_line_timestamp_seconds", Help: "Time of the last delivery that was read in Postfix's log.",
		}),
	}
}

func (m *feedMetrics) count(b batch) {
	for status, n := range b.statuses {
		m.deliveries.WithLabelValues(status).Add(float64(n))
	}
	m.found.Add(float64(len(b.bounces)))
	for reason, n := range map[string]int{"too_long": b.tooLong, "torn": b.torn, "gap": b.gaps} {
		m.unread.WithLabelValues(reason).Add(float64(n))
	}
	if !b.lastLine.IsZero() {
		m.lastLine.Set(float64(b.lastLine.UnixNano()) / float64(time.Second))
	}
}
