package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// miscounts are those of a noun, which are looked for by two counters at a time.
func miscounts(t *testing.T, s *store.Store, noun string) []store.Miscount {
	t.Helper()
	var bad []store.Miscount
	for after, more := "", true; more; {
		page, err := s.CountersAfter(t.Context(), noun, after, 2)
		require.NoError(t, err, noun)
		bad = append(bad, page.Bad...)
		after, more = page.Last, page.Seen == 2
	}
	return bad
}

func TestCountersAreMendedWhileMailArrives(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			ctx, db := t.Context(), storetest.OpenDB(t, storetest.Options(t, backend))
			s := store.New(store.Options{DB: db})
			site := storetest.NewSite(t, s, "example", "example.test", "bob", "alice")
			deliver := func() {
				storetest.Deliver(t, s, storetest.NewCopy(t, site.Target("bob"), "x"), storetest.NewCopy(t, site.Target("alice"), "x"))
			}
			deliver()
			require.NoError(t, db.Write(ctx, func(tx *sqldb.Tx) error {
				tx.Queue(`UPDATE folders SET messages = messages + 5, modseq = 0 WHERE name = 'INBOX'`)
				tx.Queue(`UPDATE mailboxes SET used_bytes = used_bytes - 7, messages = messages + 2`)
				tx.Queue(`UPDATE tenants SET used_bytes = used_bytes + 100`)
				return nil
			}))
			takeSweep(t, s)
			for _, noun := range store.CountedNouns() {
				bad := miscounts(t, s, noun)
				require.NotEmpty(t, bad, noun)
				deliver()
				for _, m := range bad {
					require.ErrorIs(t, s.MendCounters(ctx, "who had it before", m), store.ErrNotHolder)
					require.NoError(t, s.MendCounters(ctx, "me", m))
				}
			}
			for _, noun := range store.CountedNouns() {
				require.Empty(t, miscounts(t, s, noun))
			}
		})
	}
}

// A mailbox of millions of messages, or one on a cold disk, is counted for minutes.
func TestCountersAreCountedLongerThanAStatementMayTake(t *testing.T) {
	server := labtest.Postgres(t)
	s := store.New(store.Options{DB: storetest.OpenDB(t, sqldb.Options{Backend: sqldb.Postgres, URL: server.URL()})})
	site := storetest.NewSite(t, s, "example", "example.test", "bob")
	for range 4 {
		storetest.Deliver(t, s, storetest.NewCopy(t, site.Target("bob"), "x"))
	}
	for _, statement := range []string{
		`UPDATE folders SET messages = 9, uidnext = 1, modseq = 0 WHERE name = 'INBOX'`,
		`UPDATE mailboxes SET used_bytes = 7, messages = 0`,
		`UPDATE tenants SET used_bytes = 1`,
		`ALTER TABLE messages RENAME TO messages_fast`,
		`CREATE VIEW messages AS SELECT * FROM messages_fast WHERE pg_sleep(0.2) IS NOT NULL`,
	} {
		_, err := server.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	hurried, err := sqldb.Open(t.Context(), sqldb.Options{Backend: sqldb.Postgres, URL: server.URL() + "&statement_timeout=400"})
	require.NoError(t, err)
	defer hurried.Close()
	s = store.New(store.Options{DB: hurried})
	takeSweep(t, s)
	for _, noun := range store.CountedNouns() {
		bad := miscounts(t, s, noun)
		require.NotEmpty(t, bad, noun)
		for _, m := range bad {
			require.NoError(t, s.MendCounters(t.Context(), "me", m), "which counts nothing while it has a row locked")
		}
		require.Empty(t, miscounts(t, s, noun))
	}
}

// takeSweep takes the sweep's lease.
func takeSweep(t *testing.T, s *store.Store) {
	t.Helper()
	_, err := s.Claim(t.Context(), "check")
	require.NoError(t, err)
	ok, err := s.TakeSweep(t.Context(), "me", time.Hour)
	require.NoError(t, err)
	require.True(t, ok)
}
