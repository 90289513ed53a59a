package store

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func smallJob() *deliveryJob { return &deliveryJob{cost: cost{copies: 1, summaryBytes: 500}} }

func TestBigJobGoesAloneAndSmallOnesTogetherInOrder(t *testing.T) {
	crowded, many := &deliveryJob{cost: cost{1, maxBatchSummaryBytes}}, &deliveryJob{cost: cost{maxBatchCopies, 500}}
	a, b, c, d, e := smallJob(), smallJob(), smallJob(), smallJob(), smallJob()
	q := batcher{queue: []*deliveryJob{a, b, crowded, c, many, d, e}}
	for _, want := range [][]*deliveryJob{{a, b}, {crowded}, {c}, {many}, {d, e}} {
		require.Equal(t, want, q.takeBatch())
	}
	require.Empty(t, q.queue)
}

// A delivery to very many mailboxes goes in pieces, each at the end of the queue.
func TestSmallJobGoesBetweenThePiecesOfABigDelivery(t *testing.T) {
	first, second, small := &deliveryJob{cost: cost{maxBatchCopies, 1}}, &deliveryJob{cost: cost{maxBatchCopies, 1}}, smallJob()
	var order []*deliveryJob
	var wg sync.WaitGroup
	var b batcher
	b.commit = func(jobs []*deliveryJob) {
		order = append(order, jobs...)
		if jobs[0] != first {
			return
		}
		wg.Go(func() { b.do(small) })
		for queued := false; !queued; runtime.Gosched() {
			b.mu.Lock()
			queued = len(b.queue) > 0
			b.mu.Unlock()
		}
	}
	b.do(first)
	b.do(second)
	wg.Wait()
	require.Equal(t, []*deliveryJob{first, small, second}, order)
}
