package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// directRig is a store on PostgreSQL that has delivered to all its mailboxes before.
type directRig struct {
	*store.Store
	site     *storetest.Site
	server   *lab.Postgres
	registry *prometheus.Registry
}

func newDirectRig(t *testing.T, locals ...string) *directRig {
	t.Helper()
	r := &directRig{server: labtest.Postgres(t), registry: prometheus.NewRegistry()}
	db := storetest.OpenDB(t, sqldb.Options{Backend: sqldb.Postgres, URL: r.server.URL()})
	r.Store = store.New(store.Options{DB: db, Registerer: r.registry})
	r.site = storetest.NewSite(t, r.Store, "example", "example.test", locals...)
	for _, local := range locals {
		storetest.Deliver(t, r.Store, r.copy(t, local))
	}
	require.Zero(t, r.direct(t), "a folder that was not met before is looked for")
	return r
}

func (r *directRig) copy(t testing.TB, local string) store.Copy {
	t.Helper()
	return storetest.NewCopy(t, r.site.Target(local), "x")
}

// count is the value of a counter for a result, or how many values a histogram has got.
func (r *directRig) count(t testing.TB, name, result string) int {
	t.Helper()
	families, err := r.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (result == "" || m.GetLabel()[0].GetValue() == result) {
				return int(m.GetCounter().GetValue()) + int(m.GetHistogram().GetSampleCount()) // one of them is 0
			}
		}
	}
	return 0
}

// direct counts the batches that took one statement, inDoubt those that were tried so.
func (r *directRig) direct(t testing.TB) int {
	t.Helper()
	return r.count(t, "mairust_store_direct_batches_total", "stored")
}

func (r *directRig) inDoubt(t testing.TB) int {
	t.Helper()
	return r.count(t, "mairust_store_direct_batches_total", "in_doubt")
}

// late counts the batches that waited for an object in vain.
func (r *directRig) late(t testing.TB) int {
	t.Helper()
	return r.count(t, "mairust_store_late_batches_total", "")
}

func (r *directRig) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	_, err := r.server.Exec(t.Context(), fmt.Sprintf(query, args...))
	require.NoError(t, err)
}

// awaitTransactions returns when so many have run a statement and are not committed.
func (r *directRig) awaitTransactions(t testing.TB, want string) {
	t.Helper()
	require.NoError(t, lab.Eventually(t.Context(), func(ctx context.Context) error {
		n, err := r.server.Exec(ctx, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`)
		if err == nil && strings.TrimSpace(n) != want {
			err = fmt.Errorf("%s transactions are open", n)
		}
		return err
	}))
}

func (r *directRig) requireMessages(t testing.TB, local string, n int) {
	t.Helper()
	box, err := r.MailboxByAddress(t.Context(), store.System, local+"@example.test")
	require.NoError(t, err)
	require.EqualValues(t, n, box.Messages)
}

func TestBatchWithoutDoubtTakesOneStatement(t *testing.T) {
	r := newDirectRig(t, "bob", "alice")
	first, second := r.copy(t, "bob"), r.copy(t, "alice")
	first.DeliveryID, second.DeliveryID = "d1", "d2"
	storetest.Deliver(t, r.Store, first, second)
	require.Equal(t, 1, r.direct(t))
	storetest.Deliver(t, r.Store, r.copy(t, "bob"))
	require.Equal(t, 2, r.direct(t))

	m, err := r.Message(t.Context(), store.System, first.ID)
	require.NoError(t, err)
	assert.Equal(t, "bob@example.test", m.MailboxAddress)
	assert.Equal(t, store.Inbox, m.FolderName)
	assert.EqualValues(t, 2, m.UID)
	requireCounted(t, r.Store, "bob", "alice")
	wrong, err := r.server.Exec(t.Context(), `SELECT COUNT(*) FROM messages WHERE modseq <> uid + 1`)
	require.NoError(t, err)
	require.Equal(t, "0", strings.TrimSpace(wrong), "a folder begins with UID 1 and mod-sequence 1")
	r.requireMessages(t, "bob", 3)
	r.requireMessages(t, "alice", 2)
}

// What one statement cannot store is decided as if it had not been tried, and the next batch is direct again.
func TestBatchInDoubtIsDecidedByCopy(t *testing.T) {
	for name, tt := range map[string]struct {
		before func(t *testing.T, r *directRig, c *store.Copy)
		want   error
	}{
		"mailbox over quota": {func(t *testing.T, r *directRig, _ *store.Copy) {
			require.NoError(t, r.SetMailboxQuota(t.Context(), r.site.Tenant.ID, r.site.Mailboxes["eve"].ID, 10, store.Beside{}))
		}, store.ErrQuota},
		"tenant over quota": {func(t *testing.T, r *directRig, c *store.Copy) {
			r.exec(t, `UPDATE tenants SET quota_bytes = used_bytes + %d`, 5*c.Content.SizeBytes)
			c.Content.SizeBytes *= 10
		}, store.ErrQuota},
		"mailbox of another tenant": {func(t *testing.T, r *directRig, c *store.Copy) {
			c.Target.Tenant = storetest.NewSite(t, r.Store, "other", "other.test").Tenant.ID
		}, store.ErrNotFound},
		"mailbox gone": {func(t *testing.T, r *directRig, _ *store.Copy) {
			for _, from := range []string{"messages", "folders", "mailbox_access"} {
				r.exec(t, `DELETE FROM %s WHERE mailbox_id = '%s'`, from, r.site.Mailboxes["eve"].ID)
			}
			r.exec(t, `DELETE FROM mailboxes WHERE id = '%s'`, r.site.Mailboxes["eve"].ID)
		}, store.ErrNotFound},
		"folder renamed": {func(t *testing.T, r *directRig, _ *store.Copy) {
			r.exec(t, `UPDATE folders SET name = 'old' WHERE name = 'INBOX' AND mailbox_id = '%s'`, r.site.Mailboxes["eve"].ID)
		}, nil},
		"folder of another mailbox": {func(t *testing.T, r *directRig, _ *store.Copy) {
			carol := storetest.NewSite(t, r.Store, "example", "example.test", "carol").Mailboxes["carol"]
			r.exec(t, `DELETE FROM folders WHERE name = 'INBOX' AND mailbox_id = '%s'`, carol.ID)
			r.exec(t, `DELETE FROM messages WHERE mailbox_id = '%s'`, r.site.Mailboxes["eve"].ID)
			r.exec(t, `UPDATE folders SET mailbox_id = '%s' WHERE name = 'INBOX' AND mailbox_id = '%s'`, carol.ID, r.site.Mailboxes["eve"].ID)
		}, nil},
		"recovered, over quota": {func(t *testing.T, r *directRig, c *store.Copy) {
			require.NoError(t, r.SetMailboxQuota(t.Context(), r.site.Tenant.ID, r.site.Mailboxes["eve"].ID, 10, store.Beside{}))
			c.Recovered = true
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newDirectRig(t, "bob", "eve")
			doubtful := r.copy(t, "eve")
			tt.before(t, r, &doubtful)
			good := r.copy(t, "bob")
			results := r.Deliver(t.Context(), []store.Copy{good, doubtful})
			require.Equal(t, store.Result{ID: good.ID}, results[0])
			require.ErrorIs(t, results[1].Err, tt.want)
			require.Zero(t, r.direct(t))
			require.Zero(t, r.count(t, "mairust_store_batch_retries_total", ""), "nothing was refused, which PostgreSQL would log")
			r.requireMessages(t, "bob", 2)
			if tt.want == nil {
				m, err := r.Message(t.Context(), store.System, doubtful.ID)
				require.NoError(t, err)
				require.Equal(t, store.Inbox, m.FolderName)
			}
			storetest.Deliver(t, r.Store, r.copy(t, "bob"))
			require.Equal(t, 1, r.direct(t))
		})
	}
}

// One statement for it would be in vain again.
func TestMailboxInDoubtIsNotTriedDirectlyAgain(t *testing.T) {
	for name, deliver := range map[string]func(r *directRig, c store.Copy) store.Result{
		"batch": func(r *directRig, c store.Copy) store.Result {
			return r.Deliver(context.Background(), []store.Copy{c})[0]
		},
		"alone": func(r *directRig, c store.Copy) store.Result {
			result, err := r.DeliverWhile(context.Background(), c, func() error { return nil })
			return store.Result{Err: errors.Join(result.Err, err)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newDirectRig(t, "eve")
			require.NoError(t, r.SetMailboxQuota(t.Context(), r.site.Tenant.ID, r.site.Mailboxes["eve"].ID, 10, store.Beside{}))
			for range 3 {
				require.ErrorIs(t, deliver(r, r.copy(t, "eve")).Err, store.ErrQuota)
				require.Equal(t, 1, r.inDoubt(t))
			}
		})
	}
}

// A name that a folder had before leads to the same id.
func TestFolderWithTwoKnownNamesTakesMailForOne(t *testing.T) {
	r := newDirectRig(t, "bob")
	r.exec(t, `UPDATE folders SET name = 'old' WHERE name = 'INBOX'`)
	old := r.copy(t, "bob")
	old.Folder = "old"
	storetest.Deliver(t, r.Store, old)
	for i := range 2 {
		old, inbox := r.copy(t, "bob"), r.copy(t, "bob")
		old.Folder = "old"
		r1 := r.Deliver(t.Context(), []store.Copy{old, inbox})
		require.NoError(t, errors.Join(r1[0].Err, r1[1].Err), i)
		for id, folder := range map[store.MessageID]string{old.ID: "old", inbox.ID: store.Inbox} {
			m, err := r.Message(t.Context(), store.System, id)
			require.NoError(t, err)
			require.Equal(t, folder, m.FolderName)
		}
	}
}

func TestSuspendedTenantGetsNothingDirectly(t *testing.T) {
	r := newDirectRig(t, "bob")
	require.NoError(t, r.SuspendTenant(t.Context(), r.site.Tenant.ID, true, store.Beside{}))
	require.ErrorIs(t, r.Deliver(t.Context(), []store.Copy{r.copy(t, "bob")})[0].Err, store.ErrSuspended)
	r.requireMessages(t, "bob", 1)
	require.Zero(t, r.direct(t))
}

func TestKnownDeliveryIsNotStoredDirectlyAgain(t *testing.T) {
	r := newDirectRig(t, "bob")
	first, again, twin := r.copy(t, "bob"), r.copy(t, "bob"), r.copy(t, "bob")
	first.DeliveryID, again.DeliveryID, twin.DeliveryID = "d1", "d1", "d2"
	storetest.Deliver(t, r.Store, first)
	require.Equal(t, 1, r.direct(t))
	results := r.Deliver(t.Context(), []store.Copy{again})
	require.Equal(t, []store.Result{{ID: first.ID, Duplicate: true}}, results)
	require.Equal(t, 1, r.direct(t))
	r.requireMessages(t, "bob", 2)

	// Another node knows it, and this one finds out when it stores.
	storetest.Deliver(t, r.Store, twin)
	again.ID, again.DeliveryID = store.NewMessageID(), "d2"
	require.Equal(t, []store.Result{{ID: twin.ID, Duplicate: true}}, r.Deliver(t.Context(), []store.Copy{again}))
	requireCounted(t, r.Store, "bob")
}

// requireCounted compares the UIDs and the counters of mailboxes with their messages.
func requireCounted(t *testing.T, s *store.Store, locals ...string) {
	t.Helper()
	var used int64
	for _, local := range locals {
		box, err := s.MailboxByAddress(t.Context(), store.System, local+"@example.test")
		require.NoError(t, err)
		uids := map[string]int64{}
		var bytes, n int64
		f := store.MessageFilter{Mailbox: box.ID, Limit: 100}
		for {
			list, err := s.Messages(t.Context(), store.System, f)
			require.NoError(t, err)
			for _, m := range list {
				uids[m.FolderName]++
				bytes, n = bytes+m.SizeBytes, n+1
				f.Before = m.ID
			}
			if len(list) < f.Limit {
				break
			}
		}
		require.Equal(t, n, box.Messages, local)
		require.Equal(t, bytes, box.UsedBytes, local)
		for _, folder := range box.Folders {
			require.Equal(t, uids[folder.Name], folder.Messages, local)
			require.Equal(t, uids[folder.Name]+1, folder.UIDNext, "no UID was left out")
			require.Equal(t, uids[folder.Name]+1, folder.ModSeq)
		}
		used += bytes
	}
	tenant, err := s.TenantByName(t.Context(), "example")
	require.NoError(t, err)
	require.Equal(t, used, tenant.UsedBytes)
}

// Two stores over one database are two nodes. Copies for several, in every order, sent again, to folders that are new, over
// quota: what is stored is what was said, once, and counted.
func TestNodesThatDeliverAnythingAtOnceAgreeOnWhatIsThere(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			nodes := []*store.Store{store.New(store.Options{DB: db}), store.New(store.Options{DB: db})}
			locals := []string{"a", "b", "c", "small"}
			site := storetest.NewSite(t, nodes[0], "example", "example.test", locals...)
			size := storetest.NewCopy(t, site.Target("small"), "x").Content.SizeBytes
			require.NoError(t, nodes[0].SetMailboxQuota(t.Context(), site.Tenant.ID, site.Mailboxes["small"].ID, 20*size, store.Beside{}))
			var mu sync.Mutex
			stored := map[store.MessageID]bool{}
			parallel(8, func(worker int) {
				random := rand.New(rand.NewPCG(uint64(worker), 7))
				for i := range 40 {
					var copies []store.Copy
					for _, n := range random.Perm(len(locals))[:1+random.IntN(len(locals))] {
						c := storetest.NewCopy(t, site.Target(locals[n]), "x")
						c.Folder = []string{store.Inbox, store.Inbox, store.Inbox, fmt.Sprint("f", random.IntN(3))}[random.IntN(4)]
						c.DeliveryID = []string{"", fmt.Sprintf("%s-%d", locals[n], random.IntN(100)), fmt.Sprintf("%s-%d-%d", locals[n], worker, i)}[random.IntN(3)]
						copies = append(copies, c)
					}
					for j, r := range nodes[worker%2].Deliver(context.Background(), copies) {
						mu.Lock()
						switch {
						case r.Err == nil && !r.Duplicate:
							assert.Equal(t, copies[j].ID, r.ID)
							stored[r.ID] = true
						case r.Err != nil:
							assert.ErrorIs(t, r.Err, store.ErrQuota)
							assert.Equal(t, site.Mailboxes["small"].ID, copies[j].Target.Mailbox)
						}
						mu.Unlock()
					}
				}
			})
			requireCounted(t, nodes[0], locals...)
			for id := range stored {
				_, err := nodes[1].Message(t.Context(), store.System, id)
				require.NoError(t, err)
			}
			box, err := nodes[0].MailboxByAddress(t.Context(), store.System, "small@example.test")
			require.NoError(t, err)
			require.EqualValues(t, 20, box.Messages)
		})
	}
}

func TestMailboxOfAMessageIsThatOfItsFolder(t *testing.T) {
	r := newDirectRig(t, "bob", "alice")
	_, err := r.server.Exec(t.Context(), fmt.Sprintf(`UPDATE messages SET mailbox_id = '%s' WHERE mailbox_id = '%s'`,
		r.site.Mailboxes["alice"].ID, r.site.Mailboxes["bob"].ID))
	require.ErrorContains(t, err, "messages_folder")
}
