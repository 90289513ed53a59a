package lookup

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests    *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	connections prometheus.Gauge
	panics      prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (metrics, error) {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_lookup_requests_total",
			Help: "Requests answered, by map and result (found, not_found, quota, suspended, temp, timeout, perm).",
		}, []string{"map", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "mairust_lookup_request_duration_seconds",
			Help:    "Time from a request to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}, []string{"map"}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mairust_lookup_connections", Help: "Open connections.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mairust_lookup_panics_total", Help: "Panics that were recovered.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.connections, m.panics} {
		if err := r.Register(c); err != nil {
			return m, err
		}
	}
	return m, nil
}
