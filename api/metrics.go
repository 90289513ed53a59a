package api

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests   *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	inFlight   prometheus.Gauge
	panics     prometheus.Counter
	bodyErrors *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_api_requests_total", Help: "Requests, by route template, method and class of status.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mairust_api_request_duration_seconds", Help: "Time until an answer was written, by route template.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15},
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mairust_api_requests_in_flight", Help: "Requests being answered.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mairust_api_panics_total", Help: "Requests that ended in a panic.",
		}),
		bodyErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_api_body_errors_total", Help: "Message bodies that could not be served: unavailable, missing, corrupt or no_key.",
		}, []string{"kind"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.inFlight, m.panics, m.bodyErrors} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of api: %w", err)
		}
	}
	return m, nil
}

// methodLabel keeps the label to a closed list: the method is a stranger's word.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return method
	default:
		return "other"
	}
}

func statusClass(status int) string {
	return fmt.Sprintf("%dxx", status/100)
}
