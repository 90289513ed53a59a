package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/mairust/mairust/store/sqldb"
)

// Check proves, within ctx, that the database takes a change and makes it durable right now. A Ping is answered by
// one that is read-only or full as well, and a small change may find room where mail does not: Check also fails for
// a while after a delivery that could not be committed.
func (s *Store) Check(ctx context.Context) error {
	if err := s.probe(ctx); err != nil {
		return err
	}
	return s.outage.last()
}

// CheckWAL fails while SQLite cannot copy its log into the database file, which no delivery notices before the disk is full.
func (s *Store) CheckWAL(context.Context) error {
	if err := s.db.CheckpointFault(); err != nil {
		return fmt.Errorf("copy the database's log: %w", err)
	}
	return nil
}

// Accepting says whether a delivery is worth beginning: not while their commits fail in such a way that each leaves its object, as on a
// full disk of SQLite. One a second is let through then, if the database takes a small change, and finds out when the others may go on.
func (s *Store) Accepting(ctx context.Context) error {
	err, isTurn := s.outage.refuses()
	if isTurn {
		if err = s.probe(ctx); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			s.outage.goesOn(err)
		}
	}
	return err
}

func (s *Store) probe(ctx context.Context) error {
	err := s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		// There and back: SQLite does not write a row that stays the same.
		_, err := tx.Exec(ctx, `UPDATE installation SET created_us = created_us + 1 WHERE id = 1`)
		if err == nil {
			_, err = tx.Exec(ctx, `UPDATE installation SET created_us = created_us - 1 WHERE id = 1`)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("check database: %w", err)
	}
	return nil
}
