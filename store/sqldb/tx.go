package sqldb

import (
	"context"
	"strconv"
	"time"
)

// Tx is one write transaction.
//
// Statements whose results are not needed by the next can be queued: PostgreSQL gets them together, with those that
// begin and commit the transaction, so that they cost one round trip. An error then belongs to the call that sent them.
type Tx struct {
	conn     txConn
	queue    []queued
	postgres bool
}

// txConn is a connection in the middle of a transaction.
type txConn interface {
	// run runs statements in order and returns how many rows the last one changed.
	run(ctx context.Context, list []queued) (int64, error)
}

// queued is a statement that waits for the next round trip.
type queued struct {
	query string
	args  []any
	// row takes the rows of a query; nil for a statement without.
	row func(scan Scan) error
	// many is run for all of values, in place of query.
	many   *Many
	values []any
}

// Exec runs a statement and returns the number of rows it changed.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	tx.Queue(query, args...)
	return tx.flush(ctx)
}

// Get is DB.Get within the transaction.
func (tx *Tx) Get(ctx context.Context, query string, args []any, dest ...any) error {
	return get(ctx, tx, query, args, dest)
}

// Ahead is DB.Ahead within the transaction.
func (tx *Tx) Ahead(ctx context.Context) (time.Duration, error) {
	if !tx.postgres {
		return 0, nil
	}
	return ahead(ctx, tx.Get)
}

// Each is DB.Each within the transaction. The query must not be run again before the last row is there.
func (tx *Tx) Each(ctx context.Context, query string, args []any, row func(scan Scan) error) error {
	return tx.each(ctx, query, args, row)
}

func (tx *Tx) each(ctx context.Context, query string, args []any, row func(scan Scan) error) error {
	tx.QueueEach(query, args, row)
	return tx.Flush(ctx)
}

// Queue is Exec that waits for the next Exec, Get, Each, Flush or the commit.
func (tx *Tx) Queue(query string, args ...any) {
	tx.queue = append(tx.queue, queued{query: query, args: args})
}

// QueueEach is Each that waits in the same way. row must not use the transaction.
func (tx *Tx) QueueEach(query string, args []any, row func(scan Scan) error) {
	tx.queue = append(tx.queue, queued{query: query, args: args, row: row})
}

// QueueMany queues a statement for many rows; values are those of the rows one after the other. None is no statement.
func (tx *Tx) QueueMany(m *Many, values []any) {
	if len(values) > 0 {
		tx.queue = append(tx.queue, queued{many: m, values: values})
	}
}

// Flush runs what is queued.
func (tx *Tx) Flush(ctx context.Context) error {
	_, err := tx.flush(ctx)
	return err
}

func (tx *Tx) flush(ctx context.Context) (int64, error) {
	if len(tx.queue) == 0 {
		return 0, nil
	}
	list := tx.queue
	tx.queue = nil
	return tx.conn.run(ctx, list)
}

// ForUpdate is the clause that locks the rows of a SELECT until the end of the transaction. SQLite needs
// none, as it has one writer. Key shares of foreign keys on other nodes are not blocked by it.
func (tx *Tx) ForUpdate() string {
	if tx.postgres {
		return " FOR NO KEY UPDATE"
	}
	return ""
}

// Guard has PostgreSQL refuse each later statement of this transaction that waits longer for a lock, ErrLockTimeout, and the transaction if its
// commit would not wait for the disk, ErrNotDurable: that was looked at when the connection began, but behind a pooler each transaction may be on
// another connection of the server. SQLite has one writer, no such locks, and a setting of ours.
func (tx *Tx) Guard(patience time.Duration) {
	if !tx.postgres {
		return
	}
	const query = `SELECT set_config('lock_timeout', $1, true), current_setting('synchronous_commit')`
	tx.QueueEach(query, []any{strconv.FormatInt(patience.Milliseconds(), 10)}, func(scan Scan) error {
		var locks, commits string
		err := scan(&locks, &commits)
		if err == nil && commits == "off" {
			err = ErrNotDurable
		}
		return err
	})
}

// KeepPlans has PostgreSQL plan each statement of this transaction once for a connection, and find rows by their keys. For
// statements that read and write few rows whose keys are given: left to itself, PostgreSQL plans them again and again, and
// reads a table from end to end that was small when it looked last, which it remembers until its statistics are made anew.
func (tx *Tx) KeepPlans() {
	if tx.postgres {
		tx.Queue("SET LOCAL plan_cache_mode = force_generic_plan")
		tx.Queue("SET LOCAL enable_seqscan = off")
	}
}
