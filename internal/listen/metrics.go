package listen

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Why a connection is refused or ended: the values of the label "reason".
const (
	refusedPerClient   = "per_client"  // over Limits.MaxPerClient
	refusedConnections = "connections" // over Limits.MaxConnections, where clients don't wait
	refusedAddress     = "address"     // not in the allow list
	endedIdle          = "idle"        // over Limits.Idle
	endedDrain         = "drain"       // still open when the time to drain was over
)

// Metrics counts the connections of all listeners of a process. The label "listener" is Hooks.Name.
type Metrics struct {
	open     *prometheus.GaugeVec
	accepted *prometheus.CounterVec
	refused  *prometheus.CounterVec
	ended    *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them with reg, unless it is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		open: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mairust_listen_connections", Help: "Open connections.",
		}, []string{"listener"}),
		accepted: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_listen_accepted_total", Help: "Connections accepted.",
		}, []string{"listener"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_listen_refused_total", Help: "Connections closed at once: address not allowed, too many, or too many of one client.",
		}, []string{"listener", "reason"}),
		ended: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_listen_ended_total", Help: "Connections ended by the idle deadline or at the end of draining.",
		}, []string{"listener", "reason"}),
	}
}
