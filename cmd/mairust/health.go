package main

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// healthEvery is how long the result of a check is good for, so that questions cost nothing.
const healthEvery = 3 * time.Second

// health answers whether the process lives and can do its work.
type health struct {
	state  atomic.Pointer[string]
	parts  []part
	mu     sync.Mutex
	until  time.Time
	latest healthReport
}

// part is one thing that the process depends on.
type part struct {
	name  string
	check func(ctx context.Context) error
}

// healthReport is the answer of /health.
type healthReport struct {
	// Status is ok, error (a part fails), starting or stopping.
	Status string                `json:"status"`
	Parts  map[string]partReport `json:"parts"`
}

type partReport struct {
	Status string `json:"status"`
	// Error is for operators: it may name hosts and paths, never secrets.
	Error string `json:"error,omitempty"`
}

func newHealth(s *site) *health {
	h := &health{}
	h.set("starting")
	if s.db != nil {
		h.parts = []part{{"database", s.store.Ping}, {"storage", s.objects.Check}}
	}
	return h
}

func (h *health) set(state string) { h.state.Store(&state) }
func (h *health) ready()           { h.set("ok") }
func (h *health) stopping()        { h.set("stopping") }

// report checks all parts, at most every healthEvery.
func (h *health) report(ctx context.Context) healthReport {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Now().After(h.until) {
		h.latest = h.check(ctx)
		h.until = time.Now().Add(healthEvery)
	}
	r := healthReport{Status: *h.state.Load(), Parts: h.latest.Parts}
	if r.Status == "ok" {
		r.Status = h.latest.Status
	}
	return r
}

func (h *health) check(ctx context.Context) healthReport {
	// Not cut short when the asker leaves: others get the same answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	r := healthReport{Status: "ok", Parts: map[string]partReport{}}
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, p := range h.parts {
		group.Go(func() {
			got := partReport{Status: "ok"}
			if err := p.check(ctx); err != nil {
				got = partReport{Status: "error", Error: err.Error()}
			}
			mu.Lock()
			defer mu.Unlock()
			r.Parts[p.name] = got
			if got.Status != "ok" {
				r.Status = "error"
			}
		})
	}
	group.Wait()
	return r
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
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10}
	d.services = append(d.services, httpService("ops", server, d.config.Ops.Listeners, ownLimits))
	return nil
}
