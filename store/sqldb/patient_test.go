package sqldb_test

import (
	"context"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/sqldb"
)

// waiting is how many wait for those that read in whileReading.
const waiting = 14

// whileReading has so many in the middle of reading, and others waiting for them, and then calls do.
func whileReading(ctx context.Context, db *sqldb.DB, most int, do func()) {
	reading, end := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	for range most + waiting {
		readers.Go(func() {
			_ = db.Each(ctx, `SELECT 1`, nil, func(sqldb.Scan) error {
				select {
				case reading <- struct{}{}:
				case <-end:
				}
				<-end
				return nil
			})
		})
	}
	defer readers.Wait()
	defer close(end)
	defer cancel() // those that wait
	for range most {
		<-reading
	}
	do()
}

func requireMailGoesOn(t *testing.T, db *sqldb.DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), eventually)
	defer cancel()
	require.NoError(t, db.Get(ctx, `SELECT 1`, nil, new(int)))
	require.NoError(t, db.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `CREATE TABLE mail (id INTEGER)`)
		return err
	}))
}

func TestManyReadersLeaveConnectionsToMail(t *testing.T) {
	for connections, patient := range map[int]int{1: 1, 2: 1, 8: 4, 20: 16} {
		db := open(t, sqldb.Options{Backend: sqldb.Postgres, URL: labtest.Postgres(t).URL(), MaxConnections: connections})
		whileReading(sqldb.Patient(t.Context()), db, patient, func() {
			if connections > 1 {
				requireMailGoesOn(t, db)
			}
		})
	}
	db := open(t, sqldb.Options{Path: filepath.Join(t.TempDir(), "x.db")})
	whileReading(sqldb.Patient(t.Context()), db, patientSQLite, func() { requireMailGoesOn(t, db) })
}

// patientSQLite is how many read from SQLite at once that leave connections to mail; four more there are in all.
var patientSQLite = max(4, 2*runtime.GOMAXPROCS(0))

// Who prepares a statement waits for a connection too.
func TestNobodyWaitsForAConnectionLongerThanHisContextLasts(t *testing.T) {
	db := open(t, sqldb.Options{Path: filepath.Join(t.TempDir(), "x.db")})
	require.NoError(t, db.Get(t.Context(), `SELECT 1`, nil, new(int)), "which is prepared now")
	before := db.Waited()
	whileReading(t.Context(), db, patientSQLite+4, func() {
		patient, cancel := context.WithCancel(t.Context())
		var preparing sync.WaitGroup
		defer preparing.Wait()
		defer cancel()
		preparing.Go(func() { _ = db.Get(patient, `SELECT 2`, nil, new(int)) })
		require.Eventually(t, func() bool { return db.Waited() > before+waiting }, eventually, tick)
		answered := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), tick)
			defer cancel()
			answered <- db.Get(ctx, `SELECT 1`, nil, new(int))
		}()
		select {
		case err := <-answered:
			require.ErrorIs(t, err, sqldb.ErrUnavailable)
		case <-time.After(eventually):
			t.Error("waited for him who prepares")
		}
	})
}
