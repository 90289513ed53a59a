package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Values of the label result of direct and lone.
const (
	resultStored  = "stored"
	resultInDoubt = "in_doubt"
	resultLate    = "late"
)

type metrics struct {
	batchSize     prometheus.Histogram
	commitSeconds prometheus.Histogram
	retries       prometheus.Counter
	direct, lone  *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		batchSize: f.NewHistogram(prometheus.HistogramOpts{
			Name: "mairust_store_batch_copies", Help: "Copies of messages that one transaction stored.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		commitSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "mairust_store_commit_seconds", Help: "Time from the beginning of a batch to its commit; of a lone delivery with the storing of its object.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
		retries: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_store_batch_retries_total", Help: "Batches that failed and were tried again one delivery at a time.",
		}),
		direct: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_store_direct_batches_total", Help: "Batches for PostgreSQL that were tried in one statement: stored, or in_doubt and decided copy by copy.",
		}, []string{"result"}),
		lone: f.NewCounterVec(prometheus.CounterOpts{
			Name: "mairust_store_lone_deliveries_total", Help: "Deliveries whose row was written while their object was stored: stored, in_doubt, or late when the object took longer than 20 ms; the last two are done again.",
		}, []string{"result"}),
	}
}
