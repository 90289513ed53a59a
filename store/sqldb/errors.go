package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// The error classes. Every error of this package that has a class wraps exactly one of them.
var (
	// ErrUnavailable says that the database could not be reached, was lost, or is shutting down.
	ErrUnavailable = errors.New("database unavailable")
	// ErrLockTimeout is the ErrUnavailable of a transaction that had to wait too long for what another one has locked, a row or a table,
	// after Tx.Guard. Nothing was committed, and others may be.
	ErrLockTimeout = fmt.Errorf("%w: locked by another transaction", ErrUnavailable)
	// ErrFull says that the database has no space left.
	ErrFull = errors.New("database is full")
	// ErrConflict says that a unique key is taken.
	ErrConflict = errors.New("key is taken")
	// ErrData says that the database refuses a value; trying again will not help.
	ErrData = errors.New("database refuses the value")
	// ErrRefused says that a constraint, other than that of a unique key, or a trigger refuses a row.
	ErrRefused = errors.New("database refuses the row")
	// ErrNoRows says that a Get found nothing.
	ErrNoRows = errors.New("no rows")
	// ErrLocked says that another process has the SQLite file open.
	ErrLocked = errors.New("another MaiRust process has this database open")
	// ErrCommitUnknown says that the answer to COMMIT was lost: it may have happened.
	ErrCommitUnknown = errors.New("outcome of commit is unknown")

	errRetry = errors.New("transaction must be retried")
)

func classify(err error) error {
	switch class := classOf(err); {
	case err == nil:
		return nil
	case class == nil:
		return err
	default:
		return fmt.Errorf("%w: %w", class, err)
	}
}

// classifyCommit tells a commit that surely failed from one that may have happened: only the server's own
// word that it rolled back is certain.
func classifyCommit(err error) error {
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &pg) && len(pg.Code) == 5 && (pg.Code[:2] == "40" || pg.Code[:2] == "23") && pg.Code != "40003":
		return classify(err)
	case errors.Is(err, pgx5CommitRollback):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case errors.Is(classOf(err), ErrFull): // where SQLite, which writes at the commit, finds out
		return fmt.Errorf("%w: %w: %w", ErrFull, ErrCommitUnknown, err)
	default:
		return fmt.Errorf("%w: %w: %w", ErrUnavailable, ErrCommitUnknown, err)
	}
}

func classOf(err error) error {
	var (
		pg      *pgconn.PgError
		connect *pgconn.ConnectError
		lite    *sqlite.Error
		network net.Error
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &connect): // whatever the server answered: a password that is wrong, a database that is not there
		return ErrUnavailable
	case errors.As(err, &pg):
		return classOfPostgres(pg.Code)
	case errors.As(err, &lite):
		return classOfSQLite(lite.Code())
	case errors.Is(err, sql.ErrNoRows):
		return ErrNoRows
	case errors.As(err, &network), pgconn.SafeToRetry(err),
		errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, sql.ErrTxDone),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return ErrUnavailable
	default:
		return nil
	}
}

// classOfPostgres reads an SQLSTATE (PostgreSQL manual, appendix A).
func classOfPostgres(code string) error {
	switch {
	case code == "40001" || code == "40P01":
		return errRetry
	case code == "23505":
		return ErrConflict
	case code == "55P03":
		return ErrLockTimeout
	case code == "53100":
		return ErrFull
	case code == "42501" || code == "42P01": // rights or tables were taken away; the former also stands for EROFS and EACCES
		return ErrUnavailable
	case code == "P0001": // a trigger's RAISE
		return ErrRefused
	case len(code) != 5:
		return nil
	}
	switch code[:2] {
	case "08", "53", "55", "57", "58", "25", "XX": // the last is damage, and faults of the server
		return ErrUnavailable
	case "22", "54":
		return ErrData
	case "23":
		return ErrRefused
	default:
		return nil
	}
}

// classOfSQLite reads an extended result code (sqlite.org/rescode.html).
func classOfSQLite(code int) error {
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return ErrConflict
	case sqlite3.SQLITE_IOERR_SHMSIZE: // no room for the index of the log: SQLite does not say why
		return ErrFull
	}
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return errRetry
	case sqlite3.SQLITE_FULL:
		return ErrFull
	case sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH:
		return ErrData
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT,
		sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL:
		return ErrUnavailable
	case sqlite3.SQLITE_CONSTRAINT:
		return ErrRefused
	default:
		return nil
	}
}
