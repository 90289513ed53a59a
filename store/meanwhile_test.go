package store_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

var errPut = errors.New("no object")

func TestRowIsWrittenWhileTheObjectIs(t *testing.T) {
	r := newDirectRig(t, "bob")
	r.SetPutPatience(time.Minute)
	c := r.copy(t, "bob")
	result, err := r.DeliverWhile(t.Context(), c, func() error {
		r.awaitTransactions(t, "1")
		_, err := r.Message(t.Context(), store.System, c.ID)
		require.ErrorIs(t, err, store.ErrNotFound, "nobody sees it before its object is there")
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, store.Result{ID: c.ID}, result)
	require.Equal(t, 1, r.direct(t))
	require.Zero(t, r.late(t))
	r.requireMessages(t, "bob", 2)
}

// Where objects take long, a batch does not begin with them.
func TestObjectsThatAreSlowAreStoredBeforeTheirRows(t *testing.T) {
	r := newDirectRig(t, "bob")
	r.PutFirst(time.Hour)
	c := r.copy(t, "bob")
	result, err := r.DeliverWhile(t.Context(), c, func() error {
		time.Sleep(200 * time.Millisecond)
		r.awaitTransactions(t, "0")
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, store.Result{ID: c.ID}, result)
	_, err = r.DeliverWhile(t.Context(), r.copy(t, "bob"), func() error { return errPut })
	require.Equal(t, errPut, err)
	r.requireMessages(t, "bob", 2)
	require.Zero(t, r.late(t))
}

// Each message of a batch has an object of its own: some fail, some take long, and the others are not kept waiting for them.
func TestObjectsOfABatchThatFailOrTakeLongConcernTheirMessagesOnly(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob", "alice")
		s.SetPutPatience(50 * time.Millisecond)
		const each = 40
		quick := make(chan struct{}) // closed when all quick ones are delivered
		var left, all sync.WaitGroup
		puts := map[string]func() error{
			"quick":  func() error { return nil },
			"failed": func() error { return errPut },
			"slow":   func() error { <-quick; return nil },
		}
		for kind, put := range puts {
			for i := range each {
				c := storetest.NewCopy(t, site.Target([]string{"bob", "alice"}[i%2]), kind)
				all.Add(1)
				if kind == "quick" {
					left.Add(1)
				}
				go func() {
					defer all.Done()
					result, err := s.DeliverWhile(t.Context(), c, put)
					if kind == "failed" {
						assert.Equal(t, errPut, err)
						_, err = s.Message(t.Context(), store.System, c.ID)
						assert.ErrorIs(t, err, store.ErrNotFound)
						return
					}
					assert.NoError(t, err)
					assert.Equal(t, store.Result{ID: c.ID}, result, kind)
					_, err = s.Message(t.Context(), store.System, c.ID)
					assert.NoError(t, err, kind)
					if kind == "quick" {
						left.Done()
					}
				}()
			}
		}
		left.Wait()
		close(quick)
		all.Wait()
		requireCounted(t, s, "bob", "alice")
		for _, local := range []string{"bob", "alice"} {
			box, err := s.MailboxByAddress(t.Context(), store.System, local+"@example.test")
			require.NoError(t, err)
			require.EqualValues(t, each, box.Messages)
		}
	})
}

func TestPanicOverAHostileCopyIsItsCallersOwn(t *testing.T) {
	r := newDirectRig(t, "bob")
	c := r.copy(t, "bob")
	c.Content = nil
	require.Panics(t, func() { _, _ = r.DeliverWhile(t.Context(), c, func() error { return nil }) })
	storetest.Deliver(t, r.Store, r.copy(t, "bob"))
}

func TestNoRowIsLeftWithoutItsObject(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		storetest.Deliver(t, s, storetest.NewCopy(t, site.Target("bob"), "x"))
		c := storetest.NewCopy(t, site.Target("bob"), "x")
		_, err := s.DeliverWhile(t.Context(), c, func() error { return errPut })
		require.Equal(t, errPut, err)
		_, err = s.Message(t.Context(), store.System, c.ID)
		require.ErrorIs(t, err, store.ErrNotFound)
		result, err := s.DeliverWhile(t.Context(), c, func() error { return nil })
		require.NoError(t, err)
		require.Equal(t, store.Result{ID: c.ID}, result)
		requireCounted(t, s, "bob")
	})
}

func TestObjectThatFailsWhileItsRowIsWrittenTakesTheRowBack(t *testing.T) {
	r := newDirectRig(t, "bob")
	r.SetPutPatience(time.Minute)
	c := r.copy(t, "bob")
	_, err := r.DeliverWhile(t.Context(), c, func() error {
		r.awaitTransactions(t, "1")
		return errPut
	})
	require.Equal(t, errPut, err)
	r.requireMessages(t, "bob", 1)
	require.Zero(t, r.direct(t))
	requireCounted(t, r.Store, "bob")
}

func TestPanicWhileTheObjectIsStoredTakesTheRowBack(t *testing.T) {
	r := newDirectRig(t, "bob")
	r.SetPutPatience(5 * time.Second)
	c := r.copy(t, "bob")
	require.Panics(t, func() {
		_, _ = r.DeliverWhile(t.Context(), c, func() error {
			r.awaitTransactions(t, "1")
			panic("while the object is stored")
		})
	})
	r.awaitTransactions(t, "0")
	_, err := r.Message(t.Context(), store.System, c.ID)
	require.ErrorIs(t, err, store.ErrNotFound)
	requireCounted(t, r.Store, "bob")
	result, err := r.DeliverWhile(t.Context(), c, func() error { return nil })
	require.NoError(t, err)
	require.Equal(t, store.Result{ID: c.ID}, result)
}

// A disk that hangs must not keep other nodes from the tenant.
func TestObjectThatTakesLongHoldsNobodyUp(t *testing.T) {
	r := newDirectRig(t, "bob")
	r.SetPutPatience(5 * time.Second)
	db := storetest.OpenDB(t, sqldb.Options{Backend: sqldb.Postgres, URL: r.server.URL()})
	other := store.New(store.Options{DB: db})
	c, meanwhile := r.copy(t, "bob"), r.copy(t, "bob")
	result, err := r.DeliverWhile(t.Context(), c, func() error {
		r.awaitTransactions(t, "1")
		began := time.Now()
		storetest.Deliver(t, other, meanwhile)
		require.Less(t, time.Since(began), 25*time.Second, "PostgreSQL itself ended the transaction that held the tenant")
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, store.Result{ID: c.ID}, result, "it is stored all the same")
	require.Equal(t, 1, r.late(t))
	require.NotZero(t, r.PutsFirst())
	requireCounted(t, r.Store, "bob")
	r.requireMessages(t, "bob", 3)
}

func TestAnswerThatIsLostBesideAnObjectIsAskedFor(t *testing.T) {
	n := newNode(t)
	storetest.Deliver(t, n.behind, n.copies(t, "before")...)
	for name, fault := range map[string]commitFault{
		"committed, answer dropped": {cut: beforeAnswer},
		"cut before COMMIT":         {cut: beforeCommit},
	} {
		t.Run(name, func(t *testing.T) {
			before := allUIDs(t, n.directly, n.site.Mailboxes["bob"].ID)
			c := n.copies(t, name)[0]
			n.proxy.atNextCommit(fault)
			result, err := n.behind.DeliverWhile(t.Context(), c, func() error { return nil })
			require.NoError(t, err)
			require.Equal(t, store.Result{ID: c.ID}, result)
			require.True(t, n.proxy.happened(), "the fault was met")
			require.Len(t, allUIDs(t, n.directly, n.site.Mailboxes["bob"].ID), len(before)+1)
		})
	}
}
