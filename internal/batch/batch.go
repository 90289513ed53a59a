// Package batch lets many callers share one costly act, such as a flush or a commit, without a timer and without a
// goroutine of its own: who finds nobody working works for all that wait, and what queues up meanwhile is the next batch.
// Under load the batches grow; at rest a caller waits for nobody.
package batch

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Queue collects jobs. Take and Work are required and do not change. Do may be called from many goroutines.
type Queue[J any] struct {
	// Take says how many of the waiting jobs, oldest first, go into the next batch: at least one.
	Take func(waiting []J) int
	// Work does a batch, one at a time, on the goroutine of the oldest job's caller. When it panics, the others of the
	// batch return from Do as if it had ended, so that none of them waits for ever: each job must hold an error until it is done.
	Work func(jobs []J)

	mu      sync.Mutex
	waiting []J
	turns   []*turn
	busy    bool
}

// turn is what the caller of a job waits for.
type turn struct {
	// over is closed when the job is done, or, with leads set before, when its caller is to work.
	over  chan struct{}
	leads bool
}

// Do returns when job is done. Nothing ends it early: the fate of the job would be unknown.
func (q *Queue[J]) Do(job J) {
	own := &turn{over: make(chan struct{})}
	q.mu.Lock()
	q.waiting, q.turns = append(q.waiting, job), append(q.turns, own)
	if q.busy {
		q.mu.Unlock()
		<-own.over
		if !own.leads {
			return
		}
	} else {
		q.busy = true
		q.mu.Unlock()
	}
	giveWay()
	jobs, others := q.next()
	defer q.handOver(others)
	q.Work(jobs)
}

// giveWay lets run who can run now and may be about to queue: our own goroutines, and the processes that they wait for, such as
// the senders of mail. At rest there are none, and this takes less than a microsecond; under load it makes few large batches of
// many small ones.
func giveWay() {
	runtime.Gosched()
	_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // it always succeeds (sched_yield(2))
}

// Busy says whether somebody works, or is about to.
func (q *Queue[J]) Busy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.busy
}

// Waiting is how many jobs are in no batch yet.
func (q *Queue[J]) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// next removes a batch. The first of its jobs is the caller's own; others are the turns of the rest.
func (q *Queue[J]) next() (jobs []J, others []*turn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.Take(q.waiting)
	jobs, others = q.waiting[:n:n], q.turns[1:n:n]
	q.waiting, q.turns = q.waiting[n:], q.turns[n:]
	return jobs, others
}

// handOver wakes the batch, and makes the caller of the oldest waiting job the next to work, so that nobody works for
// others after his own job is done.
func (q *Queue[J]) handOver(others []*turn) {
	for _, t := range others {
		close(t.over)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.busy, q.waiting, q.turns = false, nil, nil
		return
	}
	q.turns[0].leads = true
	close(q.turns[0].over)
}
