package lmtp

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	deliveries  *prometheus.CounterVec
	refused     *prometheus.CounterVec
	unscanned   *prometheus.CounterVec
	duration    prometheus.Histogram
	bytes       prometheus.Counter
	connections prometheus.Gauge
	panics      prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (metrics, error) {
	m := metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_lmtp_deliveries_total",
			Help: "Copies of messages, one for each mailbox, by result.",
		}, []string{"result"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_lmtp_recipients_refused_total",
			Help: "Recipients refused at RCPT, by reason.",
		}, []string{"reason"}),
		unscanned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_lmtp_unscanned_total",
			Help: "Messages without a scan header that could be believed, by reason.",
		}, []string{"reason"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "mairust_lmtp_transaction_duration_seconds",
			Help:    "Time from the end of a message to its replies.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12),
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mairust_lmtp_received_bytes_total", Help: "Bytes of messages received.",
		}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mairust_lmtp_connections", Help: "Open connections.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mairust_lmtp_panics_total", Help: "Panics that were recovered.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.deliveries, m.refused, m.unscanned, m.duration, m.bytes, m.connections, m.panics,
	} {
		if err := r.Register(c); err != nil {
			return m, err
		}
	}
	return m, nil
}
