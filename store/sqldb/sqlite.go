package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the "sqlite" driver
)

// sqlitePragmas: WAL lets readers go on while the one writer commits.
const sqlitePragmas = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(" + sqliteSynchronous +
	")&_pragma=foreign_keys(1)"

func openSQLite(ctx context.Context, o Options) (*DB, error) {
	if o.Path == "" {
		return nil, errors.New("database.path is missing: it names the SQLite file")
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Path, err)
	}
	lock, err := lockFile(o.Path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Path, err)
	}
	writer, err := openSQLiteWriter(ctx, o.Path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", o.Path, err), lock.Close())
	}
	read, err := sql.Open("sqlite", sqliteURL(o.Path)+"&_pragma=query_only(1)")
	if err == nil {
		read.SetMaxOpenConns(max(4, 2*runtime.GOMAXPROCS(0)))
		read.SetMaxIdleConns(max(4, 2*runtime.GOMAXPROCS(0)))
		err = read.PingContext(ctx)
	}
	if err == nil {
		err = syncDir(filepath.Dir(o.Path))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", o.Path, err), writer.Close(), lock.Close())
	}
	stmts := &stmtCache{prepare: read.PrepareContext}
	// Readers go before the writer, so that the writer checkpoints the log; the lock goes last.
	return &DB{backend: SQLite, read: read, stmts: stmts, writer: writer, closers: []io.Closer{stmts, read, writer, lock}}, nil
}

func sqliteURL(path string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + sqlitePragmas
}

// lockFile keeps a second process out for as long as the file is open. The kernel drops the lock when the
// process dies, so there is never a stale one.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	return f, nil
}

// syncDir makes the names in a directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// sqliteWriter is the one connection that writes, with its prepared statements. It is opened again after
// an I/O error, so that a disk which comes back needs no restart.
type sqliteWriter struct {
	path string
	// turn holds one token: who has it may use the fields below.
	turn   chan struct{}
	closed bool
	db     *sql.DB
	conn   *sql.Conn
	stmts  *stmtCache
}

func openSQLiteWriter(ctx context.Context, path string) (*sqliteWriter, error) {
	w := &sqliteWriter{path: path, turn: make(chan struct{}, 1)}
	w.turn <- struct{}{}
	return w, w.open(ctx)
}

func (w *sqliteWriter) open(ctx context.Context) error {
	db, err := sql.Open("sqlite", sqliteURL(w.path))
	if err != nil {
		return classify(err)
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return errors.Join(classify(err), db.Close())
	}
	w.db, w.conn, w.stmts = db, conn, &stmtCache{prepare: conn.PrepareContext}
	return nil
}

func (w *sqliteWriter) write(ctx context.Context, fn func(*Tx) error) error {
	select {
	case <-w.turn:
		defer func() { w.turn <- struct{}{} }()
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for the writer: %w", ErrUnavailable, ctx.Err())
	}
	if w.closed {
		return errClosed
	}
	if w.conn == nil {
		if err := w.open(ctx); err != nil {
			return err
		}
	}
	err := w.transact(fn)
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFull) {
		w.discard()
	}
	return err
}

// transact ignores the caller's context from BEGIN to COMMIT: the work is short, and a statement that is
// interrupted in the middle would cost the connection.
func (w *sqliteWriter) transact(fn func(*Tx) error) (err error) {
	ctx := context.Background()
	if _, err := w.stmts.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return classify(err)
	}
	done := false
	defer func() {
		if done {
			return
		}
		// Also on a panic of fn. A transaction that SQLite has rolled back itself has nothing to roll back.
		if _, rollbackErr := w.conn.ExecContext(ctx, "ROLLBACK"); rollbackErr != nil {
			w.discard()
		}
	}()
	if err := fn(&Tx{session: w.stmts}); err != nil {
		return err
	}
	if _, err := w.stmts.ExecContext(ctx, "COMMIT"); err != nil {
		return classifyCommit(err)
	}
	done = true
	return nil
}

// discard closes the connection; the next transaction opens a new one.
func (w *sqliteWriter) discard() {
	if w.conn == nil {
		return
	}
	// Whatever these say, the connection is not used again.
	_ = w.stmts.Close()
	_ = w.conn.Close()
	_ = w.db.Close()
	w.conn = nil
}

// Close waits for the transaction under way.
func (w *sqliteWriter) Close() error {
	<-w.turn
	defer func() { w.turn <- struct{}{} }()
	w.closed = true
	if w.conn == nil {
		return nil
	}
	err := errors.Join(w.stmts.Close(), w.conn.Close(), w.db.Close())
	w.conn = nil
	return err
}

// stmtCache prepares each statement text once; the texts of this project are constants, so it is bounded.
type stmtCache struct {
	prepare func(ctx context.Context, query string) (*sql.Stmt, error)
	mu      sync.Mutex
	byText  map[string]*sql.Stmt
}

func (c *stmtCache) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.byText[query]; ok {
		return s, nil
	}
	s, err := c.prepare(ctx, query) //nolint:sqlclosecheck // kept, and closed by Close
	if err != nil {
		return nil, err
	}
	if c.byText == nil {
		c.byText = map[string]*sql.Stmt{}
	}
	c.byText[query] = s
	return s, nil
}

// ExecContext runs the prepared form of query.
func (c *stmtCache) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := c.stmt(ctx, query) //nolint:sqlclosecheck // the cache's
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

// QueryContext runs the prepared form of query.
func (c *stmtCache) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := c.stmt(ctx, query) //nolint:sqlclosecheck // the cache's
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// Close closes all statements.
func (c *stmtCache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, s := range c.byText {
		errs = append(errs, s.Close())
	}
	c.byText = nil
	return errors.Join(errs...)
}
