package attachment

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	opened *prometheus.CounterVec
	copies *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		opened: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_attachment_opened_total", Help: "Attachments that were opened, by where they came from: message or copy.",
		}, []string{"from"}),
		copies: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_attachment_copies_total", Help: "Decoded copies that were to be made: made, failed, or dropped because too many were waiting.",
		}, []string{"result"}),
	}
}
