package store_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// Somebody has locked a mailbox and does not end: another node that hangs, or an administrator's transaction that was forgotten.
func TestALockedMailboxStopsNoOtherMail(t *testing.T) {
	db := storetest.OpenDB(t, sqldb.Options{Backend: sqldb.Postgres, URL: labtest.Postgres(t).URL()})
	s := store.New(store.Options{DB: db})
	site := storetest.NewSite(t, s, "example", "example.test", "bob", "alice")
	deliver := func(local string) error {
		return s.Deliver(context.Background(), []store.Copy{storetest.NewCopy(t, site.Target(local), "x")})[0].Err
	}
	require.NoError(t, deliver("bob"))
	require.NoError(t, deliver("alice"))

	locked, release := make(chan struct{}), make(chan struct{})
	var holder sync.WaitGroup
	holder.Go(func() {
		_ = db.Write(context.Background(), func(tx *sqldb.Tx) error {
			var id string
			query := `SELECT id FROM mailboxes WHERE id = $1` + tx.ForUpdate()
			err := tx.Get(context.Background(), query, []any{string(site.Mailboxes["bob"].ID)}, &id)
			close(locked)
			<-release
			return err
		})
	})
	<-locked
	var bob error
	var others [8]error
	var group sync.WaitGroup
	group.Go(func() { bob = deliver("bob") })
	for i := range others {
		group.Go(func() { others[i] = deliver("alice") })
	}
	group.Wait()
	for _, err := range others {
		require.NoError(t, err)
	}
	require.ErrorIs(t, bob, store.ErrUnavailable)
	require.ErrorIs(t, bob, store.ErrNotStored, "its object may go")
	require.NoError(t, s.Check(t.Context()), "the database is well")
	close(release)
	holder.Wait()
	require.NoError(t, deliver("bob"))
}
