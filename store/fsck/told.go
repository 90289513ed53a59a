package fsck

import (
	"sync"
	"time"
)

const (
	// tellAgain is how long an error that goes on is not told again.
	tellAgain = time.Hour
	// tellOthers is how soon another one is told of what is tried each few seconds: the errors of some servers have a number of the
	// request in them, so that no two are alike.
	tellOthers = time.Minute
)

// told is the error that was logged last.
type told struct {
	mu   sync.Mutex
	text string
	at   time.Time
}

// isNews says whether an error is to be logged: one with another text, at least others after the last, or the same after an hour.
func (t *told) isNews(err error, now time.Time, others time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	text, age := err.Error(), now.Sub(t.at).Abs()
	if age < tellAgain && (text == t.text || age < others) {
		return false
	}
	t.text, t.at = text, now
	return true
}
