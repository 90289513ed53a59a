package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// SweepState is what the index knows of itself as a whole.
type SweepState struct {
	// DatabaseID is made with the database, and is another one in a database that was made anew.
	DatabaseID string
	// Epoch only rises, with a new random Token each time. A database that was set back to an earlier moment shows
	// by them, because the object store keeps the latest pair too.
	Epoch int64
	Token string
	// Stopped says why nothing may be removed until an operator has looked; empty when all is well.
	Stopped string
	// Kept is how many objects without a row the last complete sweep or repair has kept, which no other would do anything about.
	Kept int64
	// StoppedAt and SweptAt (the end of the last complete sweep) are zero when there is none.
	StoppedAt, SweptAt time.Time
	// LeasedUntil is until when somebody sweeps or repairs, unless the lease is kept longer; long ago when nobody does.
	LeasedUntil time.Time
	// RenewedFor is another one each time that all folders got a new UIDVALIDITY; empty when they never did.
	RenewedFor string
	// VerifyAfter is where the reading of all objects goes on, and VerifyBegan when it began; empty and zero when none
	// is under way.
	VerifyAfter MessageID
	VerifyBegan time.Time
}

// errNoState is no ErrNotFound: of what it knows, a database that is being made or restored says nothing.
var errNoState = errors.New("the database has no row of its own state: it is being made, or restored")

// SweepState reads it.
func (s *Store) SweepState(ctx context.Context) (SweepState, error) {
	const query = `SELECT i.database_id, s.epoch, s.token, s.stopped, s.stopped_us, s.swept_us, s.lease_us, s.kept, s.renewed_for,
		s.verify_after, s.verify_us FROM installation i JOIN sweep_state s ON s.id = i.id`
	var st SweepState
	var stopped, swept, verify *int64
	var leased int64
	err := s.get(ctx, query, nil, &st.DatabaseID, &st.Epoch, &st.Token, &st.Stopped, &stopped, &swept, &leased, &st.Kept, &st.RenewedFor,
		&st.VerifyAfter, &verify)
	if errors.Is(err, ErrNotFound) {
		return st, errNoState
	}
	st.LeasedUntil = time.UnixMicro(leased)
	st.StoppedAt, st.SweptAt, st.VerifyBegan = fromNull(stopped), fromNull(swept), fromNull(verify)
	return st, err
}

// TakeSweep makes the holder the only one that sweeps, until the lease ends. ok is false when another one is. A lease that ends much later than
// any that begins now was given by a clock that was ahead, and does not count.
func (s *Store) TakeSweep(ctx context.Context, holder string, lease time.Duration) (ok bool, err error) {
	const query = `UPDATE sweep_state SET leader = $1, lease_us = $2 WHERE id = 1 AND (lease_us < $3 OR lease_us > $4)`
	return s.setLease(ctx, func(now time.Time) (string, []any) {
		return query, []any{holder, micros(now.Add(lease)), micros(now), micros(now.Add(lease + clockAhead))}
	})
}

// KeepSweep makes a lease last longer. ok is false when the holder has lost it: another one may have had it since.
func (s *Store) KeepSweep(ctx context.Context, holder string, lease time.Duration) (ok bool, err error) {
	const query = `UPDATE sweep_state SET lease_us = $2 WHERE id = 1 AND leader = $1`
	return s.setLease(ctx, func(now time.Time) (string, []any) { return query, []any{holder, micros(now.Add(lease))} })
}

// ErrNotHolder says that another one may have the lease by now.
var ErrNotHolder = errors.New("the lease of the sweep was lost")

// holdSweep keeps the lease of the holder until the transaction ends.
func holdSweep(ctx context.Context, tx *sqldb.Tx, holder string) error {
	err := mustHave(ctx, tx, `SELECT leader FROM sweep_state WHERE id = 1 AND leader = $1`+tx.ForUpdate(), holder)
	if errors.Is(err, ErrExists) {
		return ErrNotHolder
	}
	return err
}

// ReleaseSweep gives the lease back. It does nothing to another holder's.
func (s *Store) ReleaseSweep(ctx context.Context, holder string) error {
	return s.setSweep(ctx, `leader = '', lease_us = 0 WHERE id = 1 AND leader = $1`, holder)
}

// NextEpoch moves the epoch on by one, under a new token, unless it was moved on from there already.
func (s *Store) NextEpoch(ctx context.Context, from int64) error {
	return s.setSweep(ctx, `token = $1, epoch = epoch + 1 WHERE id = 1 AND epoch = $2`, newID(), from)
}

// RaiseEpoch moves the epoch to above the given one and above its own, under a new token.
func (s *Store) RaiseEpoch(ctx context.Context, above int64) error {
	return s.setSweep(ctx, `token = $1, epoch = 1 + CASE WHEN epoch > $2 THEN epoch ELSE $2 END WHERE id = 1`, newID(), above)
}

// StopSweep notes why nothing may be removed any more. A reason that is there stays. first is true when there was none.
func (s *Store) StopSweep(ctx context.Context, reason string) (first bool, err error) {
	const query = `UPDATE sweep_state SET stopped = $1, stopped_us = $2 WHERE id = 1 AND stopped = ''`
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, query, reason, micros(s.now()))
		first = n == 1
		return err
	})
	return first, err
}

// StopSweepFor does so, and puts the reason in the place of another one.
func (s *Store) StopSweepFor(ctx context.Context, reason string) error {
	return s.setSweep(ctx, `stopped = $1, stopped_us = $2 WHERE id = 1`, reason, micros(s.now()))
}

// ResumeSweep takes the reason away, and records how many objects without a row a repair has kept.
func (s *Store) ResumeSweep(ctx context.Context, kept int64) error {
	return s.setSweep(ctx, `stopped = '', stopped_us = NULL, kept = $1 WHERE id = 1`, kept)
}

// NoteSwept records the end of a complete sweep, by the clock of who sweeps, and how many objects without a row it has kept.
func (s *Store) NoteSwept(ctx context.Context, at time.Time, kept int64) error {
	return s.setSweep(ctx, `swept_us = $1, kept = $2 WHERE id = 1`, micros(at), kept)
}

// NoteVerified records up to which message all objects have been read. An empty id ends the reading.
func (s *Store) NoteVerified(ctx context.Context, upTo MessageID, began time.Time) error {
	if upTo == "" {
		began = time.Time{}
	}
	return s.setSweep(ctx, `verify_after = $1, verify_us = $2 WHERE id = 1`, string(upTo), microsOrNull(began))
}

func (s *Store) setSweep(ctx context.Context, set string, args ...any) error {
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE sweep_state SET `+set, args...)
		return err
	})
}

// renew gives folders a new UIDVALIDITY, above the old one and above any that was given before now. The mod-sequence
// rises too, so that sessions notice.
const renew = `UPDATE folders SET uidvalidity = CASE WHEN uidvalidity = 4294967295 THEN uidvalidity WHEN uidvalidity >= $1 THEN uidvalidity + 1 ELSE $1 END, modseq = modseq + 1`

// renewedAtOnce is how many mailboxes get new UIDVALIDITYs in one transaction, which keeps deliveries to their tenants waiting.
const renewedAtOnce = 1000

// RenewFolders gives every folder a new, higher UIDVALIDITY, and the database a new RenewedFor when all have theirs. When it is broken off it
// begins again the next time.
func (s *Store) RenewFolders(ctx context.Context) error {
	for after, more := "", true; more; {
		var err error
		if after, more, err = s.renewAfter(ctx, after); err != nil {
			return err
		}
	}
	return s.setSweep(ctx, `renewed_for = $1 WHERE id = 1`, newID())
}

// renewAfter renews the folders of the next mailboxes by id, and gives the last of these.
func (s *Store) renewAfter(ctx context.Context, after string) (last string, more bool, err error) {
	const next = `SELECT id FROM mailboxes WHERE id > $1 ORDER BY id LIMIT $2`
	n := 0
	err = s.each(ctx, next, []any{after, renewedAtOnce}, func(scan sqldb.Scan) error {
		n++
		return scan(&last)
	})
	if err != nil || n == 0 {
		return "", false, err
	}
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		// In the order of deliveries, which hold their tenant first: no two wait for each other.
		tenants := `SELECT id FROM tenants WHERE id IN (SELECT tenant_id FROM mailboxes WHERE id > $1 AND id <= $2) ORDER BY id` + tx.ForUpdate()
		err := tx.Each(ctx, tenants, []any{after, last}, func(scan sqldb.Scan) error {
			var id string
			return scan(&id)
		})
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, renew+` WHERE mailbox_id > $2 AND mailbox_id <= $3`, uidValidityAt(s.now()), after, last)
		return err
	})
	return last, n == renewedAtOnce, err
}

// RenewFolder makes the folder when the mailbox has none of this name, and gives it a new, higher UIDVALIDITY.
func (s *Store) RenewFolder(ctx context.Context, tenant TenantID, mailbox MailboxID, name string) error {
	err := s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := createFolder(ctx, tx, tenant, mailbox, name, s.now()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, renew+` WHERE mailbox_id = $2 AND name = $3`, uidValidityAt(s.now()), string(mailbox), name)
		return err
	})
	if err != nil {
		return fmt.Errorf("renew folder %s of mailbox %s: %w", name, mailbox, err)
	}
	return nil
}
