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
	"time"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the "sqlite" driver
)

// sqliteBusy is how long a connection waits for another one.
const sqliteBusy = 10 * time.Second

// sqlitePragmas: WAL lets readers go on while the one writer commits. busy_timeout is sqliteBusy.
const sqlitePragmas = "vfs=" + dataSyncVFS + "&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(" + sqliteSynchronous +
	")&_pragma=foreign_keys(1)"

// writerPragmas: the pages that deliveries change again and again stay in memory (16 MB), what a statement may have to
// undo does too, and the log is copied by the checkpointer, long before the writer does so itself (256 MB). A log that has become longer than
// that is cut when it is begun again.
const writerPragmas = "&_pragma=cache_size(-16384)&_pragma=temp_store(MEMORY)&_pragma=wal_autocheckpoint(65536)&_pragma=journal_size_limit(268435456)"

// sqliteReaders is how many connections read: each processor has one that computes and one that waits for the disk, and mail has its own.
func sqliteReaders() int { return max(4, 2*runtime.GOMAXPROCS(0)) + kept }

func openSQLite(ctx context.Context, o Options) (*DB, error) {
	if o.Path == "" {
		return nil, errors.New("database.path is missing: it names the SQLite file")
	}
	if err := registerVFS(); err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Path, err)
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Path, err)
	}
	if target, err := filepath.EvalSymlinks(o.Path); err == nil {
		o.Path = target // where SQLite has the log too
	}
	lock, err := lockFile(o.Path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Path, err)
	}
	var writer *sqliteWriter
	if err = renewLog(o.Path); err == nil { // first: who closes a database that it has opened copies the log
		writer, err = openSQLiteWriter(o.Path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", o.Path, err), lock.Close())
	}
	read, err := sql.Open("sqlite", sqliteURL(o.Path)+"&_pragma=query_only(1)")
	if err == nil {
		read.SetMaxOpenConns(sqliteReaders())
		read.SetMaxIdleConns(sqliteReaders())
		err = read.PingContext(ctx)
	}
	if err == nil {
		err = syncDir(filepath.Dir(o.Path))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", o.Path, err), writer.Close(), lock.Close())
	}
	stmts := &stmtCache{prepare: read.PrepareContext}
	checkpoints := startCheckpointer(writer, o.Log)
	// Readers go before the writer, so that the writer checkpoints the log; the lock goes last.
	closers := []io.Closer{checkpoints, stmts, read, writer, lock}
	return &DB{
		backend: SQLite, read: read, stmts: stmts, patience: newPatience(sqliteReaders()), writer: writer, checkpoints: checkpoints, closers: closers,
	}, nil
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
	conn   *sqliteConn
	// long says that the log has got its length.
	long bool
	// full gets a token when enough is in the log to be copied into the database.
	full chan struct{}
}

func openSQLiteWriter(path string) (*sqliteWriter, error) {
	w := &sqliteWriter{path: path, turn: make(chan struct{}, 1), full: make(chan struct{}, 1)}
	w.turn <- struct{}{}
	return w, w.open()
}

func (w *sqliteWriter) open() (err error) {
	w.conn, err = openSQLiteConn(w.path)
	return classify(err)
}

func (w *sqliteWriter) write(ctx context.Context, fn func(*Tx) error) error {
	return w.exclusive(ctx, func(conn *sqliteConn) error {
		err := w.transact(ctx, conn, fn)
		if conn.changed >= busyRows && !w.long && w.conn == conn {
			w.long = true
			// In a transaction that changes nothing: no other process writes meanwhile. Without it the log grows as it is needed.
			_ = w.transact(ctx, conn, func(*Tx) error { return lengthenLog(w.path) })
		}
		if conn.changed >= checkpointRows {
			conn.changed = 0
			select {
			case w.full <- struct{}{}:
			default: // it is being told already
			}
		}
		return err
	})
}

// exclusive runs fn on the connection when nobody else does.
func (w *sqliteWriter) exclusive(ctx context.Context, fn func(*sqliteConn) error) error {
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
		if err := w.open(); err != nil {
			return err
		}
	}
	err := fn(w.conn)
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFull) {
		w.discard()
	}
	return err
}

func (w *sqliteWriter) transact(ctx context.Context, conn *sqliteConn, fn func(*Tx) error) (err error) {
	if _, err := conn.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	done := false
	defer func() {
		if done {
			return
		}
		// Also on a panic of fn. A transaction that SQLite has rolled back itself has nothing to roll back.
		if _, rollbackErr := conn.exec("ROLLBACK"); rollbackErr != nil {
			w.discard()
		}
	}()
	tx := &Tx{conn: conn}
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Flush(ctx); err != nil {
		return err
	}
	if err := conn.commit(); err != nil {
		return err
	}
	done = true
	return nil
}

// discard closes the connection; the next transaction opens a new one.
func (w *sqliteWriter) discard() {
	if w.conn == nil {
		return
	}
	_ = w.conn.Close() // whatever it says, the connection is not used again
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
	err := w.conn.Close()
	w.conn = nil
	return err
}

// stmtCache prepares each statement text once; the texts of this project are constants, so it is bounded.
type stmtCache struct {
	prepare func(ctx context.Context, query string) (*sql.Stmt, error)
	mu      sync.Mutex
	byText  map[string]*sql.Stmt
	// spare are of texts that somebody else prepared at the same time. To close one would wait for whoever has its connection.
	spare []*sql.Stmt
}

// stmt prepares without the lock: that may wait for a connection, and nobody else must wait for it longer than his own context lasts.
func (c *stmtCache) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := c.find(query); ok {
		return s, nil
	}
	s, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return c.keep(query, s), nil
}

func (c *stmtCache) find(query string) (*sql.Stmt, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.byText[query]
	return s, ok
}

// keep gives the statement of the text: s, or the one that was there first.
func (c *stmtCache) keep(query string, s *sql.Stmt) *sql.Stmt {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first, ok := c.byText[query]; ok {
		c.spare = append(c.spare, s)
		return first
	}
	if c.byText == nil {
		c.byText = map[string]*sql.Stmt{}
	}
	c.byText[query] = s
	return s
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
	for _, s := range c.spare {
		errs = append(errs, s.Close())
	}
	c.byText, c.spare = nil, nil
	return errors.Join(errs...)
}
