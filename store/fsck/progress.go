package fsck

import (
	"context"
	"sync"
	"time"
)

// tellEvery is how often progress is told.
const tellEvery = 250 * time.Millisecond

// meter follows one phase.
type meter struct {
	Progress
	began, told time.Time
	// skipped were done by an earlier run, and say nothing of the speed.
	skipped, skippedBytes int64
}

func (c *check) begin(phase string, total, totalBytes int64) {
	c.tallies.Lock()
	defer c.tallies.Unlock()
	c.progress = meter{Progress: Progress{Phase: phase, Total: total, TotalBytes: totalBytes}, began: time.Now()}
	c.tellProgress()
}

// skip is advance for what an earlier run has done.
func (c *check) skip(n, bytes int64) {
	c.tallies.Lock()
	c.progress.skipped += n
	c.progress.skippedBytes += bytes
	c.tallies.Unlock()
	c.advance(n, bytes)
}

func (c *check) advance(n, bytes int64) {
	c.tallies.Lock()
	defer c.tallies.Unlock()
	m := &c.progress
	m.Done += n
	if m.TotalBytes > 0 {
		m.DoneBytes += bytes
	}
	if time.Since(m.told) >= c.tellEvery {
		c.tellProgress()
	}
}

// tellProgress needs the lock.
func (c *check) tellProgress() {
	m := &c.progress
	m.told = time.Now()
	m.Problems = c.report.Found
	m.Left = m.left()
	p := m.Progress
	c.tell(Event{Progress: &p})
}

// left estimates by what was done so far; zero means that nobody knows.
func (m *meter) left() time.Duration {
	done, todo := m.Done-m.skipped, m.Total-m.Done
	if m.TotalBytes > 0 {
		done, todo = m.DoneBytes-m.skippedBytes, m.TotalBytes-m.DoneBytes
	}
	if done <= 0 || todo <= 0 {
		return 0
	}
	return time.Duration(float64(time.Since(m.began)) * float64(todo) / float64(done))
}

// limiter bounds a rate of bytes, over all goroutines. nil bounds nothing.
type limiter struct {
	perSecond float64
	mu        sync.Mutex
	next      time.Time
}

func newLimiter(bytesPerSecond int64) *limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	return &limiter{perSecond: float64(bytesPerSecond)}
}

// wait returns when n bytes more may have been read.
func (l *limiter) wait(ctx context.Context, n int64) error {
	if l == nil {
		return ctx.Err()
	}
	l.mu.Lock()
	now := time.Now()
	if l.next.Before(now) {
		l.next = now
	}
	l.next = l.next.Add(time.Duration(float64(n) / l.perSecond * float64(time.Second)))
	until := l.next
	l.mu.Unlock()
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
