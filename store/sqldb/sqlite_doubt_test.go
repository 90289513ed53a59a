package sqldb_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/store/sqldb"
)

// loseWrites has the next flush of a file fail, once, and takes back what was written to it since it was as before.
func loseWrites(t *testing.T, path string, before []byte) (failed *int) {
	t.Helper()
	failed = new(int)
	t.Cleanup(sqldb.ReplaceDataSync(func(fd int) error {
		if name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); name != path || *failed > 0 {
			return unix.Fdatasync(fd)
		}
		*failed++
		_, err := unix.Pwrite(fd, before, 0)
		require.NoError(t, err)
		return unix.EIO
	}))
	return failed
}

// The kernel says once that pages of the database could not be written, has dropped them, and the next flush works. Before it, SQLite had noted for
// most of the log that it is copied.
func TestAFlushOfTheDatabaseThatFailedIsNotForgotten(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "mail.db")
	db := open(t, sqldb.Options{Path: path})
	n := 0
	insert := func(rows int) {
		t.Helper()
		require.NoError(t, db.Write(ctx, func(tx *sqldb.Tx) error {
			for range rows {
				n++
				if err := insertTenant(ctx, tx, fmt.Sprintf("tenant-%06d", n)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	insert(100)
	require.NoError(t, db.Checkpoint())
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	insert(1000)
	require.NoError(t, db.Each(ctx, `SELECT id FROM tenants LIMIT 1`, nil, func(scan sqldb.Scan) error {
		insert(1) // a reader is in an old state: only what is before is copied, and the file not flushed
		return db.Checkpoint()
	}))

	failed := loseWrites(t, path, before)
	require.Error(t, db.Checkpoint())
	require.Equal(t, 1, *failed)
	for range 3 { // the log is begun again, and its old frames are overwritten
		require.NoError(t, db.Checkpoint())
		insert(500)
	}
	var whole string
	require.NoError(t, db.Get(ctx, `SELECT integrity_check FROM pragma_integrity_check`, nil, &whole))
	require.Equal(t, "ok", whole)
	require.Equal(t, n, countTenants(t, db))
}

// A clean end removes the log only when all of it is in the database.
func TestTheLogStaysWhenTheDatabaseIsInDoubtAtTheEnd(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "mail.db")
	db, err := sqldb.Open(ctx, sqldb.Options{Path: path})
	require.NoError(t, err)
	_, err = db.Migrate(ctx)
	require.NoError(t, err)
	require.NoError(t, db.Checkpoint())
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, db.Write(ctx, func(tx *sqldb.Tx) error { return insertTenant(ctx, tx, "a") }))
	failed := loseWrites(t, path, before)
	_ = db.Close()
	require.Equal(t, 1, *failed)
	require.Equal(t, 1, countTenants(t, open(t, sqldb.Options{Path: path})))
}
