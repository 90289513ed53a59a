package store_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// node is a store whose PostgreSQL is behind a proxy, beside one that sees the same database directly.
type node struct {
	proxy    *commitProxy
	behind   *store.Store
	directly *store.Store
	site     *storetest.Site
	server   *lab.Postgres
}

func newNode(t testing.TB) *node {
	t.Helper()
	server := labtest.Postgres(t)
	proxy := startCommitProxy(t, server.Addr())
	directly := store.New(store.Options{DB: storetest.OpenDB(t, sqldb.Options{Backend: sqldb.Postgres, URL: server.URL()})})
	behind := store.New(store.Options{DB: storetest.OpenDB(t, sqldb.Options{Backend: sqldb.Postgres, URL: proxy.url(server.URL())})})
	return &node{proxy, behind, directly, storetest.NewSite(t, directly, "example", "example.test", "bob", "alice"), server}
}

func (n *node) copies(t *testing.T, delivery string) []store.Copy {
	t.Helper()
	copies := []store.Copy{storetest.NewCopy(t, n.site.Target("bob"), "x"), storetest.NewCopy(t, n.site.Target("alice"), "x")}
	for i := range copies {
		copies[i].DeliveryID = fmt.Sprintf("%s-%d", delivery, i)
	}
	return copies
}

// requireStoredOnce looks for the messages in both mailboxes, and at their counters.
func (n *node) requireStoredOnce(t *testing.T, copies ...store.Copy) {
	t.Helper()
	for _, local := range []string{"bob", "alice"} {
		want := 0
		for _, c := range copies {
			if c.Target.Mailbox == n.site.Mailboxes[local].ID {
				want++
				_, err := n.directly.Message(t.Context(), store.System, c.ID)
				require.NoError(t, err)
			}
		}
		require.Len(t, allUIDs(t, n.directly, n.site.Mailboxes[local].ID), want)
		box, err := n.directly.MailboxByAddress(t.Context(), store.System, local+"@example.test")
		require.NoError(t, err)
		require.EqualValues(t, want, box.Messages)
	}
}

func TestAnswerToCommitThatIsLostIsAskedFor(t *testing.T) {
	n := newNode(t)
	storetest.Deliver(t, n.behind, n.copies(t, "before")...) // what follows uses a connection that has been used
	for name, fault := range map[string]commitFault{
		"committed, answer dropped": {cut: beforeAnswer},
		"cut before COMMIT":         {cut: beforeCommit},
		"backend killed at COMMIT": {before: func() {
			_, err := n.server.Exec(context.Background(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND state IN ('idle in transaction', 'active') AND pid <> pg_backend_pid()`)
			assert.NoError(t, err)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			before := allUIDs(t, n.directly, n.site.Mailboxes["bob"].ID)
			copies := n.copies(t, name)
			n.proxy.atNextCommit(fault)
			for i, r := range n.behind.Deliver(context.Background(), copies) {
				require.Equal(t, store.Result{ID: copies[i].ID}, r)
			}
			require.True(t, n.proxy.happened(), "the fault was met")
			require.Len(t, allUIDs(t, n.directly, n.site.Mailboxes["bob"].ID), len(before)+1)
		})
	}
}

func TestDatabaseThatStaysAwayAfterCommitLosesAndDoublesNothing(t *testing.T) {
	n := newNode(t)
	storetest.Deliver(t, n.behind, n.copies(t, "before")...)
	for name, tt := range map[string]struct {
		moment    commitMoment
		committed bool
	}{
		"committed":     {beforeAnswer, true},
		"not committed": {beforeCommit, false},
	} {
		t.Run(name, func(t *testing.T) {
			first := n.copies(t, name)
			n.proxy.atNextCommit(commitFault{cut: tt.moment, away: true})
			for _, r := range n.behind.Deliver(context.Background(), first) {
				requireObjectStays(t, r.Err)
			}
			require.True(t, n.proxy.happened(), "the fault was met")
			n.proxy.refuse(false)
			again := n.copies(t, name)
			for i, r := range n.behind.Deliver(context.Background(), again) {
				if tt.committed {
					require.Equal(t, store.Result{ID: first[i].ID, Duplicate: true}, r)
				} else {
					require.Equal(t, store.Result{ID: again[i].ID}, r)
				}
			}
		})
	}
	for _, local := range []string{"bob", "alice"} {
		require.Len(t, allUIDs(t, n.directly, n.site.Mailboxes[local].ID), 3, "one before, one of each")
	}
}

func TestDatabaseThatIsAwayBeforeCommitHasStoredNothing(t *testing.T) {
	n := newNode(t)
	storetest.Deliver(t, n.behind, n.copies(t, "before")...)
	n.proxy.refuse(true)
	_, err := n.server.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	require.NoError(t, err)
	for _, r := range n.behind.Deliver(context.Background(), n.copies(t, "during")) {
		require.ErrorIs(t, r.Err, store.ErrNotStored)
		require.ErrorIs(t, r.Err, store.ErrUnavailable)
	}
	n.proxy.refuse(false)
	again := n.copies(t, "after")
	for i, r := range n.behind.Deliver(context.Background(), again) {
		require.Equal(t, store.Result{ID: again[i].ID}, r)
	}
	require.Len(t, allUIDs(t, n.behind, n.site.Mailboxes["bob"].ID), 2)
}

func TestManySessionsLoseNothingWhileAnswersToCommitAreLost(t *testing.T) {
	n := newNode(t)
	const workers, each = 8, 15
	var mu sync.Mutex
	var stored []store.Copy
	parallel(workers, func(worker int) {
		for i := range each {
			if i%5 == 0 {
				n.proxy.atNextCommit(commitFault{cut: []commitMoment{beforeCommit, beforeAnswer}[worker%2]})
			}
			copies := n.copies(t, fmt.Sprintf("%d-%d", worker, i))
			for j, r := range n.behind.Deliver(context.Background(), copies) {
				// The retry may be hit too; then the sender tries again.
				for r.Err != nil {
					assert.ErrorIs(t, r.Err, store.ErrUnavailable)
					r = n.behind.Deliver(context.Background(), copies[j:j+1])[0]
				}
				assert.Equal(t, copies[j].ID, r.ID)
			}
			mu.Lock()
			stored = append(stored, copies...)
			mu.Unlock()
		}
	})
	require.True(t, n.proxy.happened())
	n.requireStoredOnce(t, stored...)
}

func TestQuotaIsExactWithTwoNodes(t *testing.T) {
	db := storetest.Options(t, sqldb.Postgres)
	nodes := []*store.Store{
		store.New(store.Options{DB: storetest.OpenDB(t, db)}), store.New(store.Options{DB: storetest.OpenDB(t, db)}),
	}
	site := storetest.NewSite(t, nodes[0], "example", "example.test", "bob")
	size := storetest.NewCopy(t, site.Target("bob"), "x").Content.SizeBytes
	require.NoError(t, nodes[0].SetMailboxQuota(t.Context(), site.Tenant.ID, site.Mailboxes["bob"].ID, 7*size, store.Beside{}))
	results := make([]store.Result, 24)
	parallel(len(results), func(worker int) {
		results[worker] = nodes[worker%2].Deliver(context.Background(), []store.Copy{storetest.NewCopy(t, site.Target("bob"), "x")})[0]
	})
	full := 0
	for _, r := range results {
		if r.Err != nil {
			require.ErrorIs(t, r.Err, store.ErrQuota)
			full++
		}
	}
	require.Equal(t, len(results)-7, full)
	box, err := nodes[0].MailboxByAddress(t.Context(), store.System, "bob@example.test")
	require.NoError(t, err)
	require.Equal(t, 7*size, box.UsedBytes)
}

func TestOrderOfOneConnectionIsKeptAmongOthers(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob", "alice")
		sent := make([][]store.MessageID, 6)
		parallel(len(sent), func(worker int) {
			for range 20 {
				c := storetest.NewCopy(t, site.Target("bob"), "x")
				r := s.Deliver(context.Background(), []store.Copy{c, storetest.NewCopy(t, site.Target("alice"), "x")})
				assert.NoError(t, r[0].Err)
				sent[worker] = append(sent[worker], c.ID)
			}
		})
		for _, ids := range sent {
			var uids []uint32
			for _, id := range ids {
				m, err := s.Message(t.Context(), store.System, id)
				require.NoError(t, err)
				uids = append(uids, m.UID)
			}
			require.True(t, slices.IsSorted(uids), "%v", uids)
		}
	})
}
