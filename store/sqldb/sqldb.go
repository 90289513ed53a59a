// Package sqldb opens PostgreSQL or SQLite and is the only place that knows their drivers: connections,
// transactions, error classes, migrations. One statement text runs on both; what differs is in ForUpdate and
// the DDL. A third database is a third file beside sqlite.go and postgres.go and a folder in migrations.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// The backends.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

// Options say which database and how much of it to use.
type Options struct {
	// Backend is "sqlite" (default) or "postgres".
	Backend string `yaml:"backend"`
	// Path is the SQLite file; required for sqlite.
	Path string `yaml:"path,omitempty"`
	// URL is the PostgreSQL connection string; required for postgres. It usually holds a password.
	URL string `yaml:"url,omitempty"`
	// MaxConnections bounds the pool of this process (PostgreSQL); default 20.
	MaxConnections int `yaml:"max_connections"`
	// MinConnections are kept open (PostgreSQL); others that were opened are for five minutes.
	MinConnections int `yaml:"min_connections"`
	// Log takes warnings about unsafe server settings; nil discards them.
	Log *slog.Logger `yaml:"-"`
}

// DB is an open database. All methods may be called from many goroutines.
type DB struct {
	backend string
	// read answers queries; on PostgreSQL it is also where transactions begin.
	read *sql.DB
	// apart opens a connection whose statements have another limit; nil on SQLite.
	apart func(limit time.Duration) *sql.DB
	// stmts caches prepared statements of read on SQLite; pgx has a cache of its own.
	stmts *stmtCache
	// patience is for those with a Patient context: readers, and on PostgreSQL writers too.
	patience *semaphore.Weighted
	// writer is SQLite's only writing connection.
	writer      *sqliteWriter
	checkpoints *checkpointer // SQLite's
	closers     []io.Closer
	closed      atomic.Bool
}

// errClosed is what a closed database answers.
var errClosed = fmt.Errorf("%w: it was closed", ErrUnavailable)

// Open opens the database. It does not migrate it. The errors never hold the password of a URL.
// ErrLocked says that another process has the SQLite file.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch o.Backend {
	case SQLite, "":
		return openSQLite(ctx, o)
	case Postgres:
		return openPostgres(ctx, o)
	default:
		return nil, fmt.Errorf("unknown database backend %q: use sqlite or postgres", o.Backend)
	}
}

// Backend is "sqlite" or "postgres".
func (db *DB) Backend() string { return db.backend }

// Close closes all connections and gives up the lock.
func (db *DB) Close() error {
	db.closed.Store(true)
	closers := db.closers
	db.closers = nil
	return closeAll(closers)
}

func closeAll(closers []io.Closer) error {
	var errs []error
	for _, c := range closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Ping asks the database for a sign of life; it proves on SQLite that a write transaction can begin.
func (db *DB) Ping(ctx context.Context) error {
	if db.writer != nil {
		return db.Write(ctx, func(*Tx) error { return nil })
	}
	return classify(db.read.PingContext(ctx))
}

// Get runs a query for one row and scans it into dest. ErrNoRows when there is none.
func (db *DB) Get(ctx context.Context, query string, args []any, dest ...any) error {
	if db.closed.Load() {
		return errClosed
	}
	leave, err := db.await(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return get(ctx, db.reader(), query, args, dest)
}

// Ahead is by how much the clock of PostgreSQL's host is ahead of this one's, to within a round trip. SQLite has this host's.
func (db *DB) Ahead(ctx context.Context) (time.Duration, error) {
	if db.backend != Postgres {
		return 0, nil
	}
	return ahead(ctx, db.Get)
}

// ahead asks with the Get of a DB or a Tx.
func ahead(ctx context.Context, get func(ctx context.Context, query string, args []any, dest ...any) error) (time.Duration, error) {
	const query = `SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)`
	asked := time.Now()
	var theirs int64
	if err := get(ctx, query, nil, &theirs); err != nil {
		return 0, fmt.Errorf("ask for the database's time: %w", err)
	}
	return time.UnixMicro(theirs).Sub(asked.Add(time.Since(asked) / 2)), nil
}

// Each runs a query and calls row for every row, with the function that scans it.
func (db *DB) Each(ctx context.Context, query string, args []any, row func(scan Scan) error) error {
	if db.closed.Load() {
		return errClosed
	}
	leave, err := db.await(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return db.reader().each(ctx, query, args, row)
}

// EachWithin is Each for a query that may take so long, whatever PostgreSQL's statement_timeout is, and no longer. There it has a connection of its own.
func (db *DB) EachWithin(ctx context.Context, limit time.Duration, query string, args []any, row func(scan Scan) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if db.apart == nil || db.closed.Load() {
		return db.Each(ctx, query, args, row)
	}
	pool := db.apart(limit) // the server's limit too: it does not see that a client is gone before it has rows for it
	err := sqlSession{pool}.each(ctx, query, args, row)
	return errors.Join(err, classify(pool.Close()))
}

// Scan copies the columns of the current row into dest.
type Scan func(dest ...any) error

func (db *DB) reader() session {
	if db.stmts != nil {
		return sqlSession{db.stmts}
	}
	return sqlSession{db.read}
}

// session runs statements: on a pool, or on the one connection of a transaction.
type session interface {
	each(ctx context.Context, query string, args []any, row func(scan Scan) error) error
}

func get(ctx context.Context, s session, query string, args []any, dest []any) error {
	found := false
	err := s.each(ctx, query, args, func(scan Scan) error {
		if found {
			return fmt.Errorf("more than one row for: %s", query)
		}
		found = true
		return scan(dest...)
	})
	if err == nil && !found {
		return ErrNoRows
	}
	return err
}

// sqlSession reads through database/sql.
type sqlSession struct {
	db interface {
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	}
}

func (s sqlSession) each(ctx context.Context, query string, args []any, row func(scan Scan) error) error {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return classify(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return classify(rows.Err())
}

// writeAttempts bounds how often a transaction is tried when the database asks to try again (deadlock).
const writeAttempts = 4

// Write runs fn in a transaction and commits it when fn returns nil. It is run again, from the start, when
// the database says that a retry may succeed, so fn must not keep state of a former run.
// An error that IsCommitUnknown says that the transaction may or may not have been committed.
func (db *DB) Write(ctx context.Context, fn func(tx *Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := db.writeOnce(ctx, fn)
		if !errors.Is(err, errRetry) {
			return err
		}
		if attempt == writeAttempts {
			return fmt.Errorf("%w: gave up after %d attempts: %w", ErrUnavailable, attempt, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		case <-time.After(time.Duration(attempt*attempt) * 5 * time.Millisecond):
		}
	}
}

func (db *DB) writeOnce(ctx context.Context, fn func(tx *Tx) error) error {
	if db.closed.Load() {
		return errClosed
	}
	if db.writer != nil {
		return db.writer.write(ctx, fn)
	}
	leave, err := db.await(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return writePostgres(ctx, db.read, fn)
}
