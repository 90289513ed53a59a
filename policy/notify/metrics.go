package notify

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	planned  *prometheus.CounterVec
	heldBack prometheus.Counter
	sends    *prometheus.CounterVec
	waiting  *prometheus.GaugeVec
	up       *prometheus.GaugeVec
	worked   *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		planned: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_notify_notices_total", Help: "Notices to administrators that were given to the channels, by kind.",
		}, []string{"kind"}),
		heldBack: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_notify_held_back_total", Help: "Notices that came too soon after another about the same account: they wait, or a newer one stands for them.",
		}),
		sends: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_notify_sends_total", Help: "Attempts to send a notice, by channel: sent, failed (tried again), given_up.",
		}, []string{"channel", "result"}),
		waiting: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mairust_notify_waiting", Help: "Notices that wait for the limits, and sends that wait for an attempt; on the node that sends.",
		}, []string{"what"}),
		up: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mairust_notify_channel_up", Help: "1 when the last attempt on a channel worked, else 0; on the node that sends.",
		}, []string{"channel"}),
		worked: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mairust_notify_channel_last_success_timestamp_seconds", Help: "When a channel worked last; on the node that sends.",
		}, []string{"channel"}),
	}
}

// kindLabel keeps the label to a closed list.
func kindLabel(kind string) string {
	if _, ok := texts[Kind(kind)]; ok {
		return kind
	}
	return "other"
}

func levelOf(err error) slog.Level {
	if err != nil {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}
