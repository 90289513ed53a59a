package store

import (
	"context"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// clockAhead is by how much a clock may be set back. A lease that lasts longer than that is nobody's.
const clockAhead = time.Hour

// TakeLease makes the holder the only one that does the named work, until the lease ends. ok is false when another one
// is. A lease that ends much later than any that begins now was given by a clock that was ahead, and does not count.
func (s *Store) TakeLease(ctx context.Context, name, holder string, lease time.Duration) (ok bool, err error) {
	const query = `INSERT INTO leases (name, holder, until_us) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_us = excluded.until_us
		WHERE leases.holder = excluded.holder OR leases.until_us < $4 OR leases.until_us > $5`
	return s.setLease(ctx, func(now time.Time) (string, []any) {
		return query, []any{name, holder, micros(now.Add(lease)), micros(now), micros(now.Add(lease + clockAhead))}
	})
}

// KeepLease makes a lease last longer. ok is false when the holder has lost it: another one may have had it since.
func (s *Store) KeepLease(ctx context.Context, name, holder string, lease time.Duration) (ok bool, err error) {
	const query = `UPDATE leases SET until_us = $3 WHERE name = $1 AND holder = $2`
	return s.setLease(ctx, func(now time.Time) (string, []any) {
		return query, []any{name, holder, micros(now.Add(lease))}
	})
}

// setLease runs the statement that it is given for a time by the database's clock, which is one for all nodes.
func (s *Store) setLease(ctx context.Context, statement func(now time.Time) (query string, args []any)) (ok bool, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		ahead, err := tx.Ahead(ctx)
		if err != nil {
			return err
		}
		query, args := statement(s.now().Add(ahead))
		n, err := tx.Exec(ctx, query, args...)
		ok = n == 1
		return err
	})
	return ok, err
}

// ReleaseLease gives a lease back. It does nothing to another holder's.
func (s *Store) ReleaseLease(ctx context.Context, name, holder string) error {
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM leases WHERE name = $1 AND holder = $2`, name, holder)
		return err
	})
}

// EndLeases ends all leases, those of sweeps too: for who begins with a database that nobody else can have, as with SQLite. Their holders have died.
func (s *Store) EndLeases(ctx context.Context) error {
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM leases`)
		if err == nil {
			_, err = tx.Exec(ctx, `UPDATE sweep_state SET leader = '', lease_us = 0 WHERE leader <> ''`)
		}
		return err
	})
}

const (
	leaseFor   = time.Minute
	leaseRenew = 15 * time.Second
)

// WhileLeader does the named work while this process is the only one of all that share the database, again and again
// until ctx ends. work goes on until its ctx ends, which also happens when the lease is lost or could be.
func (s *Store) WhileLeader(ctx context.Context, name string, work func(ctx context.Context)) {
	holder := newID()
	for ctx.Err() == nil {
		ok, err := s.TakeLease(ctx, name, holder, leaseFor)
		switch {
		case err != nil && ctx.Err() == nil:
			s.log.Debug("lease not taken", "lease", name, "err", err) // the database is a part that is watched
		case ok:
			s.lead(ctx, name, holder, work)
		}
		wait(ctx, leaseRenew)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.ReleaseLease(last, name, holder); err != nil {
		s.log.Debug("lease not released", "lease", name, "err", err)
	}
}

// lead works, and prolongs the lease meanwhile.
func (s *Store) lead(ctx context.Context, name, holder string, work func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer cancel()
		for last := time.Now(); ; {
			wait(ctx, leaseRenew)
			if ctx.Err() != nil {
				return
			}
			ok, err := s.KeepLease(ctx, name, holder, leaseFor)
			switch {
			case err == nil && ok:
				last = time.Now()
			case err == nil, time.Since(last) > leaseFor/2:
				return
			}
		}
	}()
	work(ctx)
	cancel()
	<-ended
}

// wait waits, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// WorkedDay is the last UTC day for which the named daily work was done; zero for none. A day to come, noted by a clock that was ahead, says
// nothing of the days before it.
func (s *Store) WorkedDay(ctx context.Context, name string) (time.Time, error) {
	var day int64
	err := s.get(ctx, `SELECT COALESCE(MAX(day), -1) FROM worker_days WHERE name = $1 AND day <= $2`, []any{name, Day(s.now())}, &day)
	if err != nil || day < 0 {
		return time.Time{}, err
	}
	return fromMicros(day * dayMicros), nil
}

// NoteWorkedDay records that the named daily work was done for the UTC day of a time.
func (s *Store) NoteWorkedDay(ctx context.Context, name string, day time.Time) error {
	const query = `INSERT INTO worker_days (name, day) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET day = excluded.day`
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, query, name, Day(day))
		return err
	})
}

// WorkedAt is when the named work was last done, by the clock of who did it, which may have been wrong; zero for never.
func (s *Store) WorkedAt(ctx context.Context, name string) (time.Time, error) {
	var at *int64
	err := s.get(ctx, `SELECT MAX(at_us) FROM worker_days WHERE name = $1`, []any{name}, &at)
	return fromNull(at), err
}

// NoteWorkedAt records when the named work was done. The day that it was done for stays; -1 stands for none.
func (s *Store) NoteWorkedAt(ctx context.Context, name string, at time.Time) error {
	const query = `INSERT INTO worker_days (name, day, at_us) VALUES ($1, -1, $2) ON CONFLICT (name) DO UPDATE SET at_us = excluded.at_us`
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, query, name, micros(at))
		return err
	})
}
