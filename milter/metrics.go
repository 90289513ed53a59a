package milter

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/mairust/mairust/internal/mail"
)

type metrics struct {
	messages     *prometheus.CounterVec   // direction, verdict
	bytes        *prometheus.CounterVec   // direction
	checkSeconds *prometheus.HistogramVec // source
	checkErrors  *prometheus.CounterVec   // source, reason
	connections  prometheus.Gauge
	panics       prometheus.Counter
	malformed    prometheus.Counter
	forged       prometheus.Counter
	leftOut      prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		messages: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_milter_messages_total",
			Help: "Messages judged, by direction and final verdict.",
		}, []string{"direction", "verdict"}),
		bytes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_milter_message_bytes_total",
			Help: "Bytes of the messages judged.",
		}, []string{"direction"}),
		checkSeconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "mairust_milter_check_duration_seconds",
			Help:    "Time one source took for one message.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"source"}),
		checkErrors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_milter_check_errors_total",
			Help: "Checks that gave no verdict, by source and reason (error, timeout, panic); with on_error allow their mail has the tag unscanned.",
		}, []string{"source", "reason"}),
		connections: f.NewGauge(prometheus.GaugeOpts{
			Name: "mairust_milter_connections",
			Help: "Milter connections open now.",
		}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_milter_panics_total",
			Help: "Panics caught in sessions and checks; each is a bug, its stack is in the log.",
		}),
		malformed: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_milter_malformed_packets_total",
			Help: "Packets that were not the milter protocol; each ended its connection.",
		}),
		forged: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_milter_forged_headers_total",
			Help: "X-MaiRust header fields from outside that were removed.",
		}),
		leftOut: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_milter_edits_left_out_total",
			Help: "Header edits that rspamd or another source wanted and that were not made, because they came to too many changes for one message.",
		}),
	}
	for _, d := range []mail.Direction{mail.Inbound, mail.Outbound, mail.Local} {
		m.bytes.WithLabelValues(d.String())
		for a := mail.Allow; a <= mail.Reject; a++ {
			m.messages.WithLabelValues(d.String(), a.String())
		}
	}
	return m
}
