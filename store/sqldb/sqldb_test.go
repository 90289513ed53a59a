package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/sqldb"
)

func open(t *testing.T, o sqldb.Options) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	return db
}

func both(t *testing.T, test func(t *testing.T, db *sqldb.DB)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, open(t, sqldb.Options{Path: filepath.Join(t.TempDir(), "日本 語%.db")}))
	})
	t.Run("postgres", func(t *testing.T) {
		test(t, open(t, sqldb.Options{Backend: "postgres", URL: labtest.Postgres(t).URL()}))
	})
}

func insertTenant(ctx context.Context, tx *sqldb.Tx, id string) error {
	_, err := tx.Exec(ctx, `INSERT INTO tenants (id, name, name_fold, state, created_us) VALUES ($1, $1, $1, 'active', 0)`, id)
	return err
}

func countTenants(t *testing.T, db *sqldb.DB) int {
	t.Helper()
	var n int
	require.NoError(t, db.Get(t.Context(), `SELECT COUNT(*) FROM tenants`, nil, &n))
	return n
}

func TestTransactionIsWholeOrNothing(t *testing.T) {
	both(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		boom := errors.New("boom")
		err := db.Write(ctx, func(tx *sqldb.Tx) error {
			require.NoError(t, insertTenant(ctx, tx, "a"))
			return boom
		})
		require.ErrorIs(t, err, boom)
		assert.Panics(t, func() {
			_ = db.Write(ctx, func(tx *sqldb.Tx) error {
				require.NoError(t, insertTenant(ctx, tx, "b"))
				panic("boom")
			})
		})
		require.Zero(t, countTenants(t, db))
		require.NoError(t, db.Write(ctx, func(tx *sqldb.Tx) error { return insertTenant(ctx, tx, "c") }), "the writer is free again")
		require.Equal(t, 1, countTenants(t, db))
	})
}

func TestErrorsHaveClasses(t *testing.T) {
	both(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		require.NoError(t, db.Write(ctx, func(tx *sqldb.Tx) error { return insertTenant(ctx, tx, "a") }))
		err := db.Write(ctx, func(tx *sqldb.Tx) error { return insertTenant(ctx, tx, "a") })
		assert.ErrorIs(t, err, sqldb.ErrConflict)
		var id string
		assert.ErrorIs(t, db.Get(ctx, `SELECT id FROM tenants WHERE id = $1`, []any{"none"}, &id), sqldb.ErrNoRows)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		assert.ErrorIs(t, db.Get(gone, `SELECT id FROM tenants WHERE id = $1`, []any{"none"}, &id), sqldb.ErrUnavailable)
		assert.NoError(t, db.Ping(ctx))
	})
}

func TestDatabaseThatRefusesTheConnectionIsUnavailable(t *testing.T) {
	u, err := url.Parse(labtest.Postgres(t).URL())
	require.NoError(t, err)
	u.Path = "/there_is_no_such_database"
	db, err := sqldb.Open(t.Context(), sqldb.Options{Backend: sqldb.Postgres, URL: u.String()})
	if err == nil {
		defer db.Close()
		err = db.Ping(t.Context())
	}
	require.ErrorIs(t, err, sqldb.ErrUnavailable)
}

func TestMigrateIsIdempotentAndChecked(t *testing.T) {
	both(t, func(t *testing.T, db *sqldb.DB) {
		require.NoError(t, db.CheckSchema(t.Context()))
		ran, err := db.Migrate(t.Context())
		require.NoError(t, err)
		assert.Empty(t, ran)
	})
	db, err := sqldb.Open(t.Context(), sqldb.Options{Path: filepath.Join(t.TempDir(), "x.db")})
	require.NoError(t, err)
	defer db.Close()
	assert.ErrorIs(t, db.CheckSchema(t.Context()), sqldb.ErrSchema)
}

func TestBothDialectsHaveTheSameColumns(t *testing.T) {
	columns := map[string][]string{}
	read := func(db *sqldb.DB, query string) {
		require.NoError(t, db.Each(t.Context(), query, nil, func(scan sqldb.Scan) error {
			var table, column string
			err := scan(&table, &column)
			if !strings.HasPrefix(table, "goose_") && !strings.HasPrefix(table, "sqlite_") {
				columns[db.Backend()] = append(columns[db.Backend()], table+"."+column)
			}
			return err
		}))
	}
	both(t, func(_ *testing.T, db *sqldb.DB) {
		if db.Backend() == sqldb.SQLite {
			read(db, `SELECT t.name, c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'`)
		} else {
			read(db, `SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns WHERE table_schema = 'public'`)
		}
	})
	for _, list := range columns {
		slices.Sort(list)
	}
	require.Len(t, slices.Collect(maps.Keys(columns)), 2)
	assert.Equal(t, columns[sqldb.SQLite], columns[sqldb.Postgres])
}

func TestEveryTextColumnOfPostgresSortsAsBytes(t *testing.T) {
	db := open(t, sqldb.Options{Backend: "postgres", URL: labtest.Postgres(t).URL()})
	const query = `SELECT CAST(table_name || '.' || column_name AS TEXT) FROM information_schema.columns
		WHERE table_schema = 'public' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'`
	require.NoError(t, db.Each(t.Context(), query, nil, func(scan sqldb.Scan) error {
		var column string
		err := scan(&column)
		t.Errorf("%s is not COLLATE \"C\"", column)
		return err
	}))
}

func TestSecondProcessOnTheSameSQLiteIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	first, err := sqldb.Open(t.Context(), sqldb.Options{Path: path})
	require.NoError(t, err)
	_, err = sqldb.Open(t.Context(), sqldb.Options{Path: path})
	require.ErrorIs(t, err, sqldb.ErrLocked)
	assert.Contains(t, err.Error(), path)
	require.NoError(t, first.Close())
	second, err := sqldb.Open(t.Context(), sqldb.Options{Path: path})
	require.NoError(t, err)
	require.NoError(t, second.Close())
}

func TestSQLiteComesBackAfterItsFilesDo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	db, err := sqldb.Open(t.Context(), sqldb.Options{Path: filepath.Join(dir, "x.db")})
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "not-a-database"), nil, 0o600))
	require.Error(t, db.Write(t.Context(), func(*sqldb.Tx) error { return sqldb.ErrUnavailable }), "as an I/O error would")
	require.NoError(t, db.Ping(t.Context()), "a new connection is opened")
}

func TestSQLiteLogIsCopiedLongBeforeItsOwnLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, sqldb.Options{Path: path})
	size := func() int64 {
		info, err := os.Stat(path)
		require.NoError(t, err)
		return info.Size()
	}
	before := size()
	for i := range 50 {
		require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
			for j := range 100 {
				tx.Queue(`INSERT INTO tenants (id, name, name_fold, state, created_us) VALUES ($1, $1, $1, 'active', 0)`,
					fmt.Sprintf("%d-%d", i, j))
			}
			return nil
		}))
	}
	require.Eventually(t, func() bool { return size() > before+100_000 }, eventually, tick)
	require.Equal(t, 5000, countTenants(t, db))
}

// The driver's own way is fsync(2), which waits for the whole file system's journal.
func TestSQLiteFlushesDataAndNoMore(t *testing.T) {
	ctx, flushes := t.Context(), 0
	var broken error
	defer sqldb.ReplaceDataSync(func(fd int) error {
		flushes++
		return errors.Join(unix.Fdatasync(fd), broken)
	})()
	db := open(t, sqldb.Options{Path: filepath.Join(t.TempDir(), "x.db")})
	insert := func(id string) error {
		return db.Write(ctx, func(tx *sqldb.Tx) error { return insertTenant(ctx, tx, id) })
	}
	require.NoError(t, insert("first"), "whose log is a new file: its directory is flushed too")
	before := flushes
	require.NoError(t, insert("a"))
	assert.Equal(t, 1, flushes-before, "one for a commit")
	broken = unix.EIO
	require.ErrorIs(t, insert("b"), sqldb.ErrCommitUnknown, "a flush that failed is no commit")
	broken = nil
	require.NoError(t, insert("c"))
	require.Equal(t, 3, countTenants(t, db), "all but b")
}

// Pages of a transaction that is larger than the writer's memory go to the log long before it ends, and it reads them there.
func TestTransactionLargerThanMemoryIsWholeOrNothing(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "mail.db")
	db := open(t, sqldb.Options{Path: path})
	long := strings.Repeat("x", 4000)
	insert := func(n int, end error) error {
		return db.Write(ctx, func(tx *sqldb.Tx) error {
			for i := range n { // in no order, so that pages are changed again that left memory
				id := fmt.Sprintf("%08x", uint32(i)*2654435761)
				if err := insertTenant(ctx, tx, id+long); err != nil {
					return err
				}
			}
			var counted int
			if err := tx.Get(ctx, `SELECT COUNT(*) FROM tenants WHERE name >= ''`, nil, &counted); err != nil {
				return err
			}
			assert.Equal(t, n, counted)
			return end
		})
	}
	boom := errors.New("boom")
	require.ErrorIs(t, insert(5000, boom), boom)
	require.Zero(t, countTenants(t, db))
	require.NoError(t, insert(3000, nil))
	require.Equal(t, 3000, countTenants(t, db))
	require.ErrorIs(t, db.Write(ctx, func(tx *sqldb.Tx) error {
		tx.Queue(`DELETE FROM tenants`)
		return errors.Join(tx.Flush(ctx), boom)
	}), boom)

	crashed := filepath.Join(t.TempDir(), "mail.db")
	for _, end := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + end)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(crashed+end, b, 0o600))
	}
	again := open(t, sqldb.Options{Path: crashed})
	require.Equal(t, 3000, countTenants(t, again))
	var whole string
	require.NoError(t, again.Get(ctx, `PRAGMA integrity_check`, nil, &whole))
	require.Equal(t, "ok", whole)
}

// A log that is long from the start holds zeros, which no reader may take for content, not even after a crash.
func TestZerosBehindTheLogAreNoContent(t *testing.T) {
	ctx, path, crashed := t.Context(), filepath.Join(t.TempDir(), "mail.db"), filepath.Join(t.TempDir(), "mail.db")
	db := open(t, sqldb.Options{Path: path})
	require.NoError(t, db.Write(ctx, func(tx *sqldb.Tx) error { return insertTenant(ctx, tx, "a") }))
	for i := range 4 {
		require.NoError(t, db.Write(ctx, func(tx *sqldb.Tx) error {
			for j := range 100 {
				tx.Queue(`INSERT INTO tenants (id, name, name_fold, state, created_us) VALUES ($1, $1, $1, 'active', 0)`, fmt.Sprintf("%d-%d", i, j))
			}
			return nil
		}))
	}
	for _, end := range []string{"", "-wal"} { // what a power cut leaves
		b, err := os.ReadFile(path + end)
		require.NoError(t, err)
		if end != "" {
			assert.GreaterOrEqual(t, len(b), 32<<20)
			assert.Zero(t, b[len(b)-1])
		}
		require.NoError(t, os.WriteFile(crashed+end, b, 0o600))
	}
	again := open(t, sqldb.Options{Path: crashed})
	require.Equal(t, 401, countTenants(t, again))
	require.NoError(t, again.Write(ctx, func(tx *sqldb.Tx) error { return insertTenant(ctx, tx, "b") }))
	require.Equal(t, 402, countTenants(t, again))
}

func TestErrorsNeverHoldThePassword(t *testing.T) {
	for _, url := range []string{
		"postgres://u:geheim@127.0.0.1:1/x", "postgres://u:geheim@[::bad/x", "geheim", "postgres://u:geheim@127.0.0.1:99999/x",
	} {
		_, err := sqldb.Open(t.Context(), sqldb.Options{Backend: "postgres", URL: url})
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "geheim")
	}
}

const (
	eventually = 20 * time.Second
	tick       = 50 * time.Millisecond
)

func withParam(url, param string) string {
	if strings.Contains(url, "?") {
		return url + "&" + param
	}
	return url + "?" + param
}

func TestClosedDatabaseIsUnavailable(t *testing.T) {
	for _, backend := range []string{sqldb.SQLite, sqldb.Postgres} {
		o := sqldb.Options{Backend: backend, Path: filepath.Join(t.TempDir(), "x.db")}
		if backend == sqldb.Postgres {
			o = sqldb.Options{Backend: backend, URL: labtest.Postgres(t).URL()}
		}
		db, err := sqldb.Open(t.Context(), o)
		require.NoError(t, err)
		_, err = db.Migrate(t.Context())
		require.NoError(t, err)
		require.NoError(t, db.Close())
		var n int
		assert.ErrorIs(t, db.Write(t.Context(), func(tx *sqldb.Tx) error { return insertTenant(t.Context(), tx, "a") }), sqldb.ErrUnavailable, backend)
		assert.ErrorIs(t, db.Get(t.Context(), `SELECT COUNT(*) FROM tenants`, nil, &n), sqldb.ErrUnavailable, backend)
	}
}
