package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Values of the label result of direct.
const (
	resultStored  = "stored"
	resultInDoubt = "in_doubt"
)

type metrics struct {
	batchSize     prometheus.Histogram
	commitSeconds prometheus.Histogram
	retries       prometheus.Counter
	late          prometheus.Counter
	direct        *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		batchSize: f.NewHistogram(prometheus.HistogramOpts{
			Name: "mairust_store_batch_copies", Help: "Copies of messages that one transaction stored.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		commitSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "mairust_store_commit_seconds", Help: "Time from the beginning of a batch to its commit, with the wait for its objects.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
		retries: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_store_batch_retries_total", Help: "Batches that failed and were tried again one delivery at a time.",
		}),
		direct: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_store_direct_batches_total", Help: "Batches for PostgreSQL that were tried in one statement: stored, or in_doubt and decided copy by copy.",
		}, []string{"result"}),
		late: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_store_late_batches_total", Help: "Batches that were taken back because an object failed, or was not stored 20 ms after their rows; they are tried again without it, and for a second objects are stored before their rows are begun.",
		}),
	}
}
