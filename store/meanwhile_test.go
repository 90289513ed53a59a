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
func TestObjectsThatFailOrTakeLongConcernTheirMessagesOnly(t *testing.T) {
	r := newDirectRig(t, "bob", "alice")
	const rounds, each = 5, 20
	for range rounds {
		r.ForgetSlowness()
		r.deliverMixed(t, each)
	}
	require.NotZero(t, r.late(t))
	require.NotZero(t, r.direct(t))
	requireCounted(t, r.Store, "bob", "alice")
	for _, local := range []string{"bob", "alice"} {
		r.requireMessages(t, local, 1+rounds*each)
	}
}

// deliverMixed delivers as many quick messages, messages whose objects fail, and messages whose objects are stored when the
// quick ones are delivered.
func (r *directRig) deliverMixed(t *testing.T, each int) {
	t.Helper()
	quickDelivered := make(chan struct{})
	var quick, all sync.WaitGroup
	deliver := func(i int, put func() error) error {
		c := r.copy(t, []string{"bob", "alice"}[i%2])
		result, err := r.DeliverWhile(t.Context(), c, put)
		if err == nil {
			assert.Equal(t, store.Result{ID: c.ID}, result)
		}
		_, found := r.Message(t.Context(), store.System, c.ID)
		assert.Equal(t, err, map[bool]error{true: nil, false: errPut}[found == nil], "there is a row when there is an object")
		return err
	}
	for i := range each {
		quick.Go(func() {
			err := deliver(i, func() error { return nil })
			assert.NoError(t, err)
		})
		all.Go(func() {
			err := deliver(i, func() error { return errPut })
			assert.Equal(t, errPut, err)
		})
		all.Go(func() {
			err := deliver(i, func() error {
				<-quickDelivered
				return nil
			})
			assert.NoError(t, err)
		})
	}
	quick.Wait()
	close(quickDelivered)
	all.Wait()
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
	r.SetPutPatience(2 * time.Second) // less than another node waits for a lock
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
