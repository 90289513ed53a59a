package batch_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/batch"
)

func atMost(n int) func([]int) int {
	return func(waiting []int) int { return min(n, len(waiting)) }
}

func TestEveryJobIsDoneOnceAndOneBatchAtATime(t *testing.T) {
	var working, done, batches atomic.Int64
	q := batch.Queue[int]{Take: atMost(7)}
	counts := make([]int, 2000) // each touched by one batch only, which the race detector would tell
	q.Work = func(jobs []int) {
		assert.EqualValues(t, 1, working.Add(1))
		assert.LessOrEqual(t, len(jobs), 7)
		for _, j := range jobs {
			counts[j]++
		}
		batches.Add(1)
		working.Add(-1)
	}
	var wg sync.WaitGroup
	for first := range 20 {
		wg.Go(func() {
			for j := first; j < len(counts); j += 20 {
				q.Do(j)
				done.Add(int64(counts[j]))
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, len(counts), done.Load())
	assert.False(t, q.Busy())
	assert.LessOrEqual(t, batches.Load(), done.Load())
}

func TestWhatQueuesUpMeanwhileIsTheNextBatchInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got [][]int
		var wg sync.WaitGroup
		q := batch.Queue[int]{Take: func(waiting []int) int { return len(waiting) }}
		q.Work = func(jobs []int) {
			got = append(got, slices.Clone(jobs))
			if jobs[0] != 1 {
				return
			}
			assert.True(t, q.Busy())
			for n := 2; n <= 4; n++ {
				wg.Go(func() { q.Do(n) })
				synctest.Wait()
				assert.Equal(t, n-1, q.Waiting())
			}
		}
		q.Do(1)
		wg.Wait()
		require.Equal(t, [][]int{{1}, {2, 3, 4}}, got)
	})
}

func TestPanicReachesOneCallerAndTheOthersGoOn(t *testing.T) {
	q := batch.Queue[int]{Take: atMost(100)}
	q.Work = func(jobs []int) {
		if jobs[0] == 0 {
			panic("one")
		}
	}
	require.Panics(t, func() { q.Do(0) })
	q.Do(1)
	require.False(t, q.Busy())
}
