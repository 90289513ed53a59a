package store

import "time"

// A batch of deliveries is one transaction, and a process has one at a time. On PostgreSQL somebody may have locked a row of it, and not
// end: a node that hangs, an administrator's transaction that was forgotten. What waits for that row must not keep other mail waiting.

const (
	// lockPatience is how long a delivery waits for a lock. Another node has its rows for a flush or a few.
	lockPatience = 3 * time.Second
	// lockAgain is how long after one has waited in vain, for lockedFor.
	lockAgain = 500 * time.Millisecond
	lockedFor = 10 * time.Second
	// maxLocked is how many copies of a batch are tried in vain, one by one.
	maxLocked = 10
)

func (s *Store) lockPatience(t try) time.Duration {
	if t == secondTry || int64(time.Since(s.started)) < s.lockedUntil.Load() {
		return lockAgain
	}
	return lockPatience
}

func (s *Store) noteLocked() { s.lockedUntil.Store(int64(time.Since(s.started) + lockedFor)) }

// lockedCopies are those of a batch that waited for a lock in vain, one by one.
type lockedCopies struct {
	mailboxes map[MailboxID]bool
	tenants   map[TenantID]int
	n         int
	err       error // of the last
}

func (l *lockedCopies) add(of Target, err error) {
	if l.n == 0 {
		l.mailboxes, l.tenants = map[MailboxID]bool{}, map[TenantID]int{}
	}
	l.n++
	l.err = err
	l.mailboxes[of.Mailbox] = true
	l.tenants[of.Tenant]++
}

// has says whether a copy would wait in vain too: for the same mailbox, for a tenant of which two mailboxes were locked, or for what all need.
func (l *lockedCopies) has(of Target) bool {
	return l.mailboxes[of.Mailbox] || l.tenants[of.Tenant] > 1 || l.n >= maxLocked
}
