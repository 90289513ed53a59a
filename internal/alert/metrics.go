package alert

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	active  *prometheus.GaugeVec
	changes *prometheus.CounterVec
	mails   *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		active: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mairust_alert_active", Help: "1 while there is an alert for a part of the installation, else 0.",
		}, []string{"part"}),
		changes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_alert_changes_total", Help: "Alerts that began (failing) or ended (works), by part.",
		}, []string{"part", "to"}),
		mails: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_alert_mails_total", Help: "Mails to administrators about alerts: sent, failed (tried again), or held back by the limits.",
		}, []string{"result"}),
	}
}

// change counts the beginning or the end of an alert.
func (m *metrics) change(part string, failing bool) {
	if failing {
		m.active.WithLabelValues(part).Set(1)
		m.changes.WithLabelValues(part, "failing").Inc()
		return
	}
	m.active.WithLabelValues(part).Set(0)
	m.changes.WithLabelValues(part, "works").Inc()
}
