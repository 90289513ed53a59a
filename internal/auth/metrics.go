package auth

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	logins *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{logins: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mairust_auth_logins_total", Help: "Logins by password, by outcome.",
	}, []string{"outcome"})}
	if r == nil {
		return m, nil
	}
	if err := r.Register(m.logins); err != nil {
		return nil, fmt.Errorf("register metrics of auth: %w", err)
	}
	return m, nil
}

// outcome is the label of a login's end.
func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrCredentials):
		return "refused"
	case errors.Is(err, ErrBusy):
		return "busy"
	default:
		return "error"
	}
}
