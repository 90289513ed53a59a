package fsck

import (
	"errors"
	"time"
)

// failures are the sweeps in a row that ended with an error. Each may have walked all objects, so the next one comes later and later.
type failures struct {
	// wait is how long after the last one no other is tried, which is until then; zero when that one did not fail.
	wait time.Duration
	then time.Time
}

// mayTry says whether the wait is over. It is, too, when the clock was set back.
func (f *failures) mayTry(now time.Time) bool {
	left := f.then.Sub(now)
	return left <= 0 || left > f.wait
}

// note notes how a sweep ended. The wait doubles from least to most. That another one sweeps, or that sweeps are stopped, is no failure.
func (f *failures) note(err error, now time.Time, least, most time.Duration) {
	switch {
	case errors.Is(err, ErrBusy):
	case err == nil, errors.Is(err, ErrStopped):
		*f = failures{}
	default:
		f.wait = min(max(2*f.wait, least), most)
		f.then = now.Add(f.wait)
	}
}
