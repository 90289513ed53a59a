package imap

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	connections prometheus.Gauge
	commands    *prometheus.CounterVec
	logins      *prometheus.CounterVec
	bytes       prometheus.Counter
	cache       *prometheus.CounterVec
	panics      prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mairust_imap_connections", Help: "Open connections.",
		}),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_imap_commands_total", Help: "Commands, by name and by the kind of the reply.",
		}, []string{"command", "reply"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_imap_logins_total", Help: "Logins, by outcome.",
		}, []string{"outcome"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mairust_imap_sent_bytes_total", Help: "Bytes sent to clients, before TLS.",
		}),
		cache: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_imap_cache_total", Help: "Lookups of parsed messages, by outcome.",
		}, []string{"outcome"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mairust_imap_panics_total", Help: "Panics that were recovered.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.connections, m.commands, m.logins, m.bytes, m.cache, m.panics} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of imap: %w", err)
		}
	}
	return m, nil
}
