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
	// maxLocked is how many messages of a batch are tried in vain, one by one.
	maxLocked = 10
)

func (s *Store) lockPatience(t try) time.Duration {
	if t == secondTry || int64(time.Since(s.started)) < s.lockedUntil.Load() {
		return lockAgain
	}
	return lockPatience
}

func (s *Store) noteLocked() { s.lockedUntil.Store(int64(time.Since(s.started) + lockedFor)) }

// lockedJobs are those of a batch that waited for a lock in vain, one by one.
type lockedJobs struct {
	mailboxes map[MailboxID]bool
	tenants   map[TenantID]int
	n         int
	err       error // of the last
}

func (l *lockedJobs) add(job *deliveryJob, err error) {
	if l.n == 0 {
		l.mailboxes, l.tenants = map[MailboxID]bool{}, map[TenantID]int{}
	}
	l.n++
	l.err = err
	if len(job.copies) == 1 { // of several, nobody knows which was locked
		l.mailboxes[job.copies[0].Target.Mailbox] = true
		l.tenants[job.copies[0].Target.Tenant]++
	}
}

// has says whether a job would wait in vain too: for the same mailbox, for a tenant of which two mailboxes were locked, or for what all need.
func (l *lockedJobs) has(job *deliveryJob) bool {
	for _, c := range job.copies {
		if l.mailboxes[c.Target.Mailbox] || l.tenants[c.Target.Tenant] > 1 {
			return true
		}
	}
	return l.n >= maxLocked
}
