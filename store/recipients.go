package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// RCPT asks for the same mailboxes again and again.
const (
	recipientTime = time.Minute
	// recipientsSize is how many are in each of two maps at most; each entry is some 500 bytes.
	recipientsSize = 20_000
	// longestRemembered is the longest address, in bytes: a stranger can give a mailbox any number of details of a kilobyte each.
	longestRemembered = 128
	// askRecipients is how often the database is asked whether another node has changed any, and how long it may take to answer.
	askRecipients = time.Second
	// recipientsPatience is for how long after an answer what was remembered counts without another.
	recipientsPatience = 5 * time.Second
)

// recipients remembers the targets of recipients.
type recipients struct {
	remembered[string, Target]
	// alone is true where no other process has the database; what this one changes makes it forget.
	alone bool
	// follow begins to follow what others change.
	follow func() *Follower

	// asking is held by who asks, and guards changes, which is nil before the first answer and after a question that got none.
	asking  sync.Mutex
	changes *Follower
	// asked is when the last question was put that was answered, in microseconds since 1970; 0 before the first.
	asked atomic.Int64
}

func newRecipients(s *Store) *recipients {
	return &recipients{
		remembered: remembered[string, Target]{now: s.now, size: recipientsSize, age: recipientTime},
		alone:      s.db.Backend() == sqldb.SQLite, // see sqldb.ErrLocked
		follow:     func() *Follower { return s.Follow(ChangedRecipients) },
	}
}

// get gives what is remembered, after a look at what others have changed.
func (r *recipients) get(ctx context.Context, key string) (Target, bool) {
	if !r.alone && !r.isUpToDate(ctx) {
		return Target{}, false
	}
	return r.remembered.get(key)
}

// isUpToDate asks the database when that is due. Nobody waits for another who asks.
func (r *recipients) isUpToDate(ctx context.Context) bool {
	if r.askedWithin(askRecipients) {
		return true
	}
	if r.asking.TryLock() {
		defer r.asking.Unlock()
		r.ask(ctx)
	}
	return r.askedWithin(recipientsPatience)
}

// askedWithin says whether the last question is not older. After the clock was set back, it is.
func (r *recipients) askedWithin(d time.Duration) bool {
	age := r.now().Sub(fromMicros(r.asked.Load()))
	return 0 <= age && age < d
}

// ask forgets all when another node has changed something, and when changes were not followed without a gap: after a question
// without an answer the database may be another, restored or switched over. r.asking is held.
func (r *recipients) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askRecipients)
	defer cancel()
	now, anew := r.now(), r.changes == nil
	if anew {
		r.changes = r.follow()
	}
	changes, err := r.changes.Next(ctx)
	if err != nil {
		r.changes = nil
		return
	}
	if anew || len(changes) > 0 {
		r.forgetAll()
	}
	r.asked.Store(micros(now))
}
