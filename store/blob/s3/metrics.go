package s3

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	seconds       *prometheus.HistogramVec
	retries       *prometheus.CounterVec
	lost, damaged prometheus.Counter
	aborted       prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mairust_bucket_request_seconds", Help: "Time of one request to the object store, by operation and result (ok, error).",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"operation", "result"}),
		retries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_bucket_retries_total", Help: "Requests to the object store that were made again.",
		}, []string{"operation"}),
		lost: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_bucket_lost_answers_total", Help: "Objects that were stored though the answer to their put was lost.",
		}),
		damaged: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_bucket_damaged_reads_total", Help: "Chunks that came with other bytes than were stored, on the way or in the store.",
		}),
		aborted: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_bucket_unfinished_uploads_total", Help: "Unfinished uploads that were found and removed.",
		}),
	}
}

func (m *metrics) request(operation string, err error, took time.Duration) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.seconds.WithLabelValues(operation, result).Observe(took.Seconds())
}
