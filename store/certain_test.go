package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// Whatever the server says before a COMMIT, nothing was stored: the object of each attempt would stay otherwise, until the disk is full.
func TestRefusalBeforeCommitIsCertainWhateverItsCode(t *testing.T) {
	o := storetest.Options(t, sqldb.Postgres)
	db := storetest.OpenDB(t, o)
	s := store.New(store.Options{DB: db})
	site := storetest.NewSite(t, s, "example", "example.test", "bob")
	require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error { // as an older dump would have it
		_, err := tx.Exec(t.Context(), `ALTER TABLE messages RENAME COLUMN pieces TO pieces_of_old`)
		return err
	}))
	result := s.Deliver(t.Context(), []store.Copy{storetest.NewCopy(t, site.Target("bob"), "x")})[0]
	require.ErrorIs(t, result.Err, store.ErrNotStored)
	require.ErrorContains(t, result.Err, "pieces")
	require.ErrorContains(t, s.Check(t.Context()), "deliveries fail", "who watches the database is told")
}

// A pooler may give each transaction another connection of the server, whose settings nobody has looked at.
func TestCommitThatWouldNotWaitForTheDiskIsRefused(t *testing.T) {
	o := storetest.Options(t, sqldb.Postgres)
	o.MaxConnections = 1
	db := storetest.OpenDB(t, o)
	s := store.New(store.Options{DB: db})
	site := storetest.NewSite(t, s, "example", "example.test", "bob")
	storetest.Deliver(t, s, storetest.NewCopy(t, site.Target("bob"), "x"))
	require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), `SET synchronous_commit = off`)
		return err
	}))
	result := s.Deliver(t.Context(), []store.Copy{storetest.NewCopy(t, site.Target("bob"), "x")})[0]
	require.ErrorIs(t, result.Err, sqldb.ErrNotDurable)
	require.ErrorIs(t, result.Err, store.ErrNotStored)
}

// A database administrator who helps sessions that hang must not have mail acknowledged that the standby, which takes over next, does not have.
func TestCancelledWaitForTheStandbyIsNoSuccess(t *testing.T) {
	server := labtest.OwnPostgres(t, lab.PostgresOptions{})
	s := store.New(store.Options{DB: storetest.OpenDB(t, sqldb.Options{Backend: sqldb.Postgres, URL: server.URL()})})
	site := storetest.NewSite(t, s, "example", "example.test", "bob")
	run := func(sql string) string {
		out, err := server.Exec(context.Background(), sql)
		require.NoError(t, err)
		return out
	}
	run(`ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
	run(`SELECT pg_reload_conf()`)
	require.Eventually(t, func() bool {
		return strings.Contains(run(`SELECT current_setting('synchronous_standby_names')`), "nobody")
	}, 30*time.Second, 10*time.Millisecond)
	c := storetest.NewCopy(t, site.Target("bob"), "x")
	done := make(chan store.Result)
	go func() { done <- s.Deliver(context.Background(), []store.Copy{c})[0] }()
	cancelled := 0
	for result := (*store.Result)(nil); result == nil; {
		select {
		case r := <-done:
			result = &r
			require.ErrorIs(t, r.Err, sqldb.ErrCommitUnknown)
			require.NotErrorIs(t, r.Err, store.ErrNotStored)
		case <-time.After(10 * time.Millisecond):
			cancelled += strings.Count(run(`SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`), "t")
		}
	}
	require.GreaterOrEqual(t, cancelled, 2, "it was tried again, and had to wait again")
	run(`ALTER SYSTEM RESET synchronous_standby_names`)
	run(`SELECT pg_reload_conf()`)
	require.NoError(t, s.Deliver(t.Context(), []store.Copy{c})[0].Err)
}
