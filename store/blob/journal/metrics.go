package journal

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	flushSeconds, batchEntries, checkpointSeconds prometheus.Histogram
	failedCheckpoints, recovered                  prometheus.Counter
}

func newMetrics(r prometheus.Registerer) metrics {
	f := promauto.With(r)
	return metrics{
		flushSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "mairust_journal_flush_seconds", Help: "Time to write and flush one group of objects to the delivery journal.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 15),
		}),
		batchEntries: f.NewHistogram(prometheus.HistogramOpts{
			Name: "mairust_journal_batch_entries", Help: "Objects that shared one flush of the delivery journal.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
		checkpointSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "mairust_journal_checkpoint_seconds", Help: "Time to flush the objects of the delivery journal to their files.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}),
		failedCheckpoints: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_journal_failed_checkpoints_total", Help: "Checkpoints of the delivery journal that failed; they are tried again.",
		}),
		recovered: f.NewCounter(prometheus.CounterOpts{
			Name: "mairust_journal_recovered_records_total", Help: "Records that a crash had left in the delivery journal, put in place.",
		}),
	}
}
