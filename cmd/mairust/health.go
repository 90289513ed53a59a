package main

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mairust/mairust/internal/alert"
)

// healthEvery is how long the result of a check is good for, so that questions cost nothing.
const healthEvery = 3 * time.Second

// health answers whether the process lives and can do its work.
type health struct {
	state atomic.Pointer[string]
	watch *alert.Watcher
}

// healthReport is the answer of /health.
type healthReport struct {
	// Status is ok, error (an essential part fails), starting or stopping.
	Status string                `json:"status"`
	Parts  map[string]partReport `json:"parts"`
}

type partReport struct {
	// Status is ok, error, or warning when mail flows all the same.
	Status string `json:"status"`
	// Error is for operators: it may name hosts and paths, never secrets.
	Error string `json:"error,omitempty"`
	// Since is there while there is an alert, which lasts until the part has worked for a while; Cause is its error.
	Since *time.Time `json:"since,omitempty"`
	Cause string     `json:"cause,omitempty"`
}

func newHealth(w *alert.Watcher) *health {
	h := &health{watch: w}
	h.set("starting")
	return h
}

func (h *health) set(state string) { h.state.Store(&state) }
func (h *health) ready()           { h.set("ok") }
func (h *health) stopping()        { h.set("stopping") }

// report checks all parts, at most every healthEvery.
func (h *health) report(ctx context.Context) healthReport {
	states := h.watch.Look(ctx, healthEvery)
	r := healthReport{Status: *h.state.Load(), Parts: map[string]partReport{}}
	for _, s := range states {
		r.Parts[s.Part] = reportOf(s)
		if s.Essential && s.Err != "" && r.Status == "ok" {
			r.Status = "error"
		}
	}
	return r
}

func reportOf(s alert.State) partReport {
	p := partReport{Status: "ok", Error: s.Err}
	if s.Active {
		since := s.Since.UTC()
		p.Since, p.Cause = &since, s.Cause
	}
	switch {
	case s.Err != "" && s.Essential:
		p.Status = "error"
	case s.Err != "":
		p.Status = "warning"
	}
	return p
}

// ServeHTTP answers /health, and /health/ready alike: 200 when all is well, else 503.
func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	report := h.report(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if report.Status != "ok" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// An error here is the asker's, who has left.
	_ = json.NewEncoder(w).Encode(report)
}

// buildOps builds the listener for operators: metrics and health. It asks for no password and tells no secret.
func (d *daemon) buildOps() error {
	promauto.With(d.registry).NewGaugeVec(prometheus.GaugeOpts{
		Name: "mairust_build_info", Help: "1, with the version of this binary.",
	}, []string{"version"}).WithLabelValues(buildVersion()).Set(1)
	promauto.With(d.registry).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mairust_healthy", Help: "1 when database and object store work, else 0.",
	}, func() float64 {
		if d.health.report(context.Background()).Status == "ok" {
			return 1
		}
		return 0
	})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.registry, promhttp.HandlerOpts{}))
	mux.Handle("GET /health", d.health)
	mux.Handle("GET /health/ready", d.health)
	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 20 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10}
	d.services = append(d.services, httpService("ops", server, d.config.Ops.Listeners, ownLimits))
	return nil
}
