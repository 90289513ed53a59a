package store

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/batch"
)

func smallJob() *deliveryJob { return &deliveryJob{cost: cost{copies: 1, summaryBytes: 500}} }

func TestBigJobGoesAloneAndSmallOnesTogetherInOrder(t *testing.T) {
	crowded, many := &deliveryJob{cost: cost{1, maxBatchSummaryBytes}}, &deliveryJob{cost: cost{maxBatchCopies, 500}}
	a, b, c, d, e := smallJob(), smallJob(), smallJob(), smallJob(), smallJob()
	waiting := []*deliveryJob{a, b, crowded, c, many, d, e}
	for _, want := range [][]*deliveryJob{{a, b}, {crowded}, {c}, {many}, {d, e}} {
		n := takeBatch(waiting)
		require.Equal(t, want, waiting[:n])
		waiting = waiting[n:]
	}
	require.Empty(t, waiting)
}

// A delivery to very many mailboxes goes in pieces, each at the end of the queue.
func TestSmallJobGoesBetweenThePiecesOfABigDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, small := &deliveryJob{cost: cost{maxBatchCopies, 1}}, &deliveryJob{cost: cost{maxBatchCopies, 1}}, smallJob()
		var order []*deliveryJob
		var wg sync.WaitGroup
		q := batch.Queue[*deliveryJob]{Take: takeBatch}
		q.Work = func(jobs []*deliveryJob) {
			order = append(order, jobs...)
			if jobs[0] == first {
				wg.Go(func() { q.Do(small) })
				synctest.Wait()
			}
		}
		q.Do(first)
		q.Do(second)
		wg.Wait()
		require.Equal(t, []*deliveryJob{first, small, second}, order)
	})
}
