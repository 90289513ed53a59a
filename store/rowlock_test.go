package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// lockRow locks a row for a transaction that does not end before it is released.
func lockRow(t *testing.T, db *sqldb.DB, table, id string) (release func()) {
	t.Helper()
	locked, end := make(chan struct{}), make(chan struct{})
	var holder sync.WaitGroup
	holder.Go(func() {
		_ = db.Write(context.Background(), func(tx *sqldb.Tx) error {
			var got string
			err := tx.Get(context.Background(), `SELECT id FROM `+table+` WHERE id = $1`+tx.ForUpdate(), []any{id}, &got)
			close(locked)
			<-end
			return err
		})
	})
	<-locked
	return func() {
		close(end)
		holder.Wait()
	}
}

// Somebody has locked a mailbox and does not end: another node that hangs, or an administrator's transaction that was forgotten.
func TestALockedMailboxStopsNoOtherMail(t *testing.T) {
	db := storetest.OpenDB(t, sqldb.Options{Backend: sqldb.Postgres, URL: labtest.Postgres(t).URL()})
	s := store.New(store.Options{DB: db})
	site := storetest.NewSite(t, s, "example", "example.test", "bob", "alice")
	deliver := func(local string) error {
		return s.Deliver(context.Background(), []store.Copy{storetest.NewCopy(t, site.Target(local), "x")})[0].Err
	}
	for _, local := range []string{"bob", "alice"} {
		require.NoError(t, deliver(local))
	}
	release := lockRow(t, db, "mailboxes", string(site.Mailboxes["bob"].ID))
	var bobs, others [20]error
	var group sync.WaitGroup
	for i := range bobs {
		group.Go(func() { bobs[i] = deliver("bob") })
		group.Go(func() { others[i] = deliver("alice") })
	}
	group.Wait()
	for i, err := range others {
		require.NoError(t, err)
		require.ErrorIs(t, bobs[i], store.ErrUnavailable)
		require.ErrorIs(t, bobs[i], store.ErrNotStored, "its object may go")
	}
	require.NoError(t, s.Check(t.Context()), "the database is well")
	release()
	require.NoError(t, deliver("bob"))
}

// A message for several is stored for those whose mailboxes are free.
func TestALockedMailboxKeepsAMessageFromNobodyElse(t *testing.T) {
	db := storetest.OpenDB(t, sqldb.Options{Backend: sqldb.Postgres, URL: labtest.Postgres(t).URL()})
	s := store.New(store.Options{DB: db})
	site := storetest.NewSite(t, s, "example", "example.test", "alice", "bob", "carol")
	release := lockRow(t, db, "mailboxes", string(site.Mailboxes["bob"].ID))
	var newsletter sync.WaitGroup
	for range 12 { // more than are tried in vain
		newsletter.Go(func() {
			var copies []store.Copy
			for _, local := range []string{"alice", "bob", "carol"} {
				copies = append(copies, storetest.NewCopy(t, site.Target(local), "x"))
			}
			results := s.Deliver(context.Background(), copies)
			assert.NoError(t, results[0].Err)
			assert.ErrorIs(t, results[1].Err, store.ErrNotStored, "its object may go")
			assert.NoError(t, results[2].Err)
			assert.Equal(t, []store.MessageID{copies[0].ID, copies[2].ID}, []store.MessageID{results[0].ID, results[2].ID})
		})
	}
	newsletter.Wait()
	require.NoError(t, s.Check(t.Context()), "the database is well")
	release()
	for local, want := range map[string]int{"alice": 12, "bob": 0, "carol": 12} {
		list, err := s.Messages(t.Context(), store.System, store.MessageFilter{Mailbox: site.Mailboxes[local].ID, Limit: 100})
		require.NoError(t, err)
		require.Len(t, list, want, local)
	}
}

func TestALockedTenantIsTold(t *testing.T) {
	db := storetest.OpenDB(t, sqldb.Options{Backend: sqldb.Postgres, URL: labtest.Postgres(t).URL()})
	s := store.New(store.Options{DB: db})
	var locals []string
	for i := range 20 {
		locals = append(locals, fmt.Sprint("u", i))
	}
	locked := storetest.NewSite(t, s, "locked", "locked.test", locals...)
	free := storetest.NewSite(t, s, "free", "free.test", "alice")
	deliver := func(target store.Target) error {
		return s.Deliver(context.Background(), []store.Copy{storetest.NewCopy(t, target, "x")})[0].Err
	}
	release := lockRow(t, db, "tenants", string(locked.Tenant.ID))
	var group sync.WaitGroup
	for _, local := range locals {
		group.Go(func() { assert.ErrorIs(t, deliver(locked.Target(local)), store.ErrNotStored) })
	}
	group.Go(func() { assert.NoError(t, deliver(free.Target("alice"))) })
	group.Wait()

	require.NoError(t, deliver(free.Target("alice")))
	require.ErrorIs(t, deliver(locked.Target("u0")), store.ErrNotStored)
	require.NoError(t, s.Check(t.Context()), "one mailbox is no outage")
	var both []store.Copy
	for _, local := range locals[:2] {
		both = append(both, storetest.NewCopy(t, locked.Target(local), "x"))
	}
	for _, result := range s.Deliver(context.Background(), both) {
		require.ErrorIs(t, result.Err, store.ErrNotStored)
	}
	require.NoError(t, s.Check(t.Context()), "nor is one message for two")
	for _, local := range locals {
		group.Go(func() { assert.ErrorIs(t, deliver(locked.Target(local)), store.ErrNotStored) })
	}
	group.Wait()
	require.ErrorIs(t, s.Check(t.Context()), store.ErrUnavailable, "nothing could be stored")
	release()
	require.NoError(t, deliver(locked.Target("u0")))
	require.NoError(t, s.Check(t.Context()))
}

// Who makes an address has locked its domain.
func TestALockedDomainStopsNoMail(t *testing.T) {
	db := storetest.OpenDB(t, sqldb.Options{Backend: sqldb.Postgres, URL: labtest.Postgres(t).URL()})
	s := store.New(store.Options{DB: db})
	site := storetest.NewSite(t, s, "example", "example.test", "bob")
	release := lockRow(t, db, "domains", string(site.Domain.ID))
	defer release()
	for _, folder := range []string{store.Inbox, store.Inbox, "Lists"} { // decided, directly, and with a folder to be made
		c := storetest.NewCopy(t, site.Target("bob"), "x")
		c.Folder = folder
		storetest.Deliver(t, s, c)
	}
	_, err := s.Resolve(t.Context(), address(t, "bob+x@example.test"), "+")
	require.NoError(t, err)
}
