package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// writePostgres runs a transaction on a connection of the pool, below database/sql: what is queued goes to the server
// together with BEGIN and COMMIT.
func writePostgres(ctx context.Context, pool *sql.DB, fn func(tx *Tx) error) error {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return classify(err)
	}
	// A connection that is broken or within a transaction is not used again: the pool looks.
	defer func() { _ = conn.Close() }()
	var result error
	err = conn.Raw(func(driverConn any) error {
		c, ok := driverConn.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("connection of the PostgreSQL driver is %T", driverConn)
		}
		result = (&postgresTx{conn: c.Conn()}).transact(ctx, fn)
		return nil
	})
	if err != nil {
		return classify(err)
	}
	return result
}

// readOnlyTransaction is the SQLSTATE of a change where none is taken.
const readOnlyTransaction = "25006"

// postgresTx is a transaction that begins with its first statement.
type postgresTx struct {
	conn  *pgx.Conn
	begun bool
}

func (t *postgresTx) transact(ctx context.Context, fn func(tx *Tx) error) error {
	tx := &Tx{conn: t, postgres: true}
	err := fn(tx)
	if err == nil {
		err = t.commit(ctx, tx.queue)
	}
	if err != nil {
		t.rollback(ctx, err)
	}
	return err
}

// rollback leaves the connection without a transaction, or closed, which rolls back too. One to a server that takes no changes is
// not used again: it may have become a standby, and another one the primary.
func (t *postgresTx) rollback(ctx context.Context, cause error) {
	var pg *pgconn.PgError
	if errors.As(cause, &pg) && pg.Code == readOnlyTransaction {
		_ = t.conn.Close(ctx) // whatever it says, the connection is gone
	}
	if t.conn.IsClosed() || t.conn.PgConn().TxStatus() == 'I' {
		return
	}
	if _, err := t.conn.Exec(ctx, "ROLLBACK"); err != nil {
		_ = t.conn.Close(ctx) // whatever it says, the connection is gone
	}
}

func (t *postgresTx) run(ctx context.Context, list []queued) (changed int64, err error) {
	fresh := !t.begun
	results := t.send(ctx, list, "")
	changed, err = t.receive(results, list)
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	if fresh && t.isStale(ctx, err) {
		return 0, fmt.Errorf("%w: connection was lost while idle: %w", errRetry, err)
	}
	return changed, classify(err)
}

// isStale says whether the connection was lost before the transaction began, as those in the pool are after the server
// has been restarted. Nothing has happened then, and the next connection may be better.
func (t *postgresTx) isStale(ctx context.Context, err error) bool {
	var pg *pgconn.PgError
	return err != nil && !errors.As(err, &pg) && t.conn.IsClosed() && ctx.Err() == nil
}

// commit sends the rest with COMMIT. When one of the statements before it is refused, the server does not come to it.
func (t *postgresTx) commit(ctx context.Context, rest []queued) error {
	if !t.begun && len(rest) == 0 {
		return nil
	}
	results := t.send(ctx, rest, "COMMIT")
	defer func() { _ = results.Close() }() // its errors are those below, or come when it is committed
	if _, err := t.receive(results, rest); err != nil {
		var pg *pgconn.PgError
		if errors.As(err, &pg) && !errors.Is(classOfPostgres(pg.Code), ErrUnavailable) {
			return classify(err)
		}
		return classifyCommit(err) // also a word of whoever is between: that the server was lost
	}
	tag, err := results.Exec()
	switch {
	case err != nil:
	case tag.String() == "ROLLBACK":
		err = pgx.ErrTxCommitRollback
	case takeUnreplicated(t.conn.PgConn()):
		err = errUnreplicated
	}
	return classifyCommit(err)
}

// errUnreplicated is of a commit that the server calls done, though a synchronous standby that was to have it too may not: somebody has ended the
// waiting for it (pg_cancel_backend). If that standby takes over, the rows are gone.
var errUnreplicated = errors.New("committed, but perhaps not on the synchronous standby: the waiting for it was cancelled")

const unreplicated = "unreplicated"

// noteUnreplicated keeps the server's warning of that for who commits. Its text is translated and it has no code of its own, but the function that
// warns is named (PostgreSQL manual, 55.8).
func noteUnreplicated(conn *pgconn.PgConn, n *pgconn.Notice) {
	if n.Routine == "SyncRepWaitForLSN" {
		conn.CustomData()[unreplicated] = true
	}
}

// takeUnreplicated says whether there was such a warning since it was asked last.
func takeUnreplicated(conn *pgconn.PgConn) bool {
	_, was := conn.CustomData()[unreplicated]
	delete(conn.CustomData(), unreplicated)
	return was
}

// send sends statements, BEGIN before the first ones of the transaction, and last, which may be empty.
func (t *postgresTx) send(ctx context.Context, list []queued, last string) pgx.BatchResults {
	batch := &pgx.Batch{}
	if !t.begun {
		batch.Queue("BEGIN")
	}
	for _, q := range list {
		if q.many != nil {
			batch.Queue(q.many.all, Arrays(q.many.columns, q.values)...)
			continue
		}
		batch.Queue(q.query, q.args...)
	}
	if last != "" {
		batch.Queue(last)
	}
	return t.conn.SendBatch(ctx, batch)
}

// receive takes the answers to what send has sent, but for the last.
func (t *postgresTx) receive(results pgx.BatchResults, list []queued) (changed int64, err error) {
	if !t.begun {
		if _, err := results.Exec(); err != nil {
			return 0, err
		}
		t.begun = true
	}
	for _, q := range list {
		if q.row != nil {
			err = eachRow(results, q.row)
		} else {
			var tag pgconn.CommandTag
			tag, err = results.Exec()
			changed = tag.RowsAffected()
		}
		if err != nil {
			return 0, err
		}
	}
	return changed, nil
}

func eachRow(results pgx.BatchResults, row func(scan Scan) error) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
