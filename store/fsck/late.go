package fsck

import (
	"sync"
	"time"

	"github.com/mairust/mairust/store"
)

// lateAfter is how many intervals may pass without a complete sweep.
const lateAfter = 3

// lateness is what was seen by who asks whether sweeps are late.
type lateness struct {
	began time.Time

	mu sync.Mutex
	// busy is when sweeps were last kept from beginning, or one was under way, or nobody looked.
	busy, looked time.Time
	// late says that those after the one that ended at swept were late.
	late  bool
	swept time.Time
	// failed is when a sweep of this process ended with an error.
	failed time.Time
}

func (l *lateness) noteFailed(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = at
}

// IsLate says that there was no complete sweep for three intervals, though there was time for one since the process began. One that is
// under way may take longer, unless the one before it failed, and so may a repair or a stop, which keep sweeps waiting. What is late is so
// until a sweep comes to its end. It is to be asked again and again.
func (f *Fsck) IsLate(st store.SweepState) bool {
	l, now := &f.late, f.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.late = l.late && st.SweptAt.Equal(l.swept); l.late {
		return true
	}
	most := lateAfter * max(f.options.Interval, f.watchEvery)
	underWay := st.LeasedUntil.After(now) && !l.failed.After(st.SweptAt)
	if st.Stopped != "" || underWay || now.Sub(l.looked).Abs() > most {
		l.busy = now
	}
	l.late = now.Sub(l.began) > most && now.Sub(st.SweptAt).Abs() > most && now.Sub(l.busy) > 2*f.watchEvery
	l.looked, l.swept = now, st.SweptAt
	return l.late
}
