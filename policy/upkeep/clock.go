package upkeep

import (
	"context"
	"time"
)

// A clock that is weeks ahead, for a minute after a start or for good, makes all seem old and every day over. It is believed by
// a run that comes not long after another one, which is noted whether it believed the clock or not.
const (
	// believeAfter is how long a clock may be wrong, though the process is started again meanwhile.
	believeAfter = time.Hour
	believeUntil = 48 * time.Hour
)

// believes says whether now can be the time, as far as is known from the last run of the named work.
func (u *Upkeep) believes(ctx context.Context, name string, now time.Time) (bool, error) {
	at, err := u.store.WorkedAt(ctx, name)
	since := now.Sub(at)
	return believeAfter <= since && since <= believeUntil, err
}

// noteWorked notes a run of the named work. One soon after another is not noted, since the next would then be soon after it.
func (u *Upkeep) noteWorked(ctx context.Context, name string, now time.Time) error {
	at, err := u.store.WorkedAt(ctx, name)
	if since := now.Sub(at); err != nil || 0 <= since && since < believeAfter {
		return err
	}
	return u.store.NoteWorkedAt(ctx, name, now)
}
