package store

import (
	"runtime"
	"sync"
)

// batcher commits deliveries of many sessions together, without a timer and without a goroutine of its
// own: who finds nobody committing commits what is queued, and what queues up meanwhile is the next batch.
// Under load the batches grow, at rest a delivery waits for nobody.
type batcher struct {
	// commit decides every job of a batch and sets its results.
	commit func(jobs []*deliveryJob)

	mu     sync.Mutex
	queue  []*deliveryJob
	active bool
}

// deliveryJob is one Deliver call on its way through a batch.
type deliveryJob struct {
	copies []Copy
	// rows are the values of encodeRow for each copy.
	rows [][]any
	// cost is that of all copies.
	cost    cost
	results []Result
	// turn is closed when the job is done, or, with lead set before, when its caller is to commit the queue.
	turn chan struct{}
	lead bool
}

// Bounds of one transaction: it must stay short, since others wait for the writer.
const (
	maxBatchCopies       = 256
	maxBatchSummaryBytes = 4 << 20
)

// cost is what a job puts into its batch.
type cost struct{ copies, summaryBytes int }

func (c cost) plus(more cost) cost {
	return cost{c.copies + more.copies, c.summaryBytes + more.summaryBytes}
}

func (c cost) fits() bool {
	return c.copies <= maxBatchCopies && c.summaryBytes <= maxBatchSummaryBytes
}

// do returns when job is decided.
func (b *batcher) do(job *deliveryJob) {
	job.turn = make(chan struct{})
	b.mu.Lock()
	b.queue = append(b.queue, job)
	if b.active {
		b.mu.Unlock()
		<-job.turn
		if !job.lead {
			return
		}
		b.mu.Lock()
	}
	b.active = true
	b.mu.Unlock()
	// Who can run now and is about to queue does so first. At rest nobody is, and this costs nothing; under load it
	// makes few large batches of many small ones.
	runtime.Gosched()
	b.mu.Lock()
	batch := b.takeBatch()
	b.mu.Unlock()
	defer b.handOver(batch, job)
	b.commit(batch)
}

// takeBatch removes the oldest jobs from the queue, the caller's being the first of them.
func (b *batcher) takeBatch() []*deliveryJob {
	n, sum := 0, cost{}
	for n < len(b.queue) {
		sum = sum.plus(b.queue[n].cost)
		if n > 0 && !sum.fits() {
			break
		}
		n++
	}
	batch := b.queue[:n:n]
	b.queue = b.queue[n:]
	return batch
}

// handOver wakes the batch and makes the caller of the oldest waiting job the next leader, so that no
// caller works for others after its own reply is ready.
func (b *batcher) handOver(batch []*deliveryJob, own *deliveryJob) {
	for _, j := range batch {
		if j != own {
			close(j.turn)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		b.active, b.queue = false, nil
		return
	}
	next := b.queue[0]
	next.lead = true
	close(next.turn)
}
