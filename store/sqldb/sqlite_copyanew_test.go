package sqldb_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

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
	for name, goOn := range map[string]func(t *testing.T, db *sqldb.DB, insert func(int)) *sqldb.DB{
		"the log is begun again": func(t *testing.T, db *sqldb.DB, insert func(int)) *sqldb.DB {
			for range 3 { // its old frames are overwritten
				require.NoError(t, db.Checkpoint())
				insert(500)
			}
			return db
		},
		"a clean end removes the log": func(t *testing.T, db *sqldb.DB, _ func(int)) *sqldb.DB {
			require.NoError(t, db.Close())
			path := db.Path()
			require.NoFileExists(t, path+"-wal")
			return open(t, sqldb.Options{Path: path})
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, path, n := t.Context(), filepath.Join(t.TempDir(), "mail.db"), 0
			db := open(t, sqldb.Options{Path: path})
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
			require.NoError(t, db.Each(ctx, `SELECT id FROM tenants LIMIT 1`, nil, func(sqldb.Scan) error {
				insert(1) // a reader is in an old state: only what is before is copied, and the file not flushed
				return db.Checkpoint()
			}))
			failed := loseWrites(t, path, before)
			require.Error(t, db.Checkpoint())
			require.Equal(t, 1, *failed)
			require.Equal(t, n, countTenants(t, db), "from the log")

			db = goOn(t, db, insert)
			var whole string
			require.NoError(t, db.Get(ctx, `SELECT integrity_check FROM pragma_integrity_check`, nil, &whole))
			require.Equal(t, "ok", whole)
			require.Equal(t, n, countTenants(t, db))
		})
	}
}

// What a checkpoint copies is flushed with the last of the log: that must not wait for the next mail when a reader was in its way.
func TestACheckpointThatAReaderKeptFromItsEndIsMadeAgain(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "mail.db")
	var flushed atomic.Int32
	t.Cleanup(sqldb.ReplaceDataSync(func(fd int) error {
		if name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); name == path {
			flushed.Add(1)
		}
		return unix.Fdatasync(fd)
	}))
	db := open(t, sqldb.Options{Path: path})
	insert := func(from, to int) {
		require.NoError(t, db.Write(ctx, func(tx *sqldb.Tx) error {
			for i := from; i < to; i++ {
				if err := insertTenant(ctx, tx, fmt.Sprintf("tenant-%06d", i)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	insert(0, 1)
	require.NoError(t, db.Each(ctx, `SELECT id FROM tenants`, nil, func(sqldb.Scan) error {
		insert(1, 2)
		insert(2, 6000) // enough for a checkpoint
		time.Sleep(time.Second)
		return nil
	}))
	before := flushed.Load()
	require.Eventually(t, func() bool { return flushed.Load() > before }, time.Minute, 10*time.Millisecond)
}

// What is done after a transaction is not done on a connection that has failed.
func TestALargeTransactionThatCannotBeFlushedIsAnError(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "mail.db")
	db := open(t, sqldb.Options{Path: path})
	fail := false
	t.Cleanup(sqldb.ReplaceDataSync(func(fd int) error {
		if fail {
			return unix.EIO
		}
		return unix.Fdatasync(fd)
	}))
	insert := func(from, to int) error {
		return db.Write(ctx, func(tx *sqldb.Tx) error {
			for i := from; i < to; i++ {
				if err := insertTenant(ctx, tx, fmt.Sprint(i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, insert(0, 1), "whose log is a new file: its directory is flushed too")
	fail = true
	require.ErrorIs(t, insert(1, 300), sqldb.ErrCommitUnknown)
	fail = false
	require.NoError(t, insert(1, 300))
	require.Equal(t, 300, countTenants(t, db))
}

func TestACheckpointThatFailsIsKnownUntilOneWorks(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "mail.db")
	var failing atomic.Bool
	t.Cleanup(sqldb.ReplaceDataSync(func(fd int) error {
		if name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); name == path && failing.Load() {
			return unix.EIO
		}
		return unix.Fdatasync(fd)
	}))
	db := open(t, sqldb.Options{Path: path}) // closed before the flushes are the kernel's again
	n := 0
	untilCheckpoint := func(has func() bool) {
		t.Helper()
		require.Eventually(t, func() bool {
			require.NoError(t, db.Write(ctx, func(tx *sqldb.Tx) error {
				for range 500 {
					n++
					if err := insertTenant(ctx, tx, fmt.Sprintf("tenant-%06d", n)); err != nil {
						return err
					}
				}
				return nil
			}))
			return has()
		}, time.Minute, time.Millisecond)
	}
	require.NoError(t, db.CheckpointFault())
	failing.Store(true)
	untilCheckpoint(func() bool { return db.CheckpointFault() != nil })
	failing.Store(false)
	untilCheckpoint(func() bool { return db.CheckpointFault() == nil })
	require.Equal(t, n, countTenants(t, db))
}
