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
	// askRecipients is how often the database is asked whether another node has changed any, recipientsPatience how long
	// what was remembered counts while it does not answer.
	askRecipients      = time.Second
	recipientsPatience = 5 * time.Second
)

// recipients remembers the targets of recipients.
type recipients struct {
	remembered[string, Target]
	// alone is true where no other process has the database; what this one changes makes it forget.
	alone bool

	// asking is held by who asks.
	asking  sync.Mutex
	changes *Follower
	// asked is when the last question was put that was answered, in microseconds since 1970; 0 before the first.
	asked atomic.Int64
}

func newRecipients(s *Store) *recipients {
	return &recipients{
		remembered: remembered[string, Target]{now: s.now, size: recipientsSize, age: recipientTime},
		alone:      s.db.Backend() == sqldb.SQLite, // see sqldb.ErrLocked
		changes:    s.Follow(ChangedRecipients),
	}
}

// get gives what is remembered, after a look at what others have changed.
func (r *recipients) get(ctx context.Context, key string) (Target, bool) {
	if !r.alone && !r.isUpToDate(ctx) {
		return Target{}, false
	}
	return r.remembered.get(key)
}

// isUpToDate asks the database when that is due. Nobody waits for who asks.
func (r *recipients) isUpToDate(ctx context.Context) bool {
	age := r.now().Sub(fromMicros(r.asked.Load()))
	if age < askRecipients {
		return true
	}
	if !r.asking.TryLock() {
		return age < recipientsPatience
	}
	defer r.asking.Unlock()
	return r.ask(ctx) || age < recipientsPatience
}

// ask forgets all when another node has changed something, and what was found before changes were followed. r.asking is held.
func (r *recipients) ask(ctx context.Context) bool {
	now := r.now()
	changes, err := r.changes.Next(ctx)
	if err != nil {
		return false
	}
	if len(changes) > 0 || r.asked.Load() == 0 {
		r.forgetAll()
	}
	r.asked.Store(micros(now))
	return true
}
