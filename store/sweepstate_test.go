package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

func TestFoldersOfManyMailboxesAreRenewed(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			s := claimed(t, db)
			storetest.Preload(t, db, 2001, 0)
			was := uidvalidities(t, db)
			require.Len(t, was, 4*2001)
			seen := map[string]bool{}
			for range 2 {
				state, err := s.SweepState(t.Context())
				require.NoError(t, err)
				require.False(t, seen[state.RenewedFor])
				seen[state.RenewedFor] = true
				require.NoError(t, s.RenewFolders(t.Context()))
				now := uidvalidities(t, db)
				for folder, before := range was {
					assert.Greater(t, now[folder], before)
				}
				was = now
			}
		})
	}
}

func claimed(t *testing.T, db *sqldb.DB) *store.Store {
	t.Helper()
	s := store.New(store.Options{DB: db})
	_, err := s.Claim(t.Context(), "check")
	require.NoError(t, err)
	return s
}

func uidvalidities(t *testing.T, db *sqldb.DB) map[string]int64 {
	t.Helper()
	list := map[string]int64{}
	require.NoError(t, db.Each(t.Context(), `SELECT id, uidvalidity FROM folders`, nil, func(scan sqldb.Scan) error {
		var id string
		var value int64
		err := scan(&id, &value)
		list[id] = value
		return err
	}))
	return list
}

func TestRenewalThatIsBrokenOffBeginsAgain(t *testing.T) {
	db := storetest.OpenDB(t, storetest.Options(t, sqldb.SQLite))
	s := claimed(t, db)
	crowd := storetest.Preload(t, db, 1001, 0)
	exec := func(query string) {
		t.Helper()
		require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(t.Context(), query)
			return err
		}))
	}
	last := string(crowd.Targets[1000].Mailbox)
	exec(`CREATE TRIGGER broken BEFORE UPDATE ON folders WHEN OLD.mailbox_id = '` + last + `' BEGIN SELECT RAISE(ABORT, 'broken off'); END`)
	was := uidvalidities(t, db)
	require.ErrorContains(t, s.RenewFolders(t.Context()), "broken off")
	state, err := s.SweepState(t.Context())
	require.NoError(t, err)
	require.Empty(t, state.RenewedFor)

	exec(`DROP TRIGGER broken`)
	require.NoError(t, s.RenewFolders(t.Context()))
	for folder, after := range uidvalidities(t, db) {
		assert.Greater(t, after, was[folder])
	}
}

func TestAClockFarAheadMakesNoUIDVALIDITYThatIMAPHasNot(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			s := store.New(store.Options{DB: db, Now: func() time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) }})
			_, err := s.Claim(t.Context(), "check")
			require.NoError(t, err)
			site := storetest.NewSite(t, s, "one", "one.test", "bob")
			for range 3 {
				require.NoError(t, s.RenewFolders(t.Context()))
				require.NoError(t, s.RenewFolder(t.Context(), site.Tenant.ID, site.Mailboxes["bob"].ID, "INBOX"))
			}
			folderOf(t, s, "bob@one.test", "INBOX") // it can be read
		})
	}
}
