package store_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// SQLite finds out at the COMMIT that its log cannot be flushed. The rows are in the log by then: who reads it after a restart finds them, and
// a process that goes on does not.
func TestMessageWhoseFlushFailsIsNeitherLostNorDoubled(t *testing.T) {
	for name, restarted := range map[string]bool{"process goes on": false, "process was killed": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "mairust.db")
			s := store.New(store.Options{DB: openSQLite(t, path)})
			site := storetest.NewSite(t, s, "example", "example.test", "bob")
			first, again := storetest.NewCopy(t, site.Target("bob"), "x"), storetest.NewCopy(t, site.Target("bob"), "x")
			first.DeliveryID, again.DeliveryID = "d1", "d1"

			end := labtest.Inject(t, os.Getpid(), "-P", path+"-wal", "-e", "inject=fsync,fdatasync:error=EIO")
			result := s.Deliver(context.Background(), []store.Copy{first})[0]
			end()
			requireObjectStays(t, result.Err)
			require.ErrorIs(t, result.Err, sqldb.ErrCommitUnknown)
			want := store.Result{ID: again.ID}
			if restarted {
				s = store.New(store.Options{DB: openSQLite(t, copyOf(t, path))})
				want = store.Result{ID: first.ID, Duplicate: true}
			}
			require.Equal(t, []store.Result{want}, s.Deliver(context.Background(), []store.Copy{again}))
			require.Equal(t, []uint32{1}, allUIDs(t, s, site.Mailboxes["bob"].ID))
			requireCounted(t, s, "bob")
		})
	}
}

func openSQLite(t *testing.T, path string) *sqldb.DB {
	t.Helper()
	return storetest.OpenDB(t, sqldb.Options{Backend: sqldb.SQLite, Path: path})
}

// copyOf is a database as a process leaves it that is killed.
func copyOf(t *testing.T, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "mairust.db")
	for _, suffix := range []string{"", "-wal"} {
		raw, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to+suffix, raw, 0o600))
	}
	return to
}

// requireObjectStays wants the error of a message for which there may be a row: none that lets its object be deleted.
func requireObjectStays(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, store.ErrUnavailable)
	for _, certain := range []error{store.ErrNotFound, store.ErrQuota, store.ErrSuspended, store.ErrNotStored} {
		require.NotErrorIs(t, err, certain)
	}
}
