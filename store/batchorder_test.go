package store_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// The ways that a batch can go.
const (
	copyByCopy   = "copy by copy"
	oneStatement = "one statement"
	oneByOne     = "one by one"
)

// batchRig is a store whose next batch with mail for bob and alice goes a certain way.
type batchRig struct {
	*directRig
	way string
}

// eachWay runs a test for each way, on each database.
func eachWay(t *testing.T, test func(t *testing.T, r *batchRig)) {
	t.Helper()
	for backend, ways := range map[string][]string{
		sqldb.SQLite:   {copyByCopy, oneByOne},
		sqldb.Postgres: {copyByCopy, oneStatement, oneByOne},
	} {
		for _, way := range ways {
			t.Run(backend+", "+way, func(t *testing.T) { test(t, newBatchRig(t, backend, way)) })
		}
	}
}

func newBatchRig(t *testing.T, backend, way string) *batchRig {
	t.Helper()
	r := &batchRig{&directRig{registry: prometheus.NewRegistry()}, way}
	db := storetest.OpenDB(t, storetest.Options(t, backend))
	r.Store = store.New(store.Options{DB: db, Registerer: r.registry})
	r.site = storetest.NewSite(t, r.Store, "example", "example.test", "bob", "alice")
	if way != copyByCopy { // it knows the folders
		storetest.Deliver(t, r.Store, r.copy(t, "bob"), r.copy(t, "alice"))
	}
	if way == oneByOne {
		storetest.RefuseRows(t, db, `NEW.subject = 'poison'`)
	}
	return r
}

// requireWay wants the batch to have gone that way, or at least begun so.
func (r *batchRig) requireWay(t *testing.T) {
	t.Helper()
	singly := r.count(t, "mairust_store_batch_retries_total", "") == 1
	require.Equal(t, r.way == oneByOne, singly)
	require.Equal(t, r.way == oneStatement, !singly && r.direct(t)+r.inDoubt(t) == 1)
}

// together has jobs wait behind a batch that is held up, one behind the other, so that they are the next batch.
func (r *batchRig) together(t *testing.T, jobs [][]store.Copy) [][]store.Result {
	t.Helper()
	held, release := make(chan struct{}), make(chan struct{})
	other := storetest.NewSite(t, r.Store, "other", "other.test", "eve")
	var batches []int
	r.BeforeBatches(func(n int) {
		batches = append(batches, n)
		if len(batches) == 1 {
			close(held)
			<-release
		}
	})
	var group sync.WaitGroup
	first := []store.Copy{storetest.NewCopy(t, other.Target("eve"), "x")}
	group.Go(func() { assert.NoError(t, r.Deliver(context.Background(), first)[0].Err) })
	<-held
	results := make([][]store.Result, len(jobs))
	for i, copies := range jobs {
		group.Go(func() { results[i] = r.Deliver(context.Background(), copies) })
		assert.NoError(t, lab.Eventually(t.Context(), func(context.Context) error {
			if n := r.Waiting(); n != i+1 {
				return fmt.Errorf("%d jobs wait", n)
			}
			return nil
		}))
	}
	close(release)
	group.Wait()
	require.Equal(t, []int{1, len(jobs)}, batches)
	return results
}

// jobs are messages for bob and alice, who are named in turn first. When they are to go one by one, the third is poisoned.
func (r *batchRig) jobs(t *testing.T, n int) [][]store.Copy {
	t.Helper()
	jobs := make([][]store.Copy, n)
	for i := range jobs {
		subject := "x"
		if r.way == oneByOne && i == 2 {
			subject = "poison"
		}
		for j := range 2 {
			jobs[i] = append(jobs[i], storetest.NewCopy(t, r.site.Target([]string{"bob", "alice"}[(i+j)%2]), subject))
		}
	}
	return jobs
}

// IMAP clients show mail by UID: that of one batch must not be turned round.
func TestMessagesOfOneBatchHaveUIDsInTheOrderInWhichTheyCame(t *testing.T) {
	eachWay(t, func(t *testing.T, r *batchRig) {
		jobs := r.jobs(t, 6)
		results := r.together(t, jobs)
		r.requireWay(t)
		uids := map[store.MailboxID][]uint32{}
		for i, copies := range jobs {
			for j, c := range copies {
				require.Equal(t, store.Result{ID: c.ID}, results[i][j])
				m, err := r.Message(t.Context(), store.System, c.ID)
				require.NoError(t, err)
				uids[m.Mailbox] = append(uids[m.Mailbox], m.UID)
			}
		}
		for _, local := range []string{"bob", "alice"} {
			list := uids[r.site.Mailboxes[local].ID]
			require.Len(t, list, len(jobs))
			require.IsIncreasing(t, list)
		}
		requireCounted(t, r.Store, "bob", "alice")
	})
}

// Each copy of a batch is decided behind those before it: as many are stored as fit, and no more.
func TestQuotaOfATenantIsExactForTheMessagesOfOneBatch(t *testing.T) {
	const messages = 6
	for _, fit := range []int{5, 2 * messages} {
		t.Run(fmt.Sprintf("%d of %d", fit, 2*messages), func(t *testing.T) {
			eachWay(t, func(t *testing.T, r *batchRig) {
				jobs := r.jobs(t, messages)
				quota := r.setQuotaFor(t, jobs, fit)
				stored := 0
				for i, results := range r.together(t, jobs) {
					for j, result := range results {
						if stored < fit {
							require.Equal(t, store.Result{ID: jobs[i][j].ID}, result)
							stored++
							continue
						}
						require.Equal(t, store.Result{Err: store.ErrQuota}, result)
					}
				}
				r.requireWay(t)
				if r.way == oneStatement {
					require.Equal(t, fit == 2*messages, r.direct(t) == 1)
				}
				tenant, err := r.TenantByName(t.Context(), "example")
				require.NoError(t, err)
				require.Equal(t, quota, tenant.UsedBytes)
				requireCounted(t, r.Store, "bob", "alice")
			})
		})
	}
}

// setQuotaFor makes the copies of one size, and gives their tenant a quota of which so many of them are left.
func (r *batchRig) setQuotaFor(t *testing.T, jobs [][]store.Copy, fit int) (quota int64) {
	t.Helper()
	const size = 1000
	for _, c := range slices.Concat(jobs...) {
		c.Content.SizeBytes = size
	}
	tenant, err := r.TenantByName(t.Context(), "example")
	require.NoError(t, err)
	quota = tenant.UsedBytes + int64(fit)*size
	require.NoError(t, r.SetTenantQuota(t.Context(), tenant.ID, quota, store.Beside{}))
	return quota
}
