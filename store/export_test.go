package store

import (
	"context"
	"fmt"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// SetPutPatience sets how long a batch waits for its objects.
func (s *Store) SetPutPatience(d time.Duration) { s.putPatience = d }

// PutFirst has objects stored before their rows are begun, for so long.
func (s *Store) PutFirst(d time.Duration) { s.putFirst(d) }

// PutsFirst says until when that is so, since the Store was made; 0 when it never was.
func (s *Store) PutsFirst() time.Duration { return time.Duration(s.putFirstUntil.Load()) }

// ForgetSlowness ends the time for which objects are stored first.
func (s *Store) ForgetSlowness() { s.putFirstUntil.Store(0) }

// BeforeBatches has f called before each batch of deliveries, with the number of its jobs.
func (s *Store) BeforeBatches(f func(jobs int)) {
	work := s.commits.Work
	s.commits.Work = func(jobs []*deliveryJob) {
		f(len(jobs))
		work(jobs)
	}
}

// Waiting is how many deliveries are in no batch yet.
func (s *Store) Waiting() int { return s.commits.Waiting() }

// RememberedRecipients is how many recipients are remembered.
func (s *Store) RememberedRecipients() int {
	s.recipients.mu.Lock()
	defer s.recipients.mu.Unlock()
	return len(s.recipients.recent) + len(s.recipients.before)
}

// SetBackChanges makes changes those of an older dump: what comes after number seq is gone, and the next one has the number after it.
func (s *Store) SetBackChanges(ctx context.Context, seq int64) error {
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM changes WHERE seq > $1`, seq); err != nil {
			return err
		}
		next := fmt.Sprintf(`ALTER TABLE changes ALTER COLUMN seq RESTART WITH %d`, seq+1)
		if s.db.Backend() == sqldb.SQLite {
			next = fmt.Sprintf(`UPDATE sqlite_sequence SET seq = %d WHERE name = 'changes'`, seq)
		}
		_, err := tx.Exec(ctx, next)
		return err
	})
}
