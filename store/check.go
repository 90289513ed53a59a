package store

import (
	"context"
	"fmt"

	"github.com/mairust/mairust/store/sqldb"
)

// Check proves, within ctx, that the database takes a change and makes it durable right now. A Ping is answered by
// one that is read-only or full as well, and a small change may find room where mail does not: Check also fails for
// a while after a delivery that could not be committed.
func (s *Store) Check(ctx context.Context) error {
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
	return s.outage.last()
}
