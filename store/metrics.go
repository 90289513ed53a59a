package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	batchSize     prometheus.Histogram
	commitSeconds prometheus.Histogram
	retries       prometheus.Counter
	direct        prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		batchSize: f.NewHistogram(prometheus.HistogramOpts{
			Name: "mairust_store_batch_copies", Help: "Copies of messages that one transaction stored.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		commitSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "mairust_store_commit_seconds", Help: "Time from the beginning of a batch to its commit.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
		retries: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_store_batch_retries_total", Help: "Batches that failed and were tried again one delivery at a time.",
		}),
		direct: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_store_direct_batches_total", Help: "Batches that PostgreSQL stored in one statement, since nothing of them was in doubt.",
		}),
	}
}
