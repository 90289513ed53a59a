package crypt

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/mairust/mairust/store/blob"
)

type metrics struct {
	objects  *prometheus.CounterVec
	failures *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		objects: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_crypt_objects_total", Help: "Objects that were encrypted, and opened to be decrypted.",
		}, []string{"act"}),
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_crypt_failures_total",
			Help: "Objects that were not encrypted or decrypted: no_key (destroyed, or not at hand), damaged (altered or cut), other.",
		}, []string{"reason"}),
	}
}

func (m *metrics) encrypted() { m.objects.WithLabelValues("encrypted").Inc() }

func (m *metrics) decrypted() { m.objects.WithLabelValues("decrypted").Inc() }

// failed counts an error of encryption; the backend's own are not ours to count.
func (m *metrics) failed(err error) error {
	reason := "other"
	switch {
	case err == nil:
		return nil
	case errors.Is(err, blob.ErrNoKey):
		reason = "no_key"
	case errors.Is(err, blob.ErrDamaged):
		reason = "damaged"
	}
	m.failures.WithLabelValues(reason).Inc()
	return err
}
