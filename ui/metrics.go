package ui

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests   *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	panics     prometheus.Counter
	bodyErrors *prometheus.CounterVec
}

func (s *Server) loadMetrics() error {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_ui_requests_total", Help: "Requests for pages, by route, method and class of status.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mairust_ui_request_duration_seconds", Help: "Time until a page was written, by route.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15},
		}, []string{"route"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mairust_ui_panics_total", Help: "Pages that ended in a panic.",
		}),
		bodyErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_ui_body_errors_total", Help: "Message bodies that could not be shown: unavailable, missing, corrupt or no_key.",
		}, []string{"kind"}),
	}
	s.metrics = m
	if s.d.Registerer == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.panics, m.bodyErrors} {
		if err := s.d.Registerer.Register(c); err != nil {
			return fmt.Errorf("register metrics of ui: %w", err)
		}
	}
	return nil
}

// methodLabel keeps the label to a closed list: the method is a stranger's word.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		return method
	default:
		return "other"
	}
}

func statusClass(status int) string { return fmt.Sprintf("%dxx", status/100) }
